//! Every device call of a program fails once: nothing is lost, nothing is used too early.

use std::sync::Arc;

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_buffer::{BufferError, DeviceBuffer, PinnedAllocator, PinnedPolicy};
use freeboard_device::Order;
use freeboard_units::{Bytes, StreamId};

use crate::common::HOME;
use crate::faulty::Faulty;

type Allocator = Arc<CachingAllocator<Faulty>>;

const LEN: usize = 2000;

/// Everything that can be done with a buffer, on two streams.
fn buffers(allocator: &Allocator, other: StreamId) -> Result<(), BufferError> {
    let mut buffer = DeviceBuffer::<u64, _>::from_slice(allocator, &[7; LEN], HOME)?;
    buffer.on_mut(other)?.slice_mut(..10)?.zero()?;
    buffer.slice_mut(10..)?.fill(1 << 40)?;
    let clone = buffer.clone_on(other)?;
    let lent = clone.on(HOME)?;
    assert_eq!(lent.slice(..11)?.to_vec()?, [[0; 10].as_slice(), &[1 << 40]].concat());
    drop(lent);
    buffer.copy_from(&clone)?;
    assert_eq!(buffer.to_vec()?[LEN - 1], 1 << 40);
    Ok(())
}

/// Everything that can be done with pinned memory.
fn transfers(allocator: &Allocator, pinned: &PinnedAllocator<Faulty>) -> Result<(), BufferError> {
    let mut buffer = DeviceBuffer::<u32, _>::zeroed(allocator, LEN, HOME)?;
    let transfer = buffer.upload(pinned.from_slice(&[3; LEN])?)?;
    let dropped = buffer.download(pinned.allocate(LEN)?)?;
    let back = transfer.wait()?;
    assert_eq!(back[..], [3; LEN]);
    drop(dropped);
    let mut transfer = buffer.download(back)?;
    while !transfer.is_done()? {
        std::thread::yield_now();
    }
    assert_eq!(transfer.wait()?[..], [3; LEN]);
    pinned.maintain()?;
    let small = pinned.from_slice(&[1_u8; 100])?;
    drop(small);
    pinned.empty_cache()?;
    drop(pinned.allocate::<u8>(100)?);
    Ok(())
}

/// Runs the program once for each of its calls, which fails, and once without a fault.
fn with_every_call_failing(program: impl Fn(&Allocator, StreamId) -> Result<(), BufferError>) {
    for n in 1.. {
        let device = Faulty::new(Bytes::mib(64));
        let other = device.create_stream().unwrap();
        let allocator = CachingAllocator::new(device.clone(), Config::default()).unwrap();
        let allocator = Arc::new(allocator);
        device.fail(n);
        let outcome = program(&allocator, other);
        let reached = device.calls() >= n;
        if let Err(error) = &outcome {
            assert!(error.to_string().contains("on demand"), "call {n}: {error}");
        }
        device.fail(0);
        allocator.check().unwrap_or_else(|error| panic!("call {n}: {error}"));
        assert!(device.pinned().is_empty(), "call {n}: {:?}", device.pinned());
        // The same again, on what the fault has left.
        program(&allocator, other).unwrap_or_else(|error| panic!("after call {n}: {error}"));
        drop(allocator);
        device.host.synchronize().unwrap();
        let books = device.host.books();
        assert_eq!(books.first_violation(), None, "call {n}");
        assert!(books.is_empty(), "call {n}: {:?}", books.leaks());
        if !reached {
            outcome.unwrap();
            assert!(n > 20, "the program makes calls");
            return;
        }
    }
}

#[test]
fn buffers_survive_a_failure_of_any_call() {
    with_every_call_failing(buffers);
}

#[test]
fn transfers_survive_a_failure_of_any_call() {
    with_every_call_failing(|allocator, _| transfers(allocator, &PinnedAllocator::new(allocator)?));
}

#[test]
fn transfers_from_a_reserve_survive_a_failure_of_any_call() {
    with_every_call_failing(|allocator, _| {
        let policy = PinnedPolicy {
            reserve: Bytes::kib(40),
            max_cached: Bytes::kib(20),
            ..PinnedPolicy::default()
        };
        transfers(allocator, &PinnedAllocator::with_policy(allocator, policy)?)
    });
}
