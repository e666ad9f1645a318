//! A driver call that fails, whichever it is, leaves the allocator as it was before the request.

use std::sync::Arc;

use freeboard_allocator::{Config, Error};
use freeboard_device_sim::{Call, Fault, FaultPlan};
use freeboard_units::Bytes;
use proptest::prelude::*;

use crate::common::{CONFIGURATIONS, MIB, parse, stream};
use crate::program::{Op, Program, programs};
use crate::world::World;

fn driver_error() -> Fault {
    Fault::Driver { code: 700, message: "an illegal memory access was encountered".to_owned() }
}

/// What became of a program.
#[derive(Default)]
struct Outcome {
    /// Calls that failed by plan.
    hit: u64,
    /// Steps for which there was too little memory, with nothing failing.
    refused: usize,
}

/// Runs a program on a device that fails by this plan, which comes true at most once. A step that
/// fails has changed nothing, and works when it is done again.
fn run(config: &Config, program: &Program, plan: FaultPlan) -> Outcome {
    let mut world = World::new(config.clone(), program);
    world.faulty = true;
    world.device.set_faults(plan);
    let mut outcome = Outcome::default();
    for &op in &program.ops {
        loop {
            let hit = world.device.faults_hit();
            let done = world.step(op);
            world.verify();
            let failed = world.device.faults_hit() > hit;
            match done {
                Ok(()) => break,
                Err(Error::Device(_) | Error::OutOfMemory(_)) if failed => {}
                Err(Error::OutOfMemory(_)) => {
                    outcome.refused += 1;
                    break;
                }
                Err(error) => panic!("{op:?}: {error}"),
            }
        }
    }
    outcome.hit = world.device.faults_hit();
    world.device.clear_faults();
    world.step(Op::EmptyCache).expect("nothing fails any more");
    world.faulty = world.capturing();
    world.finish();
    outcome
}

/// Fails every call of a program in turn, with both kinds of failure.
fn fail_each_call(config: &Config, program: &Program) {
    for fault in [driver_error(), Fault::OutOfMemory] {
        let calls = (1..).take_while(|&n| {
            let outcome = run(config, program, FaultPlan::nth_call(n, fault.clone()));
            assert_eq!(outcome.refused, 0, "after call {n} failed");
            outcome.hit > 0
        });
        assert!(calls.count() >= 10, "the program is too poor to show anything");
    }
}

fn allocate(mib: u64, stream: u64) -> Op {
    Op::Allocate { bytes: mib * MIB, stream }
}

fn free(place: usize) -> Op {
    Op::Free { place }
}

fn record(place: usize, stream: u64) -> Op {
    Op::RecordUse { place, stream }
}

fn program(capacity_mib: u64, lag: u64, ops: &[&[Op]]) -> Program {
    Program { capacity_mib, lag, ops: ops.concat() }
}

/// Many pages, holes of several widths, and requests that span them.
fn holes() -> Vec<Op> {
    let mut ops: Vec<Op> = [30, 10, 20, 30, 50, 70, 10].map(|mib| allocate(mib, 0)).to_vec();
    ops.extend([free(4), free(2), free(0), Op::EmptyCache]);
    ops.extend([allocate(15, 0), allocate(65, 0), allocate(120, 0), allocate(1, 0)]);
    ops.extend([free(1), Op::EmptyCache, allocate(90, 0), allocate(200, 1), free(3)]);
    ops
}

/// Blocks that wait for other streams, taken again when the device is full.
fn events() -> Vec<Op> {
    let mut ops = vec![];
    for round in 0..3 {
        ops.extend([allocate(64, 0), record(0, 1), record(0, 2), allocate(1, 1), record(1, 3)]);
        ops.extend([free(0), free(0), Op::Advance { ticks: round }, allocate(3, 2)]);
        ops.extend([allocate(100, 0), record(1, 1), free(1), allocate(100, 0), free(1), free(0)]);
    }
    ops
}

fn pools() -> Vec<Op> {
    let begin = |capture| Op::BeginPool { place: 0, capture, stream: None };
    let (end, release) = (Op::EndPool { place: 0 }, Op::ReleasePool { place: 0 });
    vec![
        allocate(8, 0),
        Op::CreatePool { lending: true, unsplit: false },
        begin(true),
        allocate(30, 0),
        allocate(1, 1),
        record(1, 2),
        free(1),
        allocate(5, 0),
        end,
        allocate(150, 0),
        free(3),
        begin(false),
        allocate(30, 0),
        record(2, 1),
        free(2),
        end,
        release,
        release,
        release,
        Op::EmptyCache,
        allocate(60, 0),
        free(0),
        free(0),
        allocate(180, 0),
    ]
}

#[test]
fn with_fixed_segments() {
    let ops = [
        &[allocate(1, 0), allocate(3, 0), allocate(30, 0), allocate(200, 1), free(2), free(1)][..],
        &[Op::EmptyCache, allocate(15, 0), allocate(40, 2), Op::IntoRaw { place: 0 }, free(0)],
        // Does not fit beside what is cached: everything is given back.
        &[free(0), free(0), allocate(300, 0), free(1), allocate(9, 3), allocate(280, 0)],
    ];
    fail_each_call(&parse(""), &program(512, 0, &ops));
}

#[test]
fn with_expandable_segments_full_of_holes() {
    fail_each_call(&parse("expandable_segments:True"), &program(1024, 0, &[&holes()]));
}

#[test]
fn with_blocks_that_wait_for_other_streams() {
    for settings in ["", "expandable_segments:True"] {
        fail_each_call(&parse(settings), &program(256, 2, &[&events()]));
    }
}

#[test]
fn with_our_searches_and_late_events() {
    fail_each_call(&Config::default(), &program(256, 5, &[&events(), &holes()[..8]]));
}

#[test]
fn with_garbage_collection() {
    let churn = |n: u64| [allocate(20 + n, n % 2), allocate(30 + n, 0), free(0), free(0)];
    let ops: Vec<Op> = (0..12).flat_map(churn).collect();
    let settings = "garbage_collection_threshold:0.3,per_process_memory_fraction:0.9";
    fail_each_call(&parse(settings), &program(400, 0, &[&ops]));
}

#[test]
fn with_large_blocks_that_are_given_back_one_by_one() {
    let fill = [60, 70, 80, 90].map(|mib| allocate(mib, 0));
    let ops = [&fill[..], &[free(0); 4], &[allocate(120, 0), allocate(65, 0), free(0)], &fill[..2]];
    let ops = ops.concat();
    let ops = [&ops[..], &[free(0); 3], &ops[..]];
    fail_each_call(&parse("max_split_size_mb:50"), &program(350, 0, &ops));
}

#[test]
fn with_private_pools() {
    for settings in ["", "expandable_segments:True"] {
        fail_each_call(&parse(settings), &program(256, 2, &[&pools()]));
    }
}

/// Map fails at page k, and so does set-access: the failure that breaks `PyTorch` for good
/// (issue 188008).
#[test]
fn with_pages_that_cannot_be_mapped() {
    let program = program(1024, 0, &[&holes()]);
    let config = parse("expandable_segments:True");
    for call in [Call::MemCreate, Call::MemMap, Call::MemSetAccess, Call::AddressReserve] {
        let mut tried = 0;
        while run(&config, &program, FaultPlan::nth_call_of(call, tried + 1, driver_error())).hit
            > 0
        {
            tried += 1;
        }
        assert!(tried >= 2, "{call}");
    }
}

/// A device on which one kind of call always fails is of little use, but nothing panics.
#[test]
fn with_a_kind_of_call_that_always_fails() {
    let works = [holes(), events(), pools()];
    for (&call, settings) in
        Call::ALL.iter().flat_map(|call| [(call, ""), (call, "expandable_segments:True")])
    {
        for (ops, after) in works.iter().flat_map(|ops| [(ops, 0), (ops, ops.len() / 2)]) {
            for fault in [driver_error(), Fault::OutOfMemory] {
                let mut world = World::new(parse(settings), &program(256, 1, &[]));
                world.faulty = true;
                for (index, &op) in ops.iter().enumerate() {
                    if index == after {
                        world.device.set_faults(FaultPlan::every_call_of(call, fault.clone()));
                    }
                    let outcome = world.step(op);
                    if let Err(error) = outcome {
                        assert!(
                            matches!(error, Error::Device(_) | Error::OutOfMemory(_)),
                            "{error}"
                        );
                    }
                    // Undoing a failed request needs calls that work.
                    let undoes = [Call::MemUnmap, Call::MemRelease, Call::StreamSynchronize];
                    if !undoes.contains(&call) {
                        world.verify();
                    }
                }
                drop(world);
            }
        }
    }
}

fn plans() -> impl Strategy<Value = FaultPlan> {
    let fault = prop_oneof![3 => Just(driver_error()), 1 => Just(Fault::OutOfMemory)];
    prop_oneof![
        (1..150_u64, fault.clone()).prop_map(|(n, fault)| FaultPlan::nth_call(n, fault)),
        (prop::sample::select(Call::ALL), 1..20_u64, fault)
            .prop_map(|(call, n, fault)| FaultPlan::nth_call_of(call, n, fault)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_the_program(
        (_, settings) in prop::sample::select(CONFIGURATIONS),
        program in programs(60),
        plan in plans(),
    ) {
        run(&parse(settings), &program, plan);
    }

    #[test]
    fn whatever_the_program_with_our_defaults(program in programs(60), plan in plans()) {
        run(&Config::default(), &program, plan);
    }
}

/// The addresses were reserved before the device turned out to have no memory for them.
#[test]
fn with_addresses_that_never_got_memory() {
    let config = parse("expandable_segments:True");
    let world = World::new(config, &program(64, 0, &[]));
    assert!(world.allocator().allocate(Bytes::mib(70), stream(0)).is_err());
    world.finish();
}

/// An allocator that goes has one chance to give everything back: it takes it.
#[test]
fn while_the_allocator_goes_costs_only_what_the_call_was_about() {
    let works = [holes(), events(), pools()];
    for (settings, ops) in ["", "expandable_segments:True"]
        .iter()
        .flat_map(|settings| works.iter().map(move |ops| (settings, ops)))
    {
        for n in 1.. {
            let mut world = World::new(parse(settings), &program(1024, 2, &[ops]));
            for &op in ops {
                world.step(op).expect("nothing fails yet");
            }
            world.free_all();
            world.device.set_faults(FaultPlan::nth_call(n, driver_error()));
            let device = Arc::clone(&world.device);
            drop(world);
            if device.faults_hit() == 0 {
                break;
            }
            let left = device.leaks();
            let most =
                [left.allocations, left.reservations, left.mappings, left.handles, left.events];
            assert!(most.iter().all(|&count| count <= 1), "after call {n} failed: {left:?}");
        }
    }
}
