//! Pinned memory and the transfers that use it.

use std::sync::Arc;
use std::time::Duration;

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_buffer::{BufferError, DeviceBuffer, PinnedAllocator, PinnedPolicy};
use freeboard_device::Order;
use freeboard_units::Bytes;

use crate::common::{HOME, hold};
use crate::faulty::Faulty;

type Allocator = Arc<CachingAllocator<Faulty>>;

fn world(policy: PinnedPolicy) -> (Faulty, Allocator, PinnedAllocator<Faulty>) {
    let device = Faulty::new(Bytes::mib(64));
    let allocator = CachingAllocator::new(device.clone(), Config::default()).unwrap();
    let allocator = Arc::new(allocator);
    let pinned = PinnedAllocator::with_policy(&allocator, policy).unwrap();
    (device, allocator, pinned)
}

#[test]
fn a_block_is_used_again_for_any_size_of_its_class() {
    let (device, _, pinned) = world(PinnedPolicy::default());
    let first = pinned.from_slice(&[1_u8; 600]).unwrap();
    let start = first.as_ptr().addr();
    drop(first);
    let again = pinned.allocate::<u64>(128).unwrap();
    assert_eq!(again.as_ptr().addr(), start);
    let other = pinned.allocate::<u64>(128).unwrap();
    assert_eq!(other[..], [0; 128], "fresh memory is zero");
    let stats = pinned.stats();
    assert_eq!((stats.pins, stats.hits, stats.misses), (2, 1, 2));
    assert_eq!((stats.in_use, stats.cached), (Bytes::kib(2), Bytes::ZERO));
    drop((again, other));
    pinned.empty_cache().unwrap();
    assert_eq!((pinned.stats().pinned, pinned.stats().peak_pinned), (Bytes::ZERO, Bytes::kib(2)));
    assert!(device.pinned().is_empty());
}

#[test]
fn what_a_transfer_uses_is_handed_out_only_after_it() {
    let (device, allocator, pinned) = world(PinnedPolicy::default());
    let mut buffer = DeviceBuffer::<u32, _>::zeroed(&allocator, 1000, HOME).unwrap();
    let elements = pinned.from_slice(&[5; 1000]).unwrap();
    let start = elements.as_ptr().addr();
    let held = hold(&device.host, HOME);
    drop(buffer.upload(elements).unwrap());
    assert_eq!((pinned.stats().pending, pinned.stats().in_use), (Bytes::kib(4), Bytes::ZERO));
    pinned.empty_cache().unwrap();
    let other = pinned.allocate::<u32>(1000).unwrap();
    assert_ne!(other.as_ptr().addr(), start);
    drop(held);
    device.synchronize_stream(HOME).unwrap();
    let again = pinned.allocate::<u32>(1000).unwrap();
    assert_eq!(again.as_ptr().addr(), start);
    assert_eq!(buffer.to_vec().unwrap(), [5; 1000]);
}

#[test]
fn a_transfer_can_be_asked_and_waited_for() {
    let (device, allocator, pinned) = world(PinnedPolicy::default());
    let other = device.create_stream().unwrap();
    let buffer = DeviceBuffer::<u32, _>::filled(&allocator, 1000, 9, HOME).unwrap();
    let held = hold(&device.host, HOME);
    let lent = buffer.on(other).unwrap();
    let mut transfer = lent.download(pinned.allocate(1000).unwrap()).unwrap();
    assert!(!transfer.is_done().unwrap());
    drop(held);
    drop(lent);
    drop(buffer);
    assert_eq!(transfer.wait().unwrap()[..], [9; 1000]);
    assert_eq!(pinned.stats().cached, Bytes::kib(4));
}

#[test]
fn a_transfer_that_does_not_start_gives_the_memory_back() {
    let (device, allocator, pinned) = world(PinnedPolicy::default());
    let mut buffer = DeviceBuffer::<u32, _>::filled(&allocator, 10, 9, HOME).unwrap();
    let refused = buffer.upload(pinned.from_slice(&[1; 9]).unwrap()).unwrap_err();
    assert!(matches!(*refused.error, BufferError::LengthMismatch { from: 9, to: 10 }));
    assert_eq!(refused.pinned[..], [1; 9]);
    let error = BufferError::from(refused);
    assert_eq!(error.to_string(), "9 elements cannot be copied to 10: take views of equal length");
    device.fail(1);
    let refused = buffer.download(pinned.allocate(10).unwrap()).unwrap_err();
    assert!(matches!(*refused.error, BufferError::Device(_)));
    assert_eq!(buffer.to_vec().unwrap(), [9; 10]);
    let nothing = buffer.slice(..0).unwrap().download(pinned.allocate(0).unwrap()).unwrap();
    assert_eq!(nothing.wait().unwrap()[..], [0_u32; 0]);
}

#[test]
fn without_memory_to_pin_the_cache_is_given_back_first() {
    let (device, _, pinned) = world(PinnedPolicy::default());
    device.limit_pinned(Bytes::mib(1));
    drop(pinned.allocate::<u8>(700_000).unwrap());
    let small = pinned.allocate::<u8>(1000).unwrap(); // only after the large block is gone
    assert_eq!(pinned.stats().pinned, Bytes::kib(1));
    drop(pinned.allocate::<u8>(3000).unwrap());
    let error = pinned.allocate::<u8>(1 << 20).unwrap_err();
    assert!(
        matches!(
            error,
            BufferError::PinnedOutOfMemory { size, in_use, given_back, .. }
                if size == Bytes::mib(1) && in_use == Bytes::kib(1) && given_back == Bytes::kib(4)
        ),
        "{error}"
    );
    assert_eq!(small.len(), 1000);
    pinned.check().unwrap();
    assert!(pinned.allocate::<u8>(usize::MAX / 2).is_err());
}

#[test]
fn what_is_too_much_or_too_old_is_given_back() {
    let policy = PinnedPolicy {
        max_cached: Bytes::kib(5),
        max_cached_block: Bytes::kib(4),
        max_rounded: Bytes::kib(8),
        release_after: Some(Duration::from_secs(3600)),
        ..PinnedPolicy::default()
    };
    let (_, _, pinned) = world(policy.clone());
    let (large, one, two) = (
        pinned.allocate::<u8>(9000).unwrap(),
        pinned.allocate::<u8>(4000).unwrap(),
        pinned.allocate::<u8>(2000).unwrap(),
    );
    assert_eq!(pinned.stats().in_use, Bytes::new(9216 + 4096 + 2048));
    drop(large);
    assert_eq!((pinned.stats().cached, pinned.stats().unpins), (Bytes::ZERO, 1));
    drop(one);
    assert_eq!(pinned.stats().cached, Bytes::kib(4));
    drop(two); // more than 5 KiB: the one that was dropped before goes
    assert_eq!(pinned.stats().cached, Bytes::kib(2));
    pinned.maintain().unwrap();
    assert_eq!(pinned.stats().cached, Bytes::kib(2), "not an hour old");

    let at_once = PinnedPolicy { release_after: Some(Duration::ZERO), ..policy };
    let (device, _, pinned) = world(at_once);
    drop(pinned.allocate::<u8>(2000).unwrap());
    assert_eq!(pinned.stats().cached, Bytes::kib(2));
    pinned.maintain().unwrap();
    assert!(device.pinned().is_empty());
}

#[test]
fn a_reserve_is_pinned_once_and_cut() {
    let (device, _, pinned) =
        world(PinnedPolicy { reserve: Bytes::kib(8), ..PinnedPolicy::default() });
    assert_eq!(pinned.stats().uncut, Bytes::kib(8));
    let blocks = [4000, 2000, 1500].map(|len| pinned.from_slice(&vec![7_u8; len]).unwrap());
    assert_eq!((pinned.stats().pins, pinned.stats().uncut), (1, Bytes::ZERO));
    let more = pinned.allocate::<u8>(100).unwrap();
    assert_eq!((pinned.stats().pins, device.pinned().len()), (2, 2));
    assert!(blocks.iter().all(|block| block.iter().all(|&byte| byte == 7)));
    drop((blocks, more));
    pinned.empty_cache().unwrap();
    pinned.check().unwrap();
    assert_eq!(pinned.stats().pinned, Bytes::kib(8), "the reserve stays");
    drop(pinned);
    assert!(device.pinned().is_empty());
}

#[test]
fn blocks_keep_their_allocator_and_the_last_one_ends_it() {
    let (device, allocator, pinned) = world(PinnedPolicy::default());
    let block = pinned.from_slice(&[1_u16, 2, 3]).unwrap();
    drop(pinned.allocate::<u8>(10_000).unwrap());
    drop((pinned, allocator));
    assert_eq!(block[..], [1, 2, 3]);
    assert_eq!(device.pinned().len(), 2);
    drop(block);
    assert!(device.pinned().is_empty());
}

#[test]
fn memory_that_cannot_be_given_back_is_kept_or_forgotten_as_the_policy_says() {
    for ignore_unpin_errors in [false, true] {
        let (device, _, pinned) =
            world(PinnedPolicy { ignore_unpin_errors, ..PinnedPolicy::default() });
        drop(pinned.allocate::<u8>(512).unwrap());
        device.fail(1);
        let outcome = pinned.empty_cache();
        assert_eq!(outcome.is_ok(), ignore_unpin_errors);
        let known = if ignore_unpin_errors { Bytes::ZERO } else { Bytes::new(512) };
        assert_eq!((pinned.stats().cached, pinned.stats().pinned), (known, known));
        pinned.check().unwrap();
        drop(pinned);
        assert_eq!(device.pinned().len(), usize::from(ignore_unpin_errors));
    }
}

#[test]
fn memory_that_a_transfer_may_still_use_stays_pinned_when_the_device_is_lost() {
    for reserve in [Bytes::ZERO, Bytes::kib(8)] {
        let (device, allocator, pinned) =
            world(PinnedPolicy { reserve, ..PinnedPolicy::default() });
        let mut buffer = DeviceBuffer::<u32, _>::zeroed(&allocator, 1000, HOME).unwrap();
        let held = hold(&device.host, HOME);
        let transfer = buffer.upload(pinned.from_slice(&[3; 1000]).unwrap()).unwrap();
        drop(pinned.allocate::<u8>(1).unwrap());
        device.lose_streams();
        assert!(transfer.wait().is_err());
        assert!(pinned.maintain().is_err());
        drop(pinned);
        let kept = if reserve.is_zero() { Bytes::kib(4) } else { reserve };
        assert_eq!(device.pinned_bytes(), kept);
        drop(held);
        device.host.synchronize().unwrap();
    }
}

#[test]
fn the_background_thread_gives_back_what_is_too_much() {
    let policy =
        PinnedPolicy { background: true, max_cached: Bytes::ZERO, ..PinnedPolicy::default() };
    let (device, allocator, pinned) = world(policy);
    let mut buffer = DeviceBuffer::<u32, _>::zeroed(&allocator, 1000, HOME).unwrap();
    for value in 0..20 {
        drop(buffer.upload(pinned.from_slice(&[value; 1000]).unwrap()).unwrap());
    }
    assert_eq!(buffer.to_vec().unwrap(), [19; 1000]);
    while !device.pinned().is_empty() {
        std::thread::yield_now(); // nobody else does it
    }
    drop(pinned);
    drop(buffer);
}
