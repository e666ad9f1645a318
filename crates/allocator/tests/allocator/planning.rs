//! Steps that repeat are served from a plan; whatever deviates is served all the same.

use freeboard_allocator::{Config, PoolOptions, PoolUse};
use freeboard_device_sim::{Fault, FaultPlan};
use freeboard_units::Bytes;
use proptest::prelude::*;

use crate::common::{Allocator, Held, MIB, lend, stream, take_on};

/// One step: sizes and streams; each block is freed after as many requests as the third number says.
type Step = Vec<(u64, u64, usize)>;

fn model() -> Step {
    on_streams(1)
}

fn on_streams(streams: usize) -> Step {
    let sizes =
        [1, 5 * MIB, 700, 24 * MIB, 3 * MIB, 90 * MIB, 4000, 8 * MIB, 2 * MIB + 1, 33 * MIB];
    (0..60)
        .map(|n| (sizes[n % 10] + 512 * n as u64, (n % 7 % streams) as u64, 1 + n % 13))
        .collect()
}

/// Runs a step, watching every invariant now and then.
fn run(allocator: &Allocator, step: &Step) {
    let mut held: Vec<(usize, Held)> = Vec::new();
    for (n, &(size, number, life)) in step.iter().enumerate() {
        held.retain(|(until, _)| *until > n);
        held.push((n + life, take_on(allocator, Bytes::new(size), number)));
    }
    assert_eq!(allocator.check(), Ok(()));
}

#[test]
fn a_marked_step_is_planned_after_two_repetitions_and_costs_no_driver_call() {
    let (device, allocator) = lend(Config::default(), 4096);
    let _weights = take_on(&allocator, Bytes::mib(100), 0);
    for _ in 0..4 {
        run(&allocator, &model());
        allocator.step();
    }
    let (calls, before) = (device.total_calls(), allocator.planning());
    assert!(before.region_bytes > Bytes::mib(90), "{before:?}");
    for _ in 0..10 {
        run(&allocator, &model());
        allocator.step();
    }
    let after = allocator.planning();
    assert_eq!(device.total_calls(), calls);
    assert_eq!((after.plans, after.deviations, after.misses), (1, 0, 0));
    assert_eq!(after.hits - before.hits, 600);
    assert_eq!(after.rounds - before.rounds, 10);
}

#[test]
fn streams_have_bands_of_their_own_where_the_reserve_allows_it() {
    let wide = Config::default().with_reserve_target(3.0).unwrap();
    for (config, is_planned) in [(Config::default(), false), (wide, true)] {
        let (device, allocator) = lend(config, 4096);
        for _ in 0..4 {
            run(&allocator, &on_streams(3));
            allocator.step();
        }
        let (calls, planning) = (device.total_calls(), allocator.planning());
        assert_eq!(planning.region_bytes > Bytes::ZERO, is_planned, "{planning:?}");
        assert_eq!(planning.refused > 0, !is_planned);
        run(&allocator, &on_streams(3));
        assert_eq!(device.total_calls() == calls, is_planned);
    }
}

#[test]
fn an_unmarked_step_is_found() {
    let (_device, allocator) = lend(Config::default(), 4096);
    for _ in 0..200 {
        run(&allocator, &[model(), model()[..7].to_vec()].concat());
    }
    let planning = allocator.planning();
    assert_eq!(
        (planning.plans, planning.requests, planning.deviations),
        (1, 67, 0),
        "{planning:?}"
    );
    assert!(planning.hits > 100 * 67);
}

#[test]
fn what_deviates_is_served_at_once_and_the_known_step_is_taken_up_again() {
    let (device, allocator) = lend(Config::default(), 4096);
    let (training, evaluation): (Step, Step) = (model(), vec![(50 * MIB, 0, 3); 20]);
    for round in 0..20 {
        run(&allocator, if round % 8 == 7 { &evaluation } else { &training });
        allocator.step();
    }
    let planning = allocator.planning();
    assert!(planning.deviations >= 1 && planning.hits > 300, "{planning:?}");
    assert_eq!(planning.plans, 1, "the plan is kept: {planning:?}");
    drop(allocator);
    assert!(device.is_empty());
}

#[test]
fn a_planned_block_used_on_another_stream_is_not_handed_out_before_that_is_over() {
    let (device, allocator) = crate::common::lend_with_lag(Config::default(), 1024, 1000);
    for round in 0..8 {
        let block = take_on(&allocator, Bytes::mib(20), 0);
        let address = block.address();
        let planned = allocator.planning().hits;
        if round == 6 {
            assert!(planned > 0);
            block.record_use(stream(5)).unwrap();
            drop(block);
            let next = take_on(&allocator, Bytes::mib(20), 0);
            assert_ne!(next.address(), address);
            allocator.check().unwrap();
        }
        allocator.step();
    }
    assert!(allocator.planning().deviations + allocator.planning().misses > 0);
    drop(allocator);
    assert!(device.is_empty());
}

#[test]
fn memory_set_aside_for_a_plan_serves_others_before_a_request_is_refused() {
    let (_device, allocator) = lend(Config::default(), 256);
    for _ in 0..4 {
        drop((take_on(&allocator, Bytes::mib(100), 0), take_on(&allocator, Bytes::mib(100), 0)));
        allocator.step();
    }
    assert!(allocator.planning().region_bytes >= Bytes::mib(200));
    let _one = take_on(&allocator, Bytes::mib(100), 0);
    let seen = allocator.fragmentation(stream(0));
    assert_eq!(seen.free, Bytes::mib(100));
    let _large = take_on(&allocator, Bytes::mib(150), 0);
    assert_eq!(allocator.planning().region_bytes, Bytes::ZERO);
    allocator.check().unwrap();
}

#[test]
fn what_is_set_aside_counts_as_servable() {
    let (_device, allocator) = lend(Config::default(), 256);
    for _ in 0..4 {
        drop(take_on(&allocator, Bytes::mib(200), 0));
        allocator.step();
    }
    assert!(allocator.planning().region_bytes >= Bytes::mib(200));
    let largest = allocator.largest_servable(stream(0)).unwrap();
    assert!(largest >= Bytes::mib(250), "{largest}");
    drop(take_on(&allocator, largest, 0));
}

#[test]
fn a_capture_ends_the_plan_and_keeps_its_own_addresses() {
    let (_device, allocator) = lend(Config::default(), 1024);
    for _ in 0..4 {
        run(&allocator, &model());
        allocator.step();
    }
    let pool = allocator.create_pool(PoolOptions::default());
    allocator.begin_pool(pool, PoolUse::Capture, |number| number == stream(0)).unwrap();
    assert_eq!(allocator.planning().region_bytes, Bytes::ZERO);
    let captured = take_on(&allocator, Bytes::mib(30), 0);
    allocator.end_pool(pool).unwrap();
    let address = captured.address();
    drop(captured);
    for _ in 0..4 {
        run(&allocator, &model());
        allocator.step();
    }
    allocator.begin_pool(pool, PoolUse::Choice, |_| true).unwrap();
    assert_eq!(take_on(&allocator, Bytes::mib(30), 0).address(), address);
}

#[test]
fn what_is_announced_to_be_kept_has_no_place_in_a_plan() {
    for keeps in [false, true] {
        let (_device, allocator) = lend(Config::default(), 1024);
        for _ in 0..6 {
            let first = take_on(&allocator, Bytes::mib(40), 0);
            let second = take_on(&allocator, Bytes::mib(30), 0);
            if keeps {
                second.keep();
            }
            drop((first, second));
            allocator.step();
        }
        assert_eq!(allocator.planning().elsewhere, u64::from(keeps));
    }
}

#[test]
fn pytorchs_policies_plan_nothing() {
    let (_device, allocator) = lend(Config::pytorch(), 1024);
    for _ in 0..4 {
        run(&allocator, &vec![(MIB, 0, 1); 4]);
        allocator.step();
    }
    assert_eq!((allocator.planning().steps, allocator.planning().plans), (0, 0));
}

/// Whichever call fails while a region is set aside, given up, or needed elsewhere.
#[test]
fn a_failing_call_costs_a_plan_at_most() {
    let fault = || Fault::Driver { code: 999, message: "unknown".to_owned() };
    let (mut n, mut reached) = (0, true);
    while reached {
        (n, reached) = (n + 1, false);
        for fault in [fault(), Fault::OutOfMemory] {
            let (device, allocator) = lend(Config::default(), 300);
            let weights = take_on(&allocator, Bytes::mib(30), 0);
            device.set_faults(FaultPlan::nth_call(n, fault));
            for round in 0..6 {
                let mut held: Vec<Held> = Vec::new();
                for size in [MIB, 70 * MIB, 3 * MIB, 90 * MIB, if round == 4 { 5 } else { 6 } * MIB]
                {
                    held.extend(allocator.allocate_shared(Bytes::new(size), stream(0)));
                    assert_eq!(allocator.check(), Ok(()));
                    held.truncate(3);
                }
                drop(held);
                allocator.step();
                assert_eq!(allocator.check(), Ok(()));
            }
            reached |= device.total_calls() > n;
            device.clear_faults();
            drop((weights, allocator));
            assert!(device.is_empty(), "call {n}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 60, ..Default::default() })]

    /// Steps repeat, change, and are interrupted, on a device that may be too small.
    #[test]
    fn no_program_breaks_it(
        mib in 64..2048_u64,
        steps in prop::collection::vec(
            prop::collection::vec((1..40 * MIB, 0..3_u64, 1..8_usize), 1..12), 1..3),
        order in prop::collection::vec((0..3_usize, any::<bool>(), 0..20_u8), 6..30),
    ) {
        let (device, allocator) = lend(Config::default(), mib);
        let mut kept = Vec::new();
        for (which, marked, event) in order {
            let step = &steps[which.min(steps.len() - 1)];
            let mut held = Vec::new();
            for (n, &(size, number, life)) in step.iter().enumerate() {
                held.retain(|(until, _)| *until > n);
                let Ok(block) = allocator.allocate_shared(Bytes::new(size), stream(number)) else {
                    continue;
                };
                if event == 1 {
                    block.record_use(stream(7)).unwrap();
                }
                held.push((n + life, block));
                prop_assert_eq!(allocator.check(), Ok(()));
                crate::snapshots::verify(&allocator);
            }
            match event {
                2 => kept.extend(held.pop()),
                3 => allocator.empty_cache().unwrap(),
                4 => kept.clear(),
                _ => {}
            }
            drop(held);
            if marked {
                allocator.step();
            }
            prop_assert_eq!(allocator.check(), Ok(()));
        }
        kept.clear();
        allocator.empty_cache().unwrap();
        prop_assert_eq!(device.used(), Bytes::ZERO);
        drop(allocator);
        prop_assert!(device.is_empty());
    }
}
