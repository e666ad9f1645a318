//! [`AddressSpace`]: a stretch of addresses, handed out from the lowest that fits.

use std::collections::BTreeMap;

use freeboard_units::{Address, AddressRange, Bytes};

/// The addresses nobody has.
///
/// Where a range comes to lie matters to the allocator above, which breaks ties by address. So the
/// rule is fixed: the lowest hole that is large enough, from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressSpace {
    /// Start to size. No two holes touch, none is empty, and all begin at a multiple of the unit,
    /// because sizes taken and given are multiples of it.
    holes: BTreeMap<Address, Bytes>,
}

impl AddressSpace {
    /// All addresses in `range`, whose ends are trimmed to multiples of `unit`.
    pub(crate) fn new(range: AddressRange, unit: Bytes) -> Self {
        let start = Bytes::new(range.start().get()).align_up(unit);
        let end = Bytes::new(range.end().get()).align_down(unit);
        let size = end.saturating_sub(start);
        let hole = (!size.is_zero()).then_some((Address::new(start.get()), size));
        Self { holes: hole.into_iter().collect() }
    }

    /// The lowest range of `size` bytes, if there is one that large.
    pub(crate) fn take(&mut self, size: Bytes) -> Option<Address> {
        let (start, hole) = self.holes.iter().find(|&(_, &hole)| hole >= size)?;
        let (start, hole) = (*start, *hole);
        self.holes.remove(&start);
        if hole > size {
            self.holes.insert(start + size, hole - size);
        }
        Some(start)
    }

    /// Takes a range back; it grows together with the holes that touch it.
    ///
    /// The caller has checked that the range was taken, all of it and at once.
    pub(crate) fn give(&mut self, range: AddressRange) {
        let (mut start, mut size) = (range.start(), range.size());
        let below = self.holes.range(..start).next_back().map(|(&start, &size)| (start, size));
        debug_assert!(below.is_none_or(|(below, size)| below + size <= start), "given twice");
        if let Some((below, below_size)) = below
            && below + below_size == start
        {
            start = below;
            size += below_size;
        }
        if let Some(above_size) = self.holes.remove(&range.end()) {
            size += above_size;
        }
        self.holes.insert(start, size);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNIT: u64 = 16;
    const UNITS: usize = 48;
    const START: u64 = 0x1000;

    /// One flag per unit; a search from the beginning each time.
    struct BruteForce([bool; UNITS]);

    impl BruteForce {
        fn take(&mut self, count: usize) -> Option<usize> {
            let at = (0..=UNITS - count).find(|&at| !self.0[at..at + count].contains(&true))?;
            self.0[at..at + count].fill(true);
            Some(at)
        }

        fn holes(&self) -> BTreeMap<Address, Bytes> {
            let mut holes = BTreeMap::new();
            let mut at = 0;
            for run in self.0.chunk_by(|a, b| a == b) {
                if !run[0] {
                    holes.insert(address(at), units(run.len()));
                }
                at += run.len();
            }
            holes
        }
    }

    fn units(count: usize) -> Bytes {
        Bytes::new(UNIT) * count as u64
    }

    fn address(unit: usize) -> Address {
        Address::new(START) + units(unit)
    }

    fn space() -> AddressSpace {
        AddressSpace::new(AddressRange::new(address(0), units(UNITS)), Bytes::new(UNIT))
    }

    proptest! {
        #[test]
        fn ranges_lie_where_a_search_by_brute_force_puts_them(
            ops in proptest::collection::vec(
                (any::<bool>(), 1_usize..9, any::<prop::sample::Index>()),
                1..200,
            ),
        ) {
            let (mut space, mut brute, mut taken) = (space(), BruteForce([false; UNITS]), vec![]);
            for (take, count, which) in ops {
                if take || taken.is_empty() {
                    let at = brute.take(count);
                    prop_assert_eq!(space.take(units(count)), at.map(address));
                    taken.extend(at.map(|at| (at, count)));
                } else {
                    let (at, count) = taken.swap_remove(which.index(taken.len()));
                    brute.0[at..at + count].fill(false);
                    space.give(AddressRange::new(address(at), units(count)));
                }
                prop_assert_eq!(&space.holes, &brute.holes());
            }
        }
    }

    #[test]
    fn a_returned_range_grows_together_with_both_neighbours() {
        let mut space = space();
        let whole = space.clone();
        let [a, b, c] = [0; 3].map(|_| space.take(units(2)).unwrap());
        for start in [a, c, b] {
            space.give(AddressRange::new(start, units(2)));
        }
        assert_eq!(space, whole);
        assert_eq!(space.take(units(UNITS)), Some(address(0)));
        assert_eq!(space.take(units(1)), None);
    }

    #[test]
    fn the_ends_are_trimmed_to_the_unit() {
        let range = AddressRange::new(Address::new(10), Bytes::new(30));
        let mut space = AddressSpace::new(range, Bytes::new(16));
        assert_eq!(space.take(Bytes::new(16)), Some(Address::new(16)));
        assert_eq!(space.take(Bytes::new(16)), None);
        let mut empty = AddressSpace::new(range, Bytes::new(64));
        assert_eq!(empty.take(Bytes::new(1)), None);
    }
}
