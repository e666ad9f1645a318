//! Whatever a program does on a tight device: no byte is live twice, no stream comes too early,
//! nothing in use is unmapped, and no request is refused that could have been served.

use freeboard_allocator::{Config, HistoryOptions};
use proptest::collection::vec;
use proptest::prelude::*;

use super::watch::STREAMS;
use super::world::{Op, World};
use crate::common::MIB;

fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => 1..4096_u64,
        3 => 1..=MIB,
        1 => prop::sample::select(vec![MIB, MIB + 1, 2 * MIB, 2 * MIB + 512]),
        5 => MIB..10 * MIB,
        3 => (1..12_u64).prop_map(|n| n * 8 * MIB),
        4 => 10 * MIB..64 * MIB,
        2 => 64 * MIB..=200 * MIB,
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let (place, number) = (0..64_usize, 0..STREAMS as u64);
    prop_oneof![
        40 => (sizes(), number.clone()).prop_map(|(bytes, stream)| Op::Allocate { bytes, stream }),
        32 => place.clone().prop_map(|place| Op::Free { place }),
        8 => (place, number.clone()).prop_map(|(place, stream)| Op::Use { place, stream }),
        1 => Just(Op::EmptyCache),
        6 => (0..8_u64).prop_map(|ticks| Op::Advance { ticks }),
        1 => (20..=100_u32).prop_map(|percent| Op::Fraction { percent }),
        1 => (20..=100_u64).prop_map(|percent| Op::Squeeze { percent }),
        2 => number.clone().prop_map(|stream| Op::Largest { stream }),
        1 => number.prop_map(|stream| Op::Retire { stream }),
    ]
}

fn pool_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..STREAMS as u64, any::<bool>())
            .prop_map(|(stream, capture)| Op::Begin { stream, capture }),
        Just(Op::End),
    ]
}

pub(super) fn configs() -> impl Strategy<Value = Config> {
    let targets = prop::sample::select(vec![0.0, 1.0, 1.0, 1.2]);
    let budgets = prop::sample::select(vec![1.0, 1.5, 4.0]);
    (targets, budgets).prop_map(|(target, budget)| {
        let config = Config::default().with_reserve_target(target).expect("good");
        config.with_mapping_budget(budget).expect("good")
    })
}

pub(super) fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 1..most)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_the_program_all_that_is_promised_holds(
        config in configs(),
        capacity in prop::sample::select(vec![64_u64, 90, 128, 200, 512, 1024, 4096]),
        lag in prop::sample::select(vec![0_u64, 3, 20, 1_000_000]),
        ops in ops(160),
    ) {
        let mut world = World::new(config, capacity, lag);
        let recorded = ops.len().is_multiple_of(2);
        if recorded {
            world.allocator.record_history(HistoryOptions::default());
        }
        for &op in &ops {
            world.step(op).expect("nothing fails");
            world.verify();
        }
        if recorded {
            crate::history::replay(&world.allocator);
        }
        world.finish();
    }

    /// A private pool's memory stays where it is, and nothing is ordered during a capture.
    #[test]
    fn whatever_happens_around_a_private_pool(
        config in configs(),
        capacity in prop::sample::select(vec![64_u64, 128, 200, 512]),
        lag in prop::sample::select(vec![0_u64, 3, 1_000_000]),
        ops in vec(prop_oneof![6 => op(), 1 => pool_op()], 1..160),
    ) {
        let mut world = World::new(config, capacity, lag);
        for &op in &ops {
            world.step(op).expect("nothing fails");
            world.verify();
        }
        world.finish();
    }
}
