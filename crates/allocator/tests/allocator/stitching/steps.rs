//! Steps that repeat, and are planned: under the same eyes as any program, on several streams, with
//! steps between that are not as planned.

use freeboard_allocator::{Config, Planning};
use proptest::collection::vec;
use proptest::prelude::*;

use super::watch::STREAMS;
use super::world::{Op, World};
use crate::common::MIB;

/// Plays steps in this order; what was there before them stays.
fn play(mut world: World, steps: &[Vec<Op>], order: &[usize]) -> Planning {
    let kept = world.count();
    for &which in order {
        for &op in &steps[which] {
            let own = world.count() - kept;
            let op = match op {
                Op::Free { .. } if own == 0 => continue,
                Op::Free { place } => Op::Free { place: kept + place % own },
                op => op,
            };
            world.step(op).unwrap();
            world.verify();
        }
        while world.count() > kept {
            world.step(Op::Free { place: kept }).unwrap();
        }
        world.step(Op::Step).unwrap();
        world.verify();
    }
    let planning = world.allocator.planning();
    world.finish();
    planning
}

fn step() -> impl Strategy<Value = Vec<Op>> {
    let size = prop_oneof![1..MIB, MIB..10 * MIB, 10 * MIB..40 * MIB];
    let number = 0..STREAMS as u64;
    let take = (size, number.clone()).prop_map(|(bytes, stream)| Op::Allocate { bytes, stream });
    let rest = prop_oneof![
        2 => (0..8_usize).prop_map(|place| Op::Free { place }),
        1 => (0..8_usize, number).prop_map(|(place, stream)| Op::Use { place, stream }),
        1 => (0..4_u64).prop_map(|ticks| Op::Advance { ticks }),
    ];
    vec(prop_oneof![take, rest], 2..30)
}

#[test]
fn a_step_on_four_streams_is_served_from_its_plan_in_order() {
    let take = |n: u64| Op::Allocate { bytes: (n * 7 % 13 + 1) * MIB, stream: n % 4 };
    let step = |from: u64| -> Vec<Op> {
        (from..from + 24)
            .flat_map(|n| [take(n), Op::Advance { ticks: n % 2 }, Op::Free { place: 1 }])
            .collect()
    };
    let order = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    let config = Config::default().with_reserve_target(4.0).unwrap();
    let planning = play(World::new(config, 512, 3), &[step(0), step(5)], &order);
    assert!(planning.hits > 50 && planning.deviations > 0, "{planning:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn whichever_step_repeats_all_that_is_promised_holds(
        target in prop::sample::select(vec![1.0, 1.2, 4.0]),
        capacity in prop::sample::select(vec![128_u64, 256, 1024]),
        lag in prop::sample::select(vec![0_u64, 3, 1_000_000]),
        weights in vec((1..30 * MIB, 0..STREAMS as u64), 0..4),
        steps in vec(step(), 2),
        order in vec(prop_oneof![9 => Just(0_usize), 1 => Just(1)], 8..16),
    ) {
        let config = Config::default().with_reserve_target(target).unwrap();
        let mut world = World::new(config, capacity, lag);
        for &(bytes, stream) in &weights {
            world.step(Op::Allocate { bytes, stream }).unwrap();
        }
        play(world, &steps, &order);
    }
}
