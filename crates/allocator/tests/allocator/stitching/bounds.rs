//! What stitching keeps is bounded, however long a program runs: mappings, and addresses.

use freeboard_allocator::{Config, Stitching};
use freeboard_units::Bytes;

use super::numbers::Random;
use super::world::World;

const CAPACITY_MIB: u64 = 512;

/// Plays a long program and holds mappings and addresses against their bounds. What fell asleep
/// lately may still be in use, if events are late, and stays beyond the budget: up to `slack`
/// mappings a handle.
fn play(budget: u32, slack: u32, lag: u64, steps: usize) -> (World, Stitching) {
    let config = Config::default().with_mapping_budget(f64::from(budget)).unwrap();
    let mut world = World::new(config, CAPACITY_MIB, lag);
    let mut random = Random::new(42);
    let mut before = Stitching::default();
    for step in 0..steps {
        world.step(random.op()).unwrap();
        if step % 10_000 == 0 {
            world.verify();
        }
        let after = world.allocator.stitching();
        if after.extensions > before.extensions {
            // Trimmed before the request was served.
            let most =
                after.handles * u64::from(budget + slack) + after.map_calls - before.map_calls;
            assert!(after.mappings <= most, "step {step}: {after:?}");
        }
        assert!(after.address_bytes <= Bytes::mib(CAPACITY_MIB) * 32, "step {step}: {after:?}");
        before = after;
    }
    (world, before)
}

#[test]
fn two_hundred_thousand_steps_keep_mappings_and_addresses_within_bounds() {
    let (world, seen) = play(1, 0, 0, 200_000);
    assert!(seen.stitches > 10_000 && seen.unmap_calls > 100_000, "{seen:?}");
    assert!(seen.mappings < seen.handles * 2, "{seen:?}");
    world.finish();
}

#[test]
fn streams_that_never_finish_by_themselves_are_waited_for_at_twice_the_budget() {
    let (world, seen) = play(1, 1, 1_000_000_000, 10_000);
    assert!(seen.host_waits > 0 && seen.mappings <= seen.handles * 3, "{seen:?}");
    world.finish();
}

/// Every way to serve is taken, and `Watch` looks at each.
#[test]
fn with_late_events_too_and_nothing_in_use_is_unmapped_or_lent() {
    for budget in [1, 4] {
        let (world, seen) = play(budget, 3, 3, 40_000);
        let enough = [
            (seen.windows, 5_000),
            (seen.stitches, 1_500),
            (seen.woken_bytes.get() >> 20, 5_000),
            (seen.divided, 10),
            (seen.stream_waits, 5_000),
            (seen.pending_waits, 500),
            (seen.unmap_calls, 10_000),
            (world.refused, 1_000),
        ];
        assert!(enough.iter().all(|(seen, least)| seen > least), "{seen:?}, {enough:?}");
        world.finish();
    }
}
