//! Private pools: memory set apart, lent, uncut, captured.

use freeboard_allocator::{Config, Error, PoolOptions, PoolUse};
use freeboard_device_sim::Call;
use freeboard_units::Bytes;

use crate::common::{
    finish, lend, lend_with_lag, parse, refused, reserved, stream, take, take_many, take_on,
};

fn options() -> PoolOptions {
    PoolOptions::default()
}

#[test]
fn a_pool_serves_the_streams_that_are_picked_from_memory_of_its_own() {
    for config in [Config::pytorch(), Config::default()] {
        let (device, allocator) = lend(config, 1024);
        drop(take(&allocator, Bytes::mib(20)));
        let pool = allocator.create_pool(options());
        allocator.begin_pool(pool, PoolUse::Choice, |id| id == stream(0)).unwrap();
        let inside = take(&allocator, Bytes::mib(20));
        assert_eq!(reserved(&allocator), Bytes::mib(40), "the shared pool's block is not touched");
        let outside = take_on(&allocator, Bytes::mib(20), 1);
        allocator.end_pool(pool).unwrap();
        let address = inside.address();
        drop(inside);
        assert_ne!(take(&allocator, Bytes::mib(20)).address(), address, "it is the pool's");
        allocator.begin_pool(pool, PoolUse::Choice, |_| true).unwrap();
        assert_eq!(take(&allocator, Bytes::mib(20)).address(), address);
        allocator.end_pool(pool).unwrap();
        drop(outside);
        finish(&device, allocator);
    }
}

#[test]
fn of_several_pools_the_one_begun_last_serves() {
    let (_device, allocator) = lend(Config::pytorch(), 1024);
    let pools = [0, 1].map(|_| allocator.create_pool(options()));
    for pool in pools {
        allocator.begin_pool(pool, PoolUse::Choice, |_| true).unwrap();
    }
    let in_second = take(&allocator, Bytes::mib(20)).address();
    allocator.end_pool(pools[1]).unwrap();
    let in_first = take(&allocator, Bytes::mib(20)).address();
    assert_ne!(in_first, in_second);
    allocator.begin_pool(pools[1], PoolUse::Choice, |_| true).unwrap();
    assert_eq!(take(&allocator, Bytes::mib(20)).address(), in_second);
}

#[test]
fn a_pool_is_begun_ended_and_released_in_turn() {
    let (_device, allocator) = lend(Config::pytorch(), 64);
    let pool = allocator.create_pool(options());
    let begin = || allocator.begin_pool(pool, PoolUse::Choice, |_| true);
    assert!(matches!(allocator.end_pool(pool), Err(Error::PoolNotInUse { .. })));
    begin().unwrap();
    assert!(matches!(begin(), Err(Error::PoolInUse { .. })));
    allocator.release_pool(pool).expect("held by its use, too");
    assert!(matches!(allocator.release_pool(pool), Err(Error::PoolInUse { .. })));
    allocator.end_pool(pool).unwrap();
    allocator.release_pool(pool).unwrap();
    assert!(matches!(allocator.release_pool(pool), Err(Error::UnknownPool { .. })));
    assert!(matches!(begin(), Err(Error::UnknownPool { .. })));
}

#[test]
fn a_pool_keeps_its_memory_until_it_is_released() {
    for settings in ["", "expandable_segments:True"] {
        let (device, allocator) = lend(parse(settings), 1024);
        let pool = allocator.create_pool(options());
        allocator.begin_pool(pool, PoolUse::Choice, |_| true).unwrap();
        let [kept, freed] = [40, 60].map(|mib| take(&allocator, Bytes::mib(mib)));
        allocator.end_pool(pool).unwrap();
        drop(freed);
        allocator.release_pool(pool).unwrap();
        allocator.empty_cache().unwrap();
        assert_eq!(reserved(&allocator), Bytes::mib(100), "the use still holds it");
        allocator.release_pool(pool).unwrap();
        allocator.empty_cache().unwrap();
        assert_eq!(reserved(&allocator), Bytes::mib(40));
        drop(kept);
        allocator.empty_cache().unwrap();
        assert_eq!(reserved(&allocator), Bytes::ZERO);
        finish(&device, allocator);
    }
}

#[test]
fn a_pool_may_lend_to_requests_that_would_run_out_of_memory() {
    for (lends, config) in [false, true].into_iter().flat_map(|lends| {
        [Config::pytorch(), parse("expandable_segments:True"), Config::default()]
            .map(|config| (lends, config))
    }) {
        let (_device, allocator) = lend(config, 200);
        let pool = allocator.create_pool(if lends { options().lending() } else { options() });
        allocator.begin_pool(pool, PoolUse::Choice, |_| true).unwrap();
        let address = take(&allocator, Bytes::mib(100)).address();
        allocator.end_pool(pool).unwrap();
        let _full = take(&allocator, Bytes::mib(100));
        if lends {
            let lent = take(&allocator, Bytes::mib(90));
            assert_eq!(lent.address(), address);
            allocator.check().unwrap();
        } else {
            refused(&allocator, Bytes::mib(90));
        }
    }
}

#[test]
fn a_pool_may_hand_out_whole_segments_only() {
    let (_device, allocator) = lend(Config::pytorch(), 1024);
    let pool = allocator.create_pool(options().unsplit());
    allocator.begin_pool(pool, PoolUse::Choice, |_| true).unwrap();
    let held = take_many(&allocator, 3, Bytes::new(1000));
    assert!(held.iter().all(|held| held.size() == Bytes::mib(2)));
    let large = take(&allocator, Bytes::mib(3));
    assert_eq!((large.size(), reserved(&allocator)), (Bytes::mib(20), Bytes::mib(26)));
    assert_eq!(allocator.stats().inactive_split.all.current, 0);
}

#[test]
fn while_a_graph_is_captured_events_are_left_alone_and_nothing_is_given_back() {
    for config in [Config::pytorch(), Config::default()] {
        let (device, allocator) = lend_with_lag(config, 200, 3);
        let pending = take(&allocator, Bytes::mib(40));
        pending.record_use(stream(1)).unwrap();
        drop(pending);
        let cached = take(&allocator, Bytes::mib(60));
        let other = take(&allocator, Bytes::mib(20));
        other.record_use(stream(1)).unwrap();
        drop(cached);
        let pool = allocator.create_pool(options());
        allocator.begin_pool(pool, PoolUse::Capture, |_| true).unwrap();
        let events = || {
            let calls = [Call::EventQuery, Call::EventRecord, Call::EventSynchronize, Call::Free];
            calls.map(|call| device.count(call))
        };
        let before = events();
        drop(other); // its event must wait
        device.advance(10);
        let captured = take(&allocator, Bytes::mib(60));
        let report = refused(&allocator, Bytes::mib(60));
        assert_eq!(report.pending, Bytes::mib(60));
        allocator.empty_cache().unwrap();
        assert_eq!(events(), before);
        allocator.end_pool(pool).unwrap();
        drop(take(&allocator, Bytes::mib(60)));
        device.advance(10);
        drop(take(&allocator, Bytes::mib(2)));
        assert_eq!(allocator.stats().active_bytes.all.current, 60 << 20, "nothing waits any more");
        drop(captured);
        finish(&device, allocator);
    }
}

/// A graph orders its own streams: uses recorded in it need no event after it.
#[test]
fn uses_recorded_in_a_capture_are_done_with_it() {
    for late in [false, true] {
        let (device, allocator) = lend_with_lag(Config::pytorch(), 200, 100);
        let pool = allocator.create_pool(options());
        allocator.begin_pool(pool, PoolUse::Capture, |_| true).unwrap();
        let held = take(&allocator, Bytes::mib(20));
        held.record_use(stream(1)).unwrap();
        let kept = late.then_some(held); // or freed inside
        allocator.end_pool(pool).unwrap();
        drop(kept);
        allocator.check().unwrap();
        drop(take(&allocator, Bytes::mib(2)));
        assert_eq!(device.count(Call::EventRecord), 0);
        assert_eq!(
            allocator.stats().active.all.current,
            0,
            "freed {}",
            if late { "late" } else { "inside" }
        );
        finish(&device, allocator);
    }
}

/// A name that was given up must not come to mean another pool.
#[test]
fn a_released_pool_stays_unknown() {
    let (_device, allocator) = lend(Config::pytorch(), 64);
    let released = allocator.create_pool(options());
    allocator.release_pool(released).unwrap();
    let _other = allocator.create_pool(options());
    assert!(matches!(allocator.release_pool(released), Err(Error::UnknownPool { .. })));
}
