//! A driver call that fails, whichever it is, costs nobody a byte: what is live stays as it is, the
//! same request works the next time, and everything is given back in the end.

use freeboard_allocator::{Config, Stitching};
use freeboard_device_sim::{Call, Fault, FaultPlan};
use proptest::prelude::*;

use super::numbers::Random;
use super::random::{configs, ops};
use super::world::{Op, World};
use crate::common::MIB;

fn driver_error() -> Fault {
    Fault::Driver { code: 700, message: "an illegal memory access was encountered".to_owned() }
}

/// Plays a program on a device that fails by this plan, which comes true at most once. How often it
/// did, and what stitching has done.
fn play(mut world: World, ops: &[Op], plan: FaultPlan) -> (u64, Stitching) {
    world.faulty = true;
    world.device.set_faults(plan);
    for &op in ops {
        world.insist(op);
    }
    let (hit, seen) = (world.device.faults_hit(), world.allocator.stitching());
    world.device.clear_faults();
    world.insist(Op::EmptyCache);
    world.faulty = false;
    world.finish();
    (hit, seen)
}

/// Fails every call of a program in turn, with both kinds of failure. What it does without one.
fn fail_each_call(world: impl Fn() -> World, ops: &[Op]) -> Stitching {
    let mut seen = Stitching::default();
    for fault in [driver_error(), Fault::OutOfMemory] {
        for n in 1.. {
            let (hit, done) = play(world(), ops, FaultPlan::nth_call(n, fault.clone()));
            if hit == 0 {
                assert!(n > 100, "the program is too poor to show anything");
                seen = done;
                break;
            }
        }
    }
    seen
}

fn program(seed: u64, steps: usize) -> Vec<Op> {
    let mut random = Random::new(seed);
    (0..steps).map(|_| random.op()).collect()
}

/// Takes a block that is pending, and cuts blocks out of large handles near the limit, once nothing
/// works on them any more.
fn cuts() -> Vec<Op> {
    let take = |mib| Op::Allocate { bytes: mib * MIB, stream: 0 };
    let (used, free) = (Op::Use { place: 0, stream: 1 }, Op::Free { place: 0 });
    let mut ops = vec![take(110), used, free, take(121), free];
    for _ in 0..5 {
        ops.extend([take(5), Op::Advance { ticks: 4 }]);
    }
    ops
}

/// Late events, several streams, little memory, few mappings: all rungs of the ladder.
#[test]
fn on_every_rung_at_the_limit() {
    let mut rungs = [0; 7];
    for (seed, lag) in [(1, 1), (2, 2), (3, 3)] {
        let config = Config::default().with_mapping_budget(1.0).unwrap();
        let ops = [cuts(), program(seed, 50)].concat();
        let seen = fail_each_call(|| World::new(config.clone(), 128, lag), &ops);
        // What is divided was mapped at two places at most.
        let trimmed = seen.unmap_calls.saturating_sub(seen.divided * 2);
        let woken = seen.woken_bytes.get();
        let waits = [seen.stream_waits, seen.pending_waits];
        let found = [seen.windows, woken, seen.stitches, seen.divided, trimmed, waits[0], waits[1]];
        for (sum, found) in rungs.iter_mut().zip(found) {
            *sum += found;
        }
    }
    assert!(rungs.iter().all(|&count| count > 1), "{rungs:?}");
}

/// What could not be undone either is left alone until the cache is emptied.
#[test]
fn mappings_that_cannot_be_undone_are_scars_that_heal() {
    let take = |mib, stream| Op::Allocate { bytes: mib * MIB, stream };
    // Memory for the extension comes from the device, or is there and free.
    for (target, fill) in [(1.0, None), (0.0, Some(40))] {
        let config = Config::default().with_reserve_target(target).unwrap();
        let mut world = World::new(config, 512, 3);
        world.insist(take(30, 0));
        if let Some(mib) = fill {
            world.insist(take(mib, 0));
            world.insist(Op::Free { place: 1 });
        }
        world.faulty = true;
        for size in [45, 90, 180] {
            let kinds = &[Call::MemSetAccess, Call::MemUnmap];
            world.device.set_faults(FaultPlan::every_call_of_any(kinds, driver_error()));
            let before = world.device.leaks().mappings;
            assert!(world.step(take(size, 0)).is_err());
            world.verify();
            assert!(world.device.leaks().mappings > before, "a scar");
            world.device.clear_faults();
            // The memory behind it may be used, the addresses not.
            world.insist(take(25, 1));
            world.insist(take(size, 0));
            world.insist(Op::Free { place: 2 });
            world.insist(Op::Free { place: 1 });
        }
        world.insist(Op::EmptyCache);
        world.faulty = false;
        world.verify();
        world.finish();
    }
}

fn plans() -> impl Strategy<Value = FaultPlan> {
    let fault = prop_oneof![Just(driver_error()), Just(Fault::OutOfMemory)];
    prop_oneof![
        (1..400_u64, fault.clone()).prop_map(|(n, fault)| FaultPlan::nth_call(n, fault)),
        (prop::sample::select(Call::ALL), 1..40_u64, fault)
            .prop_map(|(call, n, fault)| FaultPlan::nth_call_of(call, n, fault)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_the_program_and_whichever_call(
        config in configs(),
        capacity in prop::sample::select(vec![64_u64, 90, 128, 200, 512]),
        lag in prop::sample::select(vec![0_u64, 3, 20]),
        ops in ops(120),
        plan in plans(),
    ) {
        play(World::new(config, capacity, lag), &ops, plan);
    }
}

/// An allocator that goes has one chance to give everything back: it takes it.
#[test]
fn while_the_allocator_goes_costs_only_what_the_call_was_about() {
    for (n, fault) in (1..).flat_map(|n| [(n, driver_error()), (n, Fault::OutOfMemory)]) {
        let mut world = World::new(Config::default(), 128, 3);
        for op in program(4, 120) {
            world.step(op).unwrap();
        }
        let seen = world.allocator.stitching();
        assert!(seen.mappings > seen.handles && seen.stream_waits > 0, "{seen:?}");
        let device = world.free_all();
        device.set_faults(FaultPlan::nth_call(n, fault));
        drop(world);
        if device.faults_hit() == 0 {
            assert!(n > 20, "{n} calls");
            break;
        }
        let left = device.leaks();
        let most = [left.reservations, left.mappings, left.handles, left.events];
        assert!(most.iter().all(|&count| count <= 1), "after call {n} failed: {left:?}");
    }
}
