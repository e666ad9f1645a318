//! The largest request that would be served: it is served, and a larger one is not.

use freeboard_allocator::Config;
use freeboard_units::Bytes;
use proptest::prelude::*;

use crate::common::{Allocator, Held, MIB, lend, parse, stream, take};

/// What to take (bytes, stream) and whether to free it again.
type Steps = Vec<(u64, u64, bool)>;

fn steps() -> impl Strategy<Value = Steps> {
    let size = prop_oneof![1..MIB, MIB..10 * MIB, 10 * MIB..80 * MIB];
    prop::collection::vec((size, 0..3_u64, any::<bool>()), 0..40)
}

/// Settings from scratch, in the same state each time.
fn arrange(config: &Config, mib: u64, steps: &Steps) -> (Allocator, Vec<Held>) {
    let (_device, allocator) = lend(config.clone(), mib);
    let mut held = Vec::new();
    for &(size, number, freed) in steps {
        if let Ok(taken) = allocator.allocate_shared(Bytes::new(size), stream(number)) {
            held.push((taken, freed));
        }
    }
    let held = held.into_iter().filter(|(_, freed)| !freed).map(|(held, _)| held).collect();
    (allocator, held)
}

/// Asks for the largest, and for `step` more.
fn try_it(
    config: &Config,
    mib: u64,
    steps: &Steps,
    step: Option<Bytes>,
) -> Result<(), TestCaseError> {
    for number in 0..3 {
        let (allocator, _held) = arrange(config, mib, steps);
        let largest = allocator.largest_servable(stream(number)).unwrap();
        let served = allocator.allocate(largest, stream(number)).is_ok();
        prop_assert!(served, "{largest} on stream {number}");
        let Some(step) = step else { continue };
        let (allocator, _held) = arrange(config, mib, steps);
        let refused = allocator.allocate(largest + step, stream(number)).is_err();
        prop_assert!(refused, "{step} more than {largest} on stream {number}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn with_fixed_segments(mib in 20..600_u64, steps in steps()) {
        let step = Bytes::mib(2);
        try_it(&Config::pytorch(), mib * 2, &steps, Some(step))?;
    }

    #[test]
    fn with_fixed_segments_and_our_searches(mib in 20..600_u64, steps in steps()) {
        try_it(&Config::default().with_expandable_segments(false), mib * 2, &steps, Some(Bytes::mib(2)))?;
    }

    #[test]
    fn with_a_limit(mib in 20..600_u64, fraction in 0.0..1.0, steps in steps()) {
        let config = Config::pytorch().with_memory_fraction(fraction).unwrap();
        try_it(&config, mib * 2, &steps, Some(Bytes::mib(2)))?;
    }

    #[test]
    fn with_expandable_segments(mib in 20..600_u64, steps in steps()) {
        for config in [parse("expandable_segments:True"), Config::default()] {
            try_it(&config, mib * 2, &steps, None)?;
        }
    }

    #[test]
    fn with_larger_segments(mib in 20..600_u64, steps in steps()) {
        try_it(&parse("large_segment_size_mb:64"), mib * 2, &steps, Some(Bytes::mib(2)))?;
    }

    #[test]
    fn with_garbage_collection(mib in 20..600_u64, steps in steps()) {
        let config = "garbage_collection_threshold:0.3,per_process_memory_fraction:0.9";
        try_it(&parse(config), mib * 2, &steps, Some(Bytes::mib(2)))?;
    }

    #[test]
    fn with_sizes_rounded_up(mib in 20..600_u64, steps in steps()) {
        try_it(&parse("roundup_power2_divisions:4"), mib * 2, &steps, None)?;
    }

    #[test]
    fn with_early_refusals(mib in 20..600_u64, steps in steps()) {
        try_it(&parse("throw_on_cudamalloc_oom:True"), mib * 2, &steps, None)?;
    }

    #[test]
    fn with_large_blocks_kept_whole(mib in 20..600_u64, steps in steps()) {
        try_it(&parse("max_split_size_mb:40"), mib * 2, &steps, None)?;
    }
}

#[test]
fn on_a_fresh_device_it_is_the_device() {
    for (config, mib, largest) in [
        (Config::pytorch(), 1000, 1000),
        (Config::pytorch(), 18, 18),
        (Config::pytorch(), 8, 1), // from 1 to 10 MiB a segment of 20 MiB is needed
        (Config::default(), 1000, 1000),
        (parse("expandable_segments:True"), 1010, 1000), // whole pages
        (Config::default(), 1010, 1010),
        (Config::pytorch().with_memory_fraction(0.5).unwrap(), 1000, 500),
        (parse("expandable_segments:True,expandable_segments_reserve:0.4"), 1000, 400),
    ] {
        let (_device, allocator) = lend(config.clone(), mib);
        let seen = allocator.largest_servable(stream(0)).unwrap();
        assert_eq!(seen, Bytes::mib(largest), "{mib} MiB under {config:?}");
        drop(take(&allocator, seen));
    }
}

/// A free large block of exactly 1 MiB: a request of that size goes to the small pool.
#[test]
fn a_large_block_of_the_small_pools_size_serves_nobody() {
    let (_device, allocator) = lend(parse("expandable_segments:True"), 160);
    let _first = allocator.allocate_shared(Bytes::mib(59), stream(0)).unwrap();
    let _second = allocator.allocate_shared(Bytes::new(60 * MIB + 1), stream(1)).unwrap();
    let _third = allocator.allocate_shared(Bytes::new(MIB + 1), stream(2)).unwrap();
    assert_eq!(allocator.largest_servable(stream(0)).unwrap(), Bytes::ZERO);
    assert!(allocator.allocate(Bytes::mib(1), stream(0)).is_err());
}
