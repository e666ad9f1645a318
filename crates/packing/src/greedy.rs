//! Greedy packing: one buffer after the other, each where it fits.

use std::cmp::Reverse;

use crate::options::Deadline;
use crate::sections::{Item, live};
use crate::space::{Fit, Space};

/// Ranges looked at before no further order is begun; a second or so.
const WORK: u64 = 20_000_000;

/// Offsets and what they reach up to.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    pub(crate) offsets: Vec<u64>,
    pub(crate) height: u64,
}

/// The lowest placement of some orders, the first that reaches no higher than the goal.
pub(crate) fn place(items: &[Item], goal: u64, deadline: Deadline) -> Placement {
    let live = live(items);
    let crowd = |item: &Item| live[item.sections()].iter().copied().max().unwrap_or(0);
    let area = |item: &Item| u128::from(item.size) * u128::from(item.time);
    let order = |which: usize| {
        let mut order: Vec<usize> = (0..items.len()).collect();
        match which {
            0 => order.sort_by_key(|&n| Reverse((items[n].size, items[n].time))),
            1 => order.sort_by_key(|&n| (Reverse(items[n].last), items[n].first)),
            2 => order.sort_by_cached_key(|&n| Reverse((crowd(&items[n]), items[n].size))),
            3 => order.sort_by_key(|&n| (items[n].first, Reverse(items[n].time))),
            4 => order.sort_by_key(|&n| Reverse(area(&items[n]))),
            _ => order.sort_by_key(|&n| Reverse((items[n].time, items[n].size))),
        }
        order
    };
    let mut work = 0;
    let mut best = pass(items, live.len(), (&order(0), Fit::Lowest), &mut work);
    for which in 0..6 {
        for fit in [Fit::Lowest, Fit::Smallest] {
            if best.height <= goal || work > WORK || deadline.has_passed() {
                return best;
            }
            if which > 0 || fit == Fit::Smallest {
                let placement = pass(items, live.len(), (&order(which), fit), &mut work);
                if placement.height < best.height {
                    best = placement;
                }
            }
        }
    }
    best
}

fn pass(items: &[Item], sections: usize, how: (&[usize], Fit), work: &mut u64) -> Placement {
    let (order, fit) = how;
    let mut space = Space::new(sections);
    let mut placement = Placement { offsets: vec![0; items.len()], height: 0 };
    for &number in order {
        let item = &items[number];
        let offset = space.find(item, fit);
        space.take(item, offset);
        placement.offsets[number] = offset;
        placement.height = placement.height.max(offset + item.size);
    }
    *work += space.work;
    placement
}
