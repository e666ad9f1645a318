//! Who had the bytes before: for every entry of a plan those that must not be live when it is
//! served.

use std::collections::BTreeMap;
use std::ops::Range;

/// Which entry covered each unit last: ranges that do not overlap, by where they begin.
#[derive(Debug, Default)]
struct Coverage {
    ranges: BTreeMap<u64, (u64, u32)>,
}

impl Coverage {
    /// Covers a range, and adds those that covered parts of it before to `met`.
    fn cover(&mut self, range: Range<u64>, entry: u32, met: &mut Vec<u32>) {
        if let Some((_, before)) = self.ranges.range_mut(..range.start).next_back()
            && before.0 > range.start
        {
            let rest = *before;
            before.0 = range.start;
            self.ranges.insert(range.start, rest);
        }
        while let Some((&start, &(end, other))) = self.ranges.range(range.clone()).next() {
            self.ranges.remove(&start);
            met.push(other);
            if end > range.end {
                self.ranges.insert(range.end, (end, other));
            }
        }
        self.ranges.insert(range.start, (range.end, entry));
    }
}

/// Calls `found` with every entry that has a place, in order, and its predecessors: those that, in
/// the steps before and in this one, covered some unit of it last. Itself may be one.
pub(crate) fn predecessors(
    places: &[(u32, Range<u64>)],
    mut found: impl FnMut(u32, &[u32]) -> Option<()>,
) -> Option<()> {
    let mut coverage = Coverage::default();
    let mut met = Vec::new();
    // The step before leaves behind what this one meets.
    for (entry, range) in places {
        coverage.cover(range.clone(), *entry, &mut met);
        met.clear();
    }
    for (entry, range) in places {
        coverage.cover(range.clone(), *entry, &mut met);
        met.sort_unstable();
        met.dedup();
        found(*entry, &met)?;
        met.clear();
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Unit by unit, back in time, around the circle.
    fn brute_force(places: &[(u32, Range<u64>)], at: usize) -> Vec<u32> {
        let back = (0..at).rev().chain((at..places.len()).rev());
        let mut found: Vec<u32> = places[at]
            .1
            .clone()
            .filter_map(|unit| back.clone().find(|&other| places[other].1.contains(&unit)))
            .map(|other| places[other].0)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    proptest! {
        #[test]
        fn predecessors_are_who_covered_a_unit_last(ranges in vec((0_u64..30, 1_u64..12), 0..25)) {
            let places: Vec<_> =
                (0..).step_by(3).zip(ranges.iter().map(|&(start, size)| start..start + size)).collect();
            let mut at = 0;
            predecessors(&places, |entry, met| {
                assert_eq!((entry, met), (places[at].0, &brute_force(&places, at)[..]));
                at += 1;
                Some(())
            });
            prop_assert_eq!(at, places.len());
        }
    }
}
