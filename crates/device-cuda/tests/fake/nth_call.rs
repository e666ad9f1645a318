//! One driver call of a whole workload fails, whichever it is: the workload survives, no byte is
//! shared, and nothing is left at the end.

use freeboard_allocator::Config;

use crate::common::driver;
use crate::program::{Random, World, configurations};

/// A workload in which each call fails in turn with this code.
fn fail_each_call(config: &Config, code: u32) {
    let (fake, driver) = driver();
    let mut calls = 0;
    for n in 1.. {
        let mut world = World::new(&fake, driver, config.clone());
        fake.fail_any(n, code, 1);
        let mut random = Random(7);
        for _ in 0..60 {
            world.step(&mut random);
        }
        let hit = fake.failures_hit();
        world.finish();
        if hit == 0 {
            break;
        }
        calls = n;
    }
    assert!(calls > 300, "{calls} calls are too few to show anything");
}

#[test]
fn with_a_failure_of_the_device() {
    for config in configurations() {
        fail_each_call(&config, 719);
    }
}

#[test]
fn with_a_shortage_of_memory() {
    for config in configurations() {
        fail_each_call(&config, 2);
    }
}

#[test]
fn with_a_refused_call() {
    fail_each_call(&Config::default(), 1);
}

#[test]
fn with_a_code_that_nobody_knows() {
    fail_each_call(&Config::default(), 4242);
}

/// Two failures in one run, at places that differ from run to run.
#[test]
fn with_two_failures() {
    let (fake, driver) = driver();
    let mut random = Random(99);
    for config in configurations() {
        for seed in 0..40 {
            let mut world = World::new(&fake, driver, config.clone());
            let full = world.free();
            let mut program = Random(seed);
            for part in 0..2 {
                fake.fail_any(1 + random.below(200), [719, 2][part], 1);
                for _ in 0..30 {
                    world.step(&mut program);
                }
                fake.clear_failures();
            }
            assert!(world.free() <= full);
            world.finish();
        }
    }
}
