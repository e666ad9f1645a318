//! Snapshots: whatever the program and the settings, they add up to the counters.

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_device::Device;
use freeboard_device_sim::SimDevice;
use freeboard_snapshot::{BlockState, PoolId, Segment, Setting, Snapshot};
use freeboard_units::{Bytes, StreamId};

use crate::common::{MIB, bytes, lend, lend_with_lag, parse, take, take_on};

/// Blocks tile their segments, nothing overlaps, and the sums are the counters' values.
#[track_caller]
pub(crate) fn verify<D: Device>(allocator: &CachingAllocator<D>) -> Snapshot {
    let (snapshot, stats) = (allocator.snapshot(), allocator.stats());
    let segments = &snapshot.segments;
    for pair in segments.windows(2) {
        let end = pair[0].address + pair[0].size;
        assert!(end <= pair[1].address, "segments overlap at {}", pair[1].address);
    }
    for segment in segments {
        let mut at = segment.address;
        for block in &segment.blocks {
            assert_eq!(block.address, at, "a gap or overlap");
            assert!(block.requested <= block.size && !block.size.is_zero());
            assert!(block.state != BlockState::Free || block.requested.is_zero());
            at = block.address + block.size;
        }
        assert_eq!(at, segment.address + segment.size, "the blocks are not the segment");
    }
    let sum = |part: fn(&Segment) -> Bytes| segments.iter().map(part).sum::<Bytes>();
    assert_eq!(sum(|s| s.size), bytes(stats.reserved_bytes.all.current));
    assert_eq!(sum(Segment::allocated), bytes(stats.allocated_bytes.all.current));
    assert_eq!(sum(Segment::active), bytes(stats.active_bytes.all.current));
    assert_eq!(sum(Segment::requested), bytes(stats.requested_bytes.all.current));
    let small: Bytes = segments.iter().filter(|s| s.small).map(|s| s.size).sum();
    assert_eq!(small, bytes(stats.reserved_bytes.small.current));
    let fixed = segments.iter().filter(|segment| !segment.expandable).count();
    assert_eq!(i64::try_from(fixed).unwrap(), stats.segment.all.current);
    let allocated = segments.iter().flat_map(|segment| &segment.blocks);
    let allocated = allocated.filter(|block| block.state == BlockState::Allocated).count();
    assert_eq!(i64::try_from(allocated).unwrap(), stats.allocation.all.current);
    snapshot
}

#[test]
fn a_snapshot_tells_segments_blocks_streams_settings_and_the_device() {
    let config = parse("max_split_size_mb:64,per_process_memory_fraction:0.5");
    let (device, allocator) = lend_with_lag(config, 1024, 1_000_000);
    let small = take(&allocator, Bytes::new(1000));
    let pending = take_on(&allocator, Bytes::new(3 * MIB), 7);
    pending.record_use(StreamId::DEFAULT).unwrap();
    let address = pending.address();
    drop(pending);
    let snapshot = verify(&allocator);
    let [first, second] = &snapshot.segments[..] else { panic!("{snapshot:?}") };
    let (little, large) = if first.small { (first, second) } else { (second, first) };
    assert_eq!((little.size, little.stream), (Bytes::mib(2), StreamId::DEFAULT));
    assert_eq!((large.size, large.stream), (Bytes::mib(20), StreamId::new(7)));
    assert_eq!((little.pool, little.expandable), (PoolId::SHARED, false));
    assert_eq!(
        (little.blocks[0].address, little.blocks[0].requested),
        (small.address(), Bytes::new(1000))
    );
    assert_eq!((large.blocks[0].address, large.blocks[0].state), (address, BlockState::Pending));
    assert_eq!(large.blocks[0].requested, Bytes::mib(3));
    assert_eq!(snapshot.setting("max_split_size"), Some(&Setting::Number(64 << 20)));
    let memory = &snapshot.devices[0];
    assert_eq!(memory.total, Some(Bytes::mib(1024)));
    assert_eq!(memory.free, Some(device.capacity().saturating_sub(device.used())));
    assert_eq!(memory.limit, Some(Bytes::mib(512)));
}

#[test]
fn a_private_pool_has_a_name_of_its_own() {
    let (_device, allocator) = lend(Config::pytorch(), 256);
    let pool = allocator.create_pool(freeboard_allocator::PoolOptions::default());
    allocator.begin_pool(pool, freeboard_allocator::PoolUse::Choice, |_| true).unwrap();
    let held = take(&allocator, Bytes::mib(3));
    let snapshot = verify(&allocator);
    assert_eq!(snapshot.segments[0].pool, PoolId(0, 1));
    drop(held);
}

#[test]
fn an_engaged_plan_is_one_segment_and_its_places_are_blocks() {
    let (_device, allocator) = lend(Config::default(), 1024);
    let _weights = take(&allocator, Bytes::mib(10));
    let step = || {
        let held = [30, 20, 5].map(|mib| take(&allocator, Bytes::mib(mib)));
        let snapshot = verify(&allocator);
        drop(held);
        allocator.step();
        snapshot
    };
    let snapshots: Vec<Snapshot> = (0..6).map(|_| step()).collect();
    let region = allocator.planning().region_bytes;
    assert!(!region.is_zero());
    let segment = snapshots[5].segments.iter().find(|segment| segment.size == region);
    assert_eq!(segment.expect("the region").allocated(), Bytes::mib(55));
    verify(&allocator);
}

#[test]
fn a_snapshot_waits_for_nobody_and_works_while_the_device_fails() {
    let device = SimDevice::new(Bytes::gib(1));
    let allocator = CachingAllocator::new(&device, Config::default()).unwrap();
    let held = allocator.allocate(Bytes::mib(3), StreamId::DEFAULT).unwrap();
    let before = device.total_calls();
    assert_eq!(verify(&allocator).devices[0].free, Some(Bytes::mib(1020)));
    assert!(device.total_calls() <= before + 1, "nothing but the question how much is free");
    drop(held);
}
