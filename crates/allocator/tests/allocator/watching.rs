//! Those who watch see windows of peaks; the run and its decisions do not notice.

use freeboard_allocator::{Config, Stats};
use freeboard_units::Bytes;
use proptest::prelude::*;

use crate::common::{lend, stream, take, take_on};

/// What to take (bytes, stream), whether to free the oldest first, and whether somebody looks.
type Steps = Vec<(u64, u64, bool, bool)>;

fn steps() -> impl Strategy<Value = Steps> {
    let size = prop_oneof![1..1_u64 << 20, 1_u64 << 20..80 << 20];
    prop::collection::vec((size, 0..2_u64, any::<bool>(), any::<bool>()), 1..80)
}

/// The counters after a program, and what the windows said the peak of allocated bytes was.
fn run(config: &Config, steps: &Steps, watched: bool) -> (Stats, i64) {
    let (_device, allocator) = lend(config.clone(), 1024);
    let (mut held, mut highest) = (Vec::new(), 0);
    for &(size, number, frees, looks) in steps {
        if frees && !held.is_empty() {
            drop(held.remove(0));
        }
        held.extend(allocator.allocate_shared(Bytes::new(size), stream(number)).ok());
        if looks && watched {
            highest = highest.max(allocator.take_peaks().allocated_bytes.all.peak);
            allocator.largest_servable_now(stream(number)).unwrap();
        }
    }
    highest = highest.max(allocator.take_peaks().allocated_bytes.all.peak);
    assert_eq!(allocator.check(), Ok(()));
    (allocator.stats(), highest)
}

proptest! {
    #[test]
    fn windows_change_neither_counters_nor_decisions(steps in steps(), ours: bool) {
        let config = if ours { Config::default() } else { Config::pytorch() };
        let ((plain, peak), (watched, highest)) = (run(&config, &steps, false), run(&config, &steps, true));
        prop_assert_eq!(&plain, &watched);
        prop_assert_eq!((peak, highest), (plain.allocated_bytes.all.peak, plain.allocated_bytes.all.peak));
    }
}

#[test]
fn a_window_begins_where_peaks_are_taken_or_reset() {
    let (_device, allocator) = lend(Config::default(), 1024);
    let peaks = || allocator.take_peaks().active_bytes.all.peak >> 20;
    drop(take(&allocator, Bytes::mib(300)));
    let held = take(&allocator, Bytes::mib(20));
    assert_eq!((peaks(), peaks()), (300, 20));
    allocator.reset_peak_stats();
    assert_eq!((allocator.stats().active_bytes.all.peak >> 20, peaks()), (20, 20));
    drop(held);
    assert_eq!((peaks(), peaks()), (20, 0));
}

#[test]
fn what_a_plan_has_set_aside_stays_so_and_is_not_counted() {
    let (_device, allocator) = lend(Config::default(), 1024);
    for _ in 0..20 {
        let first = take_on(&allocator, Bytes::mib(300), 0);
        drop(take_on(&allocator, Bytes::mib(20), 0));
        drop(first);
        allocator.step();
        let held = allocator.planning().region_bytes;
        let now = allocator.largest_servable_now(stream(0)).unwrap();
        assert_eq!(allocator.planning().region_bytes, held);
        assert!(now <= Bytes::gib(1).saturating_sub(held), "{now} beside {held}");
    }
    assert!(allocator.planning().hits > 0);
    assert_eq!(allocator.planning().deviations, 0);
    let now = allocator.largest_servable_now(stream(0)).unwrap();
    let all = allocator.largest_servable(stream(0)).unwrap();
    assert!(now <= all, "{now} of {all}");
}

#[test]
fn the_limit_is_told() {
    let (_device, allocator) = lend(Config::pytorch().with_context(Bytes::mib(100)), 1024);
    assert_eq!(allocator.limit(), None);
    allocator.set_memory_fraction(0.5).unwrap();
    assert_eq!(allocator.limit(), Some(Bytes::mib(412)));
}
