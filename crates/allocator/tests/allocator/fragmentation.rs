//! The numbers of fragmentation, against what can be counted from outside.

use freeboard_allocator::Config;
use freeboard_units::Bytes;
use proptest::prelude::*;

use crate::common::{MIB, bytes, lend, lend_with_lag, parse, stream, take, take_many, take_on};

#[test]
fn free_memory_is_scattered_stranded_or_in_one_piece() {
    let (_device, allocator) = lend_with_lag(Config::pytorch(), 1024, 10);
    drop(take(&allocator, Bytes::mib(100)));
    let mut blocks = take_many(&allocator, 5, Bytes::mib(20));
    drop((blocks.remove(3), blocks.remove(0))); // 20 MiB each, apart
    drop(take_on(&allocator, Bytes::mib(30), 1));
    let pending = take(&allocator, Bytes::mib(44));
    pending.record_use(stream(1)).unwrap();
    drop(pending);
    let odd = take_on(&allocator, Bytes::new(1000), 2);
    let seen = allocator.fragmentation(stream(0));
    assert_eq!(seen.largest_free, Bytes::mib(20));
    assert_eq!(seen.scattered, Bytes::mib(20));
    assert_eq!(seen.stranded, Bytes::mib(30) + Bytes::mib(2) - odd.size());
    assert_eq!(seen.free, seen.largest_free + seen.scattered + seen.stranded);
    assert_eq!((seen.pending, seen.rounding), (Bytes::mib(44), Bytes::new(24)));
    let share = 1.0 - 20.0 * 1_048_576.0 / seen.free.as_f64();
    assert!((seen.external() - share).abs() < 1e-12);
    let unknown = allocator.fragmentation(stream(77));
    assert_eq!((unknown.largest_free, unknown.stranded), (Bytes::ZERO, seen.free));
}

#[test]
fn without_free_memory_nothing_is_fragmented() {
    let (_device, allocator) = lend(Config::default(), 1024);
    assert!(allocator.fragmentation(stream(0)).external().abs() < f64::EPSILON);
    drop(take(&allocator, Bytes::mib(20)));
    assert!(allocator.fragmentation(stream(0)).external().abs() < f64::EPSILON);
}

const STREAMS: u64 = 3;

/// What to take (bytes, stream, whether another stream uses it) and whether to free it again.
fn steps() -> impl Strategy<Value = Vec<(u64, u64, bool, bool)>> {
    let size = MIB + 1..64 * MIB;
    prop::collection::vec((size, 0..STREAMS, any::<bool>(), any::<bool>()), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_parts_add_up_and_the_largest_is_served_from_cache(
        settings in prop::sample::select(vec!["", "expandable_segments:True"]),
        steps in steps(),
    ) {
        let (device, allocator) = lend_with_lag(parse(settings), 16 * 1024, 1_000_000);
        let mut held = Vec::new();
        for (size, number, used, freed) in steps {
            let taken = take_on(&allocator, Bytes::new(size), number);
            if used {
                taken.record_use(stream(9)).unwrap();
            }
            held.push((taken, freed));
        }
        held.retain(|(_, freed)| !freed);
        let stats = allocator.stats();
        let now = |stat: freeboard_allocator::StatByPool| bytes(stat.all.current);
        let (active, reserved) = (now(stats.active_bytes), now(stats.reserved_bytes));
        let each: Vec<_> =
            (0..STREAMS).map(|number| allocator.fragmentation(stream(number))).collect();
        for seen in &each {
            prop_assert_eq!(seen.free, reserved - active);
            prop_assert_eq!(seen.free, seen.largest_free + seen.scattered + seen.stranded);
            prop_assert_eq!(seen.pending, active - now(stats.allocated_bytes));
            prop_assert_eq!(seen.rounding, active - now(stats.requested_bytes));
        }
        let own: Bytes = each.iter().map(|seen| seen.free - seen.stranded).sum();
        prop_assert_eq!(own, reserved - active);
        // The largest free block is that: it serves its size and not a byte more.
        for (number, seen) in each.iter().enumerate() {
            let number = number as u64;
            if seen.largest_free > Bytes::mib(1) {
                let before = device.used();
                drop(take_on(&allocator, seen.largest_free, number));
                prop_assert_eq!(device.used(), before);
            }
            let before = device.used();
            drop(take_on(&allocator, (seen.largest_free + Bytes::new(1)).max(Bytes::mib(2)), number));
            prop_assert!(device.used() > before || seen.largest_free < Bytes::mib(2));
            allocator.check().unwrap();
        }
    }
}
