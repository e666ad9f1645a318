//! Greedy packing: one buffer after the other, each where it fits.

use std::cmp::Reverse;

use crate::SEARCHED;
use crate::options::Deadline;
use crate::sections::{Item, live};
use crate::space::{Fit, Space};

/// Ranges looked at before no further pass is begun; half a second or so.
const WORK: u64 = 10_000_000;
/// How many orders there are.
const ORDERS: u32 = 6;

/// Offsets and what they reach up to.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    pub(crate) offsets: Vec<u64>,
    pub(crate) height: u64,
}

/// A placement and how it came about.
#[derive(Debug)]
struct Pass {
    placement: Placement,
    order: Vec<u32>,
    fit: Fit,
}

/// Passes over the same buffers.
#[derive(Debug)]
struct Greedy<'a> {
    items: &'a [Item],
    live: Vec<u64>,
    deadline: Deadline,
    work: u64,
}

/// The lowest placement of several passes, the first that reaches no higher than the goal.
pub(crate) fn place(items: &[Item], goal: u64, deadline: Deadline) -> Placement {
    let mut greedy = Greedy { items, live: live(items), deadline, work: 0 };
    let mut best = greedy.pass(greedy.order(0), Fit::Lowest);
    let fits = [Fit::Lowest, Fit::Smallest];
    for (which, fit) in (0..ORDERS).flat_map(|which| fits.map(|fit| (which, fit))).skip(1) {
        if greedy.is_over(&best, goal) {
            return best.placement;
        }
        let next = greedy.pass(greedy.order(which), fit);
        if next.placement.height < best.placement.height {
            best = next;
        }
    }
    if items.len() > SEARCHED { greedy.improve(best, goal) } else { best.placement }
}

impl Greedy<'_> {
    /// Goes on with what reached the top placed first.
    fn improve(&mut self, mut best: Pass, goal: u64) -> Placement {
        let (mut order, mut offsets) = (best.order.clone(), best.placement.offsets.clone());
        while !self.is_over(&best, goal) {
            let reaches_top = |&n: &u32| {
                offsets[n as usize] + self.items[n as usize].size >= best.placement.height
            };
            let (top, others): (Vec<u32>, Vec<u32>) = order.iter().partition(|&n| reaches_top(n));
            order = [top, others].concat();
            let next = self.pass(order.clone(), best.fit);
            offsets.clone_from(&next.placement.offsets);
            if next.placement.height < best.placement.height {
                best = next;
            }
        }
        best.placement
    }

    fn is_over(&self, best: &Pass, goal: u64) -> bool {
        best.placement.height <= goal || self.work > WORK || self.deadline.has_passed()
    }

    /// The buffers in one of several orders, the one that most often is best first.
    fn order(&self, which: u32) -> Vec<u32> {
        let item = |&number: &u32| &self.items[number as usize];
        let crowd = |item: &Item| self.live[item.sections()].iter().copied().max();
        let mut order: Vec<u32> = (0..).zip(self.items).map(|(number, _)| number).collect();
        match which {
            0 => order.sort_by_key(|n| Reverse((item(n).size, item(n).time()))),
            1 => order.sort_by_key(|n| (Reverse(item(n).end), item(n).begin)),
            2 => order.sort_by_cached_key(|n| Reverse((crowd(item(n)), item(n).size))),
            3 => order.sort_by_key(|n| (item(n).begin, Reverse(item(n).end))),
            4 => order.sort_by_key(|n| Reverse(item(n).area())),
            _ => order.sort_by_key(|n| Reverse((item(n).time(), item(n).size))),
        }
        order
    }

    fn pass(&mut self, order: Vec<u32>, fit: Fit) -> Pass {
        let mut space = Space::new(self.live.len());
        let mut placement = Placement { offsets: vec![0; self.items.len()], height: 0 };
        for &number in &order {
            let item = &self.items[number as usize];
            let offset = space.find(item, fit);
            space.take(item, offset);
            placement.offsets[number as usize] = offset;
            placement.height = placement.height.max(offset + item.size);
        }
        self.work += space.work;
        Pass { placement, order, fit }
    }
}
