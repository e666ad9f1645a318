//! The report of a request that ran out of memory: its numbers, and the reason it gives.

use freeboard_allocator::{Config, HistoryOptions, OutOfMemory, PoolOptions, PoolUse};
use freeboard_snapshot::Cause;
use freeboard_units::Bytes;

use crate::common::{
    Allocator, Held, lend, lend_with_lag, parse, refused, refused_on, stream, take, take_many,
    take_on,
};

/// The numbers of a report, in MiB: allocated, pending, cached, largest free, reserved, free.
fn numbers(report: &OutOfMemory) -> [u64; 6] {
    let free = report.free.expect("the device can tell");
    [report.allocated, report.pending, report.cached, report.largest_free, report.reserved, free]
        .map(|bytes| bytes.get() >> 20)
}

/// What holds for every report.
#[track_caller]
fn check(report: &OutOfMemory, allocator: &Allocator) {
    assert_eq!(report.reserved, report.allocated + report.pending + report.cached);
    let sum = |part: fn(&freeboard_allocator::Place) -> Bytes| {
        report.places.iter().map(part).sum::<Bytes>()
    };
    assert_eq!(sum(|place| place.allocated), report.allocated);
    assert_eq!(sum(|place| place.pending), report.pending);
    assert_eq!(sum(|place| place.free), report.cached);
    let held: Vec<Bytes> =
        report.places.iter().map(|place| place.allocated + place.pending + place.free).collect();
    assert!(held.is_sorted_by(|a, b| a >= b), "the largest first");
    let text = report.to_string();
    assert!(
        text.starts_with(&format!("CUDA out of memory. Tried to allocate {}. ", report.requested))
    );
    let diagnosis = report.diagnosis();
    assert!(text.contains(&diagnosis.summary), "{text}");
    let levers = diagnosis.levers.len().min(3);
    let holders = report.holders.len().min(3);
    let lines = 1 + levers + holders + report.places.len() + usize::from(report.stitched.is_some());
    assert_eq!(text.lines().count(), lines, "{text}");
    let json = serde_json::to_string(report).unwrap();
    assert_eq!(serde_json::from_str::<OutOfMemory>(&json).unwrap(), *report);
    allocator.check().unwrap();
}

/// Holds every second of the blocks that fill a segment of `mib` MiB.
fn fragment(allocator: &Allocator, mib: u64) -> Vec<Held> {
    drop(take(allocator, Bytes::mib(mib)));
    let count = usize::try_from(mib / 10).unwrap();
    let pieces = take_many(allocator, count, Bytes::mib(10));
    pieces.into_iter().step_by(2).collect()
}

#[test]
fn exhaustion() {
    for settings in ["", "expandable_segments:True"] {
        let (_device, allocator) = lend(parse(settings), 200);
        let _held = take(&allocator, Bytes::mib(160));
        let report = refused(&allocator, Bytes::mib(50));
        check(&report, &allocator);
        assert_eq!((report.requested, report.segment), (Bytes::mib(50), Bytes::mib(50)));
        assert_eq!(report.total, Some(Bytes::mib(200)));
        assert_eq!(report.free.unwrap() + report.cached, Bytes::mib(40));
        assert_eq!((report.limit, report.expandable), (None, !settings.is_empty()));
        let text = report.to_string();
        assert_eq!(report.diagnosis().cause, Cause::Exhaustion);
        assert!(text.contains("50.00 MiB would still lack 10.00 MiB"), "{text}");
    }
}

#[test]
fn fragmentation() {
    let (_device, allocator) = lend(Config::pytorch(), 200);
    let _held = fragment(&allocator, 200);
    let report = refused(&allocator, Bytes::mib(30));
    check(&report, &allocator);
    assert_eq!(numbers(&report), [100, 0, 100, 10, 200, 0]);
    let text = report.to_string();
    let diagnosis = report.diagnosis();
    assert_eq!(diagnosis.cause, Cause::Fragmentation);
    assert!(diagnosis.levers[0].setting.as_ref().unwrap().ends_with("stitching:True"), "{text}");
    assert!(text.contains("the largest free block for stream 0 has 10.00 MiB"), "{text}");
}

/// Issue 173049: no advice to turn on what is on.
#[test]
fn fragmentation_of_expandable_segments() {
    for config in [Config::default().with_stitching(false), parse("expandable_segments:True")] {
        let (_device, allocator) = lend(config, 200);
        let _held = fragment(&allocator, 200);
        let report = refused(&allocator, Bytes::mib(30));
        check(&report, &allocator);
        // Each gap of 10 MiB is half a page, and cannot be given back.
        assert_eq!(numbers(&report), [100, 0, 100, 10, 200, 0]);
        assert_eq!(report.diagnosis().cause, Cause::Fragmentation);
        let text = report.to_string();
        assert!(!text.contains("expandable_segments:True"), "{text}");
    }
}

#[test]
fn what_stitching_cannot_use_is_told() {
    let (_device, allocator) = lend(Config::default(), 64);
    let mut all: Vec<_> = (0..64).map(|_| take(&allocator, Bytes::mib(1))).collect();
    let mut keep = [true, false].into_iter().cycle();
    all.retain(|_| keep.next().unwrap_or_default());
    let report = refused(&allocator, Bytes::mib(4));
    check(&report, &allocator);
    let stitched = report.stitched.expect("stitched memory");
    assert_eq!((stitched.whole, stitched.longest), (Bytes::ZERO, Bytes::mib(1)));
    assert_eq!(stitched.stitching, allocator.stitching());
    let text = report.to_string();
    for words in ["0 bytes are free in whole handles", "has 1024.00 KiB", "map and 0 unmap"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn who_holds_most_is_named_by_scope() {
    let (_device, allocator) = lend(Config::pytorch(), 200);
    allocator.record_history(HistoryOptions::default());
    let held: Vec<_> = [("weights", 60), ("cache", 90), ("small", 20), ("more", 22)]
        .map(|(name, mib)| {
            let _scope = allocator.scope(name);
            take(&allocator, Bytes::mib(mib))
        })
        .into();
    let report = refused(&allocator, Bytes::mib(50));
    check(&report, &allocator);
    let text = report.to_string();
    let named: Vec<_> = text.lines().filter(|line| line.starts_with("  held by")).collect();
    let expected = ["cache: 90.00 MiB", "weights: 60.00 MiB", "more: 22.00 MiB"]
        .map(|holder| format!("  held by {holder} in 1 blocks"));
    assert_eq!(named, expected);
    drop(held);
}

#[test]
fn memory_stranded_on_another_stream() {
    let (_device, allocator) = lend(Config::pytorch(), 200);
    drop(take_on(&allocator, Bytes::mib(200), 1));
    let _pin = take_on(&allocator, Bytes::mib(20), 1);
    let report = refused_on(&allocator, Bytes::mib(100), 0);
    check(&report, &allocator);
    assert_eq!(numbers(&report), [20, 0, 180, 0, 200, 0]);
    let [place] = &report.places[..] else { panic!("one place: {:?}", report.places) };
    assert_eq!((place.stream, place.pool, place.small), (stream(1), None, false));
    assert_eq!(place.largest_free, Bytes::mib(180));
    assert!(
        report
            .to_string()
            .contains("shared large pool, stream 1: 20.00 MiB allocated, 180.00 MiB free")
    );
}

#[test]
fn memory_that_waits_for_other_streams_during_a_capture() {
    let (_device, allocator) = lend_with_lag(Config::default(), 200, 1000);
    let held = take(&allocator, Bytes::mib(160));
    held.record_use(stream(1)).unwrap();
    drop(held);
    let pool = allocator.create_pool(PoolOptions::default());
    allocator.begin_pool(pool, PoolUse::Capture, |_| true).unwrap();
    let report = refused(&allocator, Bytes::mib(100));
    check(&report, &allocator);
    assert_eq!((report.allocated, report.pending), (Bytes::ZERO, Bytes::mib(160)));
    assert!(report.to_string().contains("(160.00 MiB of it waits for other streams)"), "{report}");
}

#[test]
fn a_limit() {
    for throw in [false, true] {
        let config = Config::pytorch().with_memory_fraction(0.5).unwrap().with_throw_on_oom(throw);
        let (_device, allocator) = lend(config, 200);
        let _held = take(&allocator, Bytes::mib(60));
        let report = refused(&allocator, Bytes::mib(50));
        check(&report, &allocator);
        assert_eq!(numbers(&report), [60, 0, 0, 0, 60, 140]);
        assert_eq!((report.limit, report.refused_early), (Some(Bytes::mib(100)), false));
        let text = report.to_string();
        assert!(text.contains("100.00 MiB allowed"), "{text}");
        assert_eq!(report.diagnosis().cause, Cause::Limit);
    }
}

#[test]
fn an_early_refusal() {
    let (_device, allocator) = lend(Config::pytorch().with_throw_on_oom(true), 200);
    let _held = take(&allocator, Bytes::mib(160));
    let report = refused(&allocator, Bytes::mib(50));
    check(&report, &allocator);
    // No limit was set: the device itself is too small.
    assert_eq!((report.refused_early, report.diagnosis().cause), (true, Cause::Exhaustion));
}

#[test]
fn memory_set_apart_in_a_private_pool() {
    let (_device, allocator) = lend(Config::pytorch(), 200);
    let pool = allocator.create_pool(PoolOptions::default());
    allocator.begin_pool(pool, PoolUse::Choice, |_| true).unwrap();
    drop(take(&allocator, Bytes::mib(160)));
    let small = take(&allocator, Bytes::new(1));
    allocator.end_pool(pool).unwrap();
    let report = refused(&allocator, Bytes::mib(100));
    check(&report, &allocator);
    let kinds: Vec<_> = report.places.iter().map(|place| (place.pool, place.small)).collect();
    assert_eq!(kinds, [(Some(pool), false), (Some(pool), true)]);
    assert_eq!(
        report.allocated,
        small.size(),
        "free memory of the pool is not counted as allocated"
    );
    assert_eq!(report.diagnosis().cause, Cause::PrivatePool, "{report}");
    assert!(report.to_string().contains(&format!("{pool}, large pool, stream 0: ")), "{report}");
}

#[test]
fn sizes_beyond_any_device_with_a_limit_and_something_live() {
    for size in [u64::MAX, 1 << 60, (1 << 60) - 1] {
        let (_device, allocator) = lend(Config::pytorch().with_memory_fraction(0.5).unwrap(), 200);
        let _held = take(&allocator, Bytes::mib(60));
        let report = refused(&allocator, Bytes::new(size));
        assert_eq!(report.diagnosis().cause, Cause::Exhaustion, "more than the whole device");
    }
}

#[test]
fn a_device_that_cannot_tell_its_size_leaves_the_rest_of_the_report() {
    use freeboard_device_sim::{Call, Fault, FaultPlan};
    let (device, allocator) = lend(Config::pytorch(), 200);
    let _held = take(&allocator, Bytes::mib(160));
    let fault = Fault::Driver { code: 999, message: "unknown".to_owned() };
    device.set_faults(FaultPlan::every_call_of(Call::MemGetInfo, fault));
    let report = refused(&allocator, Bytes::mib(50));
    assert_eq!((report.total, report.free, report.allocated), (None, None, Bytes::mib(160)));
    assert!(!report.to_string().contains("GPU"), "{report}");
}

#[test]
fn free_memory_of_another_stream_is_told_from_fragmentation() {
    let (_device, allocator) = lend(Config::pytorch(), 200);
    let pieces = fragment_on(&allocator, 180, 1);
    let report = refused(&allocator, Bytes::mib(60));
    check(&report, &allocator);
    assert_eq!(report.diagnosis().cause, Cause::StrandedByStream, "{report}");
    drop(pieces);
}

#[test]
fn memory_that_other_streams_still_use_is_told_from_exhaustion() {
    let (_device, allocator) = lend_with_lag(Config::pytorch(), 200, 1000);
    let pool = allocator.create_pool(PoolOptions::default());
    let used = take(&allocator, Bytes::mib(160));
    used.record_use(stream(1)).unwrap();
    drop(used);
    allocator.begin_pool(pool, PoolUse::Capture, |stream| stream.get() == 9).unwrap();
    let report = refused(&allocator, Bytes::mib(100));
    check(&report, &allocator);
    assert_eq!(report.pending, Bytes::mib(160));
    assert_eq!(report.diagnosis().cause, Cause::PendingFree, "{report}");
    allocator.end_pool(pool).unwrap();
    drop(take(&allocator, Bytes::mib(100)));
}

/// Holds every second of the blocks that fill a segment of `mib` MiB on another stream.
fn fragment_on(allocator: &Allocator, mib: u64, number: u64) -> Vec<Held> {
    drop(take_on(allocator, Bytes::mib(mib), number));
    let count = usize::try_from(mib / 10).unwrap();
    let pieces: Vec<Held> =
        (0..count).map(|_| take_on(allocator, Bytes::mib(10), number)).collect();
    pieces.into_iter().step_by(2).collect()
}
