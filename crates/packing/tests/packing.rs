//! Packings of random buffers, of cut rectangles, and of all small cases against brute force.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "packing/rectangle.rs"]
mod rectangle;

use freeboard_packing::{Buffer, Clash, Options, PackError, check, pack, peak_live};
use freeboard_units::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

fn buffer(lower: u64, upper: u64, size: u64) -> Buffer {
    Buffer { lifetime: lower..upper, size: Bytes::new(size) }
}

fn buffers(count: usize, time: u64, size: u64) -> impl Strategy<Value = Vec<Buffer>> {
    let one = (0..time, 1..=time, 1..=size);
    vec(one.prop_map(|(lower, life, size)| buffer(lower, lower + life, size)), 0..=count)
}

/// The least height there is: some packing of that height has every buffer on the ground or on
/// another one, so it comes out when buffers fall down in the order of their offsets.
fn brute_force(buffers: &[Buffer]) -> u64 {
    fn fall(buffers: &[Buffer], tops: &mut Vec<(usize, u64)>, height: u64, best: &mut u64) {
        if height >= *best {
            return;
        }
        if tops.len() == buffers.len() {
            *best = height;
            return;
        }
        for (number, buffer) in buffers.iter().enumerate() {
            if tops.iter().any(|&(other, _)| other == number) {
                continue;
            }
            let life = &buffer.lifetime;
            let meets =
                |other: &Buffer| life.start < other.lifetime.end && other.lifetime.start < life.end;
            let below = tops.iter().filter(|&&(other, _)| meets(&buffers[other]));
            let top = below.map(|&(_, top)| top).max().unwrap_or(0) + buffer.size.get();
            tops.push((number, top));
            fall(buffers, tops, height.max(top), best);
            tops.pop();
        }
    }
    let mut best = u64::MAX;
    fall(buffers, &mut Vec::new(), 0, &mut best);
    best
}

/// Whether two buffers share time and space, found out pair by pair.
fn any_overlap(buffers: &[Buffer], offsets: &[Bytes]) -> bool {
    let range = |n: usize| offsets[n]..offsets[n] + buffers[n].size;
    (0..buffers.len()).any(|one| {
        (0..one).any(|other| {
            let (a, b) = (&buffers[one].lifetime, &buffers[other].lifetime);
            let (x, y) = (range(one), range(other));
            a.start < b.end && b.start < a.end && x.start < y.end && y.start < x.end
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_packing_is_valid_and_between_the_bounds(
        buffers in buffers(120, 40, 1000),
        alignment in prop_oneof![Just(1_u64), Just(8), Just(512)],
        effort in 0_u64..3000,
    ) {
        let alignment = Bytes::new(alignment);
        let options = Options::default().alignment(alignment).effort(effort);
        let packing = pack(&buffers, &options).unwrap();
        prop_assert!(!any_overlap(&buffers, &packing.offsets));
        let top = check(&buffers, &packing.offsets).unwrap();
        prop_assert_eq!(packing.height, top.align_up(alignment));
        prop_assert!(packing.offsets.iter().all(|offset| offset.is_aligned(alignment)));
        prop_assert!(peak_live(&buffers) <= packing.at_least);
        prop_assert!(packing.at_least <= packing.height);
        prop_assert_eq!(pack(&buffers, &options).unwrap(), packing);
    }

    #[test]
    fn no_packing_of_few_buffers_is_lower(buffers in buffers(8, 9, 7)) {
        let least = if buffers.is_empty() { 0 } else { brute_force(&buffers) };
        let packing = pack(&buffers, &Options::default()).unwrap();
        prop_assert_eq!(packing.height.get(), least);
        prop_assert!(packing.is_optimal());
    }

    #[test]
    fn the_checker_says_what_comparing_all_pairs_says(
        buffers in buffers(12, 8, 6),
        offsets in vec(0_u64..20, 12),
    ) {
        let offsets: Vec<Bytes> = offsets[..buffers.len()].iter().copied().map(Bytes::new).collect();
        prop_assert_eq!(check(&buffers, &offsets).is_err(), any_overlap(&buffers, &offsets));
    }

    #[test]
    fn cut_rectangles_are_put_together_again(
        seed: u64,
        pieces in 10_usize..60,
        cut in prop_oneof![Just(rectangle::Cut::Straight), Just(rectangle::Cut::Pinwheel)],
    ) {
        let buffers = rectangle::cut(seed, pieces, 1 << 20, cut);
        prop_assert_eq!(peak_live(&buffers), Bytes::mib(1));
        let packing = pack(&buffers, &Options::default().capacity(Bytes::mib(1))).unwrap();
        prop_assert_eq!(check(&buffers, &packing.offsets), Ok(Bytes::mib(1)));
        prop_assert!(packing.is_optimal());
    }
}

#[test]
fn a_large_cut_rectangle_needs_the_search_and_is_put_together_again() {
    for (seed, cut) in [(1, rectangle::Cut::Straight), (2, rectangle::Cut::Pinwheel)] {
        let buffers = rectangle::cut(seed, 250, 1 << 20, cut);
        let packing = pack(&buffers, &Options::default()).unwrap();
        assert_eq!(packing.height, Bytes::mib(1), "seed {seed}");
        assert!(packing.steps > 0, "seed {seed} is too easy");
    }
}

#[test]
fn a_capacity_that_is_enough_ends_the_work() {
    let buffers = rectangle::cut(1, 200, 1 << 20, rectangle::Cut::Straight);
    let packing = pack(&buffers, &Options::default().capacity(Bytes::mib(2))).unwrap();
    assert_eq!(packing.steps, 0);
    assert!(packing.height <= Bytes::mib(2));
}

#[test]
fn what_exceeds_the_capacity_is_packed_all_the_same() {
    let both = [buffer(0, 2, 10), buffer(1, 3, 10)];
    let packing = pack(&both, &Options::default().capacity(Bytes::new(15))).unwrap();
    assert_eq!((packing.height, packing.at_least), (Bytes::new(20), Bytes::new(20)));
}

fn table<const N: usize>(rows: [(u64, u64, u64); N]) -> [Buffer; N] {
    rows.map(|(lower, upper, size)| buffer(lower, upper, size))
}

#[test]
#[rustfmt::skip]
fn some_buffers_cannot_be_packed_as_low_as_their_peak() {
    let buffers = table([
        (6, 8, 5), (3, 7, 5), (0, 4, 6), (0, 3, 2), (7, 11, 6), (4, 7, 4), (3, 5, 3), (1, 3, 4),
        (2, 3, 2),
    ]);
    assert_eq!((peak_live(&buffers).get(), brute_force(&buffers)), (14, 15));
    for capacity in [None, Some(Bytes::new(14))] {
        let packing = pack(&buffers, &Options::default().capacity(capacity)).unwrap();
        assert_eq!(packing.height.get(), 15);
        assert!(packing.is_optimal(), "the search proves that 14 is impossible");
    }
}

#[test]
#[rustfmt::skip]
fn the_search_proves_nothing_impossible_that_is_possible() {
    // Both need branches whose buffers part in time, one part of which fails after another fitted.
    let ten = table([
        (4, 6, 1), (5, 7, 1), (5, 8, 2), (8, 9, 4), (3, 7, 3), (3, 6, 2), (1, 5, 4), (4, 9, 2),
        (1, 3, 3), (6, 10, 4),
    ]);
    let eleven = table([
        (8, 11, 3), (1, 2, 2), (7, 11, 4), (1, 3, 4), (8, 13, 2), (2, 7, 3), (6, 10, 2), (5, 6, 4),
        (6, 7, 2), (1, 3, 1), (4, 8, 4),
    ]);
    for (buffers, least) in [(&ten[..], 12), (&eleven[..], 11)] {
        assert_eq!(pack(buffers, &Options::default()).unwrap().height.get(), least);
    }
}

#[test]
fn many_buffers_of_equal_size_are_packed_to_their_peak() {
    let buffers: Vec<Buffer> = (0..20_000).map(|n| buffer(n, n + 1 + n * 7 % 300, 512)).collect();
    let packing = pack(&buffers, &Options::default()).unwrap();
    assert!(packing.is_optimal());
    assert_eq!(check(&buffers, &packing.offsets), Ok(peak_live(&buffers)));
}

#[test]
fn what_cannot_be_packed_is_named() {
    let options = Options::default();
    let with = |second: Buffer| pack(&[buffer(0, 1, 1), second], &options).unwrap_err();
    assert_eq!(with(buffer(3, 3, 1)), PackError::EmptyLifetime { buffer: 1 });
    assert_eq!(with(buffer(3, 4, 0)), PackError::ZeroSize { buffer: 1 });
    assert_eq!(with(buffer(3, 4, u64::MAX)), PackError::TooLarge { buffer: 1 });
    let none = Options::default().alignment(Bytes::ZERO);
    assert_eq!(pack(&[], &none).unwrap_err(), PackError::Alignment { alignment: Bytes::ZERO });
    assert!(pack(&[], &options).unwrap().is_optimal());
}

#[test]
fn sizes_and_times_near_the_end_of_the_numbers_are_packed() {
    let huge = u64::MAX / 2;
    let buffers = [buffer(0, u64::MAX, huge), buffer(u64::MAX - 1, u64::MAX, huge)];
    let packing = pack(&buffers, &Options::default()).unwrap();
    assert_eq!(packing.height.get(), 2 * huge);
}

#[test]
fn the_checker_names_the_slip() {
    let both = [buffer(0, 2, 10), buffer(1, 3, 10)];
    let check = |offsets: [u64; 2]| check(&both, &offsets.map(Bytes::new));
    assert_eq!(check([0, 9]), Err(Clash::Overlap { one: 0, other: 1 }));
    assert_eq!(check([10, 0]), Ok(Bytes::new(20)));
    assert_eq!(check([0, u64::MAX]), Err(Clash::Beyond { buffer: 1 }));
    let missing = freeboard_packing::check(&both, &[Bytes::ZERO]);
    assert_eq!(missing, Err(Clash::Count { offsets: 1, buffers: 2 }));
}
