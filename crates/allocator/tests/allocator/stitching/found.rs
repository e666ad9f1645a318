//! Programs that broke it once, each shrunk to what it takes.

use freeboard_allocator::Config;

use super::world::{Op, World};

/// Bytes and stream of an allocation, or the place of a free.
enum Step {
    Take(u64, u64),
    Free(usize),
}

fn play(capacity_mib: u64, lag: u64, steps: &[Step]) {
    let config = Config::default().with_mapping_budget(1.0).unwrap();
    let mut world = World::new(config, capacity_mib, lag);
    for step in steps {
        world
            .step(match *step {
                Step::Take(bytes, stream) => Op::Allocate { bytes, stream },
                Step::Free(place) => Op::Free { place },
            })
            .unwrap();
        world.verify();
    }
    world.finish();
}

/// Handles fall asleep in two arenas for one window: what the first leaves is made anew, and its
/// old number goes to a block of the second.
#[test]
fn a_window_from_two_arenas_finds_its_blocks_again() {
    use Step::{Free, Take};
    play(
        90,
        20,
        &[
            Take(1, 1),
            Take(1, 1),
            Take(35_651_585, 0),
            Free(0),
            Free(0),
            Take(1_048_577, 0),
            Take(1, 1),
            Free(0),
            Free(1),
            Take(25_165_824, 0),
            Take(31_457_281, 2),
            Free(8),
            Take(4_194_305, 1),
            Free(9),
            Take(35_651_073, 1),
            Free(17),
            Free(0),
            Take(1, 0),
            Free(32),
            Take(4_194_305, 0),
            Take(41_943_040, 0),
            Take(1, 0),
            Free(0),
            Free(20),
            Take(50_331_649, 0),
        ],
    );
}
