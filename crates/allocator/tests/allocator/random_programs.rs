//! Whatever a program does, under whatever settings: nothing overlaps, nothing is lost, the books
//! are right.

use freeboard_allocator::{Config, Error, HistoryOptions};
use proptest::prelude::*;

use crate::common::{CONFIGURATIONS, parse};
use crate::program::{Program, programs};
use crate::world::World;

fn settings(name: &str) -> Config {
    let found = CONFIGURATIONS.iter().find(|(known, _)| *known == name);
    parse(found.expect("a class of settings").1)
}

/// Runs a program step by step and looks at everything after each.
fn run(config: Config, program: &Program) {
    let mut world = World::new(config, program);
    // Half of them recorded: other paths, the same decisions.
    let recorded = program.ops.len().is_multiple_of(2);
    if recorded {
        world.allocator().record_history(HistoryOptions::default());
    }
    for &op in &program.ops {
        match world.step(op) {
            Ok(()) | Err(Error::OutOfMemory(_)) => {}
            Err(error) => panic!("{op:?}: {error}"),
        }
        world.verify();
    }
    if recorded {
        crate::history::replay(world.allocator());
    }
    world.finish();
}

macro_rules! each_class {
    ($($name:ident: $config:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]
            $(
                #[test]
                fn $name(program in programs(80)) {
                    run($config, &program);
                }
            )*
        }
    };
}

each_class! {
    with_pytorch_defaults: settings("pytorch");
    with_expandable_segments: settings("expandable");
    with_large_blocks_kept_whole: settings("max_split");
    with_large_blocks_kept_whole_and_lent_with_slack: settings("max_split_rounding");
    with_large_blocks_kept_whole_in_expandable_segments: settings("max_split_expandable");
    with_sizes_rounded_up: settings("roundup_number");
    with_sizes_rounded_up_by_interval: settings("roundup_list");
    with_garbage_collection_that_never_happens: settings("gc_without_fraction");
    with_garbage_collection: settings("gc_with_fraction");
    with_early_refusals: settings("throw_on_oom");
    with_larger_segments: settings("large_segments");
    with_larger_pages: settings("large_pages");
    with_few_addresses: settings("small_reserve");
    with_our_defaults: Config::default();
    with_our_defaults_and_garbage_collection: Config::default().with_garbage_collection(0.3).unwrap();
    with_our_searches_on_fixed_segments: Config::default().with_expandable_segments(false);
}
