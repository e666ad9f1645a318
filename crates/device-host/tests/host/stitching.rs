//! Memory that is handed from stream to stream, or woken elsewhere, while the stream before has yet
//! to write to it: what comes later comes later, and the host waits for nobody.

use freeboard_allocator::{Borrowed, CachingAllocator, Config};
use freeboard_device::Order;
use freeboard_device_host::HostDevice;
use freeboard_units::{AddressRange, Bytes, StreamId};

use crate::{device, fill, hold};

type Allocator = CachingAllocator<HostDevice>;
type Held<'a> = Borrowed<'a, HostDevice>;

fn range(held: &Held<'_>) -> AddressRange {
    AddressRange::new(held.address(), held.size())
}

/// Every byte, once all streams are done.
fn assert_all(device: &HostDevice, held: &Held<'_>, value: u8) {
    device.synchronize().unwrap();
    let start = device.pointer::<u8>(held.address());
    for at in 0..usize::try_from(held.size().get()).unwrap() {
        // SAFETY: the bytes are the test's own, and no stream works on them any more.
        let byte = unsafe { start.wrapping_add(at).read_volatile() };
        assert_eq!(byte, value, "byte {at}");
    }
}

fn allocator(device: &HostDevice) -> Allocator {
    CachingAllocator::new(device.clone(), Config::default()).unwrap()
}

fn streams<const N: usize>(device: &HostDevice) -> [StreamId; N] {
    std::array::from_fn(|_| device.create_stream().unwrap())
}

/// The device is full of memory that three streams have yet to write to; a fourth takes it all.
#[test]
fn pieces_of_three_streams_serve_a_fourth_in_order() {
    let device = device();
    let allocator = allocator(&device);
    let [one, two, three, last] = streams(&device);
    let sizes = [(one, 20), (two, 22), (three, 22)];
    let held = sizes.map(|(home, mib)| (home, allocator.allocate(Bytes::mib(mib), home).unwrap()));
    let gates = [one, two, three].map(|stream| hold(&device, stream));
    for (home, memory) in held {
        fill(&device, range(&memory), 0xbb, home);
        drop(memory);
    }
    let all = allocator.allocate(Bytes::mib(64), last).unwrap();
    fill(&device, range(&all), 0xaa, last);
    let seen = allocator.stitching();
    assert_eq!((seen.stream_waits, seen.stitched_bytes), (3, Bytes::mib(64)), "{seen:?}");
    drop(gates);
    assert_all(&device, &all, 0xaa);
}

/// The same bytes go to and fro between two places, each time to another stream that is held up.
#[test]
fn handles_that_wake_again_and_again_are_in_order_every_time() {
    let device = device();
    let allocator = allocator(&device);
    let streams: [StreamId; 8] = streams(&device);
    let gate = hold(&device, streams[0]);
    let mut last = None;
    for (value, &home) in (1..).zip(&streams) {
        // A multiple of 8 MiB lies in another arena than any other size.
        let size = Bytes::mib(if value % 2 == 0 { 64 } else { 63 });
        drop(last.take());
        let memory = allocator.allocate(size, home).unwrap();
        fill(&device, range(&memory), value, home);
        last = Some(memory);
    }
    let seen = allocator.stitching();
    assert!(seen.windows > 3 && seen.woken_bytes > Bytes::mib(180), "{seen:?}");
    assert_eq!(seen.stream_waits, 7, "{seen:?}");
    drop(gate);
    assert_all(&device, &last.unwrap(), 8);
}

/// A block that another stream has yet to write to is all there is.
#[test]
fn a_pending_block_serves_at_the_limit_in_order() {
    let device = device();
    let allocator = allocator(&device);
    let [home, other, third] = streams(&device);
    let memory = allocator.allocate(Bytes::mib(60), home).unwrap();
    let gate = hold(&device, other);
    fill(&device, range(&memory), 0xbb, other);
    memory.record_use(other).unwrap();
    drop(memory);
    let again = allocator.allocate(Bytes::mib(62), third).unwrap();
    fill(&device, range(&again), 0xaa, third);
    assert_eq!(allocator.stitching().pending_waits, 1);
    drop(gate);
    assert_all(&device, &again, 0xaa);
}

/// Memory that a stream has yet to write to is neither unmapped nor made anew.
#[test]
fn what_is_in_use_stays_mapped() {
    let device = device();
    let config = Config::default().with_mapping_budget(1.0).unwrap();
    let allocator = CachingAllocator::new(device.clone(), config).unwrap();
    let [home, other] = streams(&device);
    let memory = allocator.allocate(Bytes::mib(56), home).unwrap();
    let gate = hold(&device, home);
    fill(&device, range(&memory), 0xbb, home);
    drop(memory);
    // Moves the memory, so that where it was is asleep and beyond the budget.
    for mib in [50, 56, 52] {
        drop(allocator.allocate(Bytes::mib(mib), other).unwrap());
    }
    let held: Vec<Held<'_>> =
        [5, 5, 9, 9].map(|mib| allocator.allocate(Bytes::mib(mib), other).unwrap()).into();
    let seen = allocator.stitching();
    assert!(seen.mappings > seen.handles, "{seen:?}");
    assert_eq!((seen.unmap_calls, seen.divided), (0, 0), "{seen:?}");
    drop(gate);
    drop(held);
    device.synchronize().unwrap();
    drop(allocator);
    assert!(device.books().is_empty(), "{:?}", device.books().leaks());
    assert_eq!(device.books().violations(), 0);
}

/// What was made on a stream, freed on it, pending on it or used on it outlives the stream.
#[test]
fn retired_streams_may_be_destroyed() {
    let device = device();
    let allocator = allocator(&device);
    let [gone, other] = streams(&device);
    let take = |mib, stream| allocator.allocate(Bytes::mib(mib), stream).unwrap();
    let (freed, kept, pending) = (take(9, gone), take(9, gone), take(9, gone));
    let used = take(9, StreamId::DEFAULT);
    let gate = hold(&device, other);
    pending.record_use(other).unwrap();
    used.record_use(gone).unwrap();
    drop((freed, pending));
    device.synchronize_stream(gone).unwrap();
    allocator.retire_stream(gone);
    device.destroy_stream(gone).unwrap();
    drop((kept, used));
    assert_eq!(allocator.check(), Ok(()));
    let all = take(64, StreamId::DEFAULT);
    drop(gate);
    fill(&device, range(&all), 0xaa, StreamId::DEFAULT);
    assert_all(&device, &all, 0xaa);
    drop(all);
    allocator.empty_cache().unwrap();
    drop(allocator);
    assert!(device.books().is_empty(), "{:?}", device.books().leaks());
    assert_eq!(device.books().violations(), 0);
}
