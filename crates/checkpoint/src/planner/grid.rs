//! The dynamic programme over a fixed number of memory slots, for chains whose exact step functions
//! would be too long.
//!
//! The room is counted in slots. What is stored is rounded to whole slots so that the sum over any run
//! of layers is off by less than one slot; single sums may be off either way. So a plan found for some
//! slots is looked at with its true bytes, from the most slots down, and the first that fits is taken.
//! What a plan that is known costs bounds what is worth filling.
//!
//! How good that is: at most one value a layer is stored at once, and each is off by less than a slot.
//! A plan that fits in the room less two slots a layer fits in the slots less one a layer when it is
//! rounded; and what is found for those slots fits in the room. So it costs no more time than that plan.

use std::array::from_fn;
use std::iter;
use std::ops::{Range, RangeInclusive};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

mod join;
mod rows;

use self::join::{hope, join};
use self::rows::{PARTS, Start};
use super::costs::Costs;
use super::unfold::{Choice, unfold};
use crate::Operation;

/// Stretches that begin in so many layers and end in so many are filled together: what one reads, the
/// others find in the cache. Blocks at the same distance from the diagonal do not need each other.
const BLOCK: usize = 16;

/// Of a block, so many last layers at a time.
const ENDS: usize = 4;

/// The rows of the stretches that begin in so many layers and end in so many.
struct Block {
    /// The layers they begin and end at.
    begin: RangeInclusive<usize>,
    end: RangeInclusive<usize>,
    /// By the first layer.
    starts: Vec<Start>,
}

impl Block {
    /// Where the row of s..t is, or will be.
    fn place(&self, s: usize, t: usize) -> (&Start, usize) {
        (&self.starts[s - self.begin.start()], t - s.max(*self.end.start()))
    }
}

/// The table, filled for up to some slots.
pub(crate) struct Grid<'a> {
    costs: &'a Costs,
    /// By the distance from the diagonal, then by the first layer.
    blocks: Vec<Vec<Block>>,
    /// By the first layer, what forward passes to each layer after it need.
    passes: Vec<Vec<u64>>,
    /// Slots of a(i) and of saved(i).
    output: Vec<usize>,
    saved: Vec<usize>,
    /// Bytes a slot.
    unit: u64,
    slots: usize,
    /// Slots of each part.
    part: usize,
    /// No extra time above this is of interest.
    bound: f32,
}

impl<'a> Grid<'a> {
    /// Fills the table for `room` bytes (without a(0)) in `slots`.
    #[expect(clippy::cast_possible_truncation, reason = "a bound, and a little more")]
    pub(crate) fn new(costs: &'a Costs, room: u64, slots: usize, bound: f64) -> Self {
        let unit = room.div_ceil(slots as u64).max(1);
        let slots = usize::try_from(room / unit).unwrap_or(slots);
        let mut grid = Self {
            costs,
            blocks: Vec::new(),
            passes: (1..=costs.layers).map(|s| costs.passes(s)).collect(),
            output: rounded(&costs.output, unit),
            saved: rounded(&costs.saved, unit),
            unit,
            slots,
            part: (slots + 1).div_ceil(PARTS),
            bound: (bound * (1.0 + 1e-4)) as f32,
        };
        let blocks = costs.layers.div_ceil(BLOCK);
        for distance in 0..blocks {
            let diagonal = grid.diagonal(distance, blocks);
            grid.blocks.push(diagonal);
        }
        grid
    }

    /// Fills the blocks at this distance from the diagonal, on all cores.
    fn diagonal(&self, distance: usize, blocks: usize) -> Vec<Block> {
        let count = blocks - distance;
        let next = AtomicUsize::new(0);
        let work = || {
            let mut times = vec![0.0; self.slots + 1];
            let numbers = iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
            let numbers = numbers.take_while(|&number| number < count);
            numbers.map(|number| self.block(number, number + distance, &mut times)).collect()
        };
        let cores = thread::available_parallelism().map_or(1, usize::from).min(count);
        let mut done = thread::scope(|scope| {
            let others: Vec<_> = (1..cores).map(|_| scope.spawn(work)).collect();
            let mut done: Vec<Block> = work();
            // A thread that panics has found a fault of this file: so does this one then.
            done.extend(others.into_iter().flat_map(|other| other.join().expect("filled")));
            done
        });
        done.sort_by_key(|block| *block.begin.start());
        done
    }

    fn block(&self, begin: usize, end: usize, times: &mut [f32]) -> Block {
        let layers = |block| 1 + block * BLOCK..=self.costs.layers.min((block + 1) * BLOCK);
        let (begin, end) = (layers(begin), layers(end));
        let starts = vec![Start::default(); begin.clone().count()];
        let mut block = Block { begin: begin.clone(), end: end.clone(), starts };
        for first in end.clone().step_by(ENDS) {
            let last = (*end.end()).min(first + ENDS - 1);
            for s in begin.clone().rev() {
                for t in first.max(s)..=last {
                    let at = s - begin.start();
                    let (part, bounds) = self.fill(&block, s, t, times);
                    let some = times.get(part.clone()).unwrap_or_default();
                    block.starts[at].push(part.start, some, bounds);
                }
            }
        }
        block
    }

    /// Where the row of s..t is: in the block that is being filled, or in the table.
    fn place<'b>(&'b self, block: &'b Block, s: usize, t: usize) -> (&'b Start, usize) {
        if s <= *block.begin.end() && t >= *block.end.start() {
            block.place(s, t)
        } else {
            self.filled(s, t)
        }
    }

    fn filled(&self, s: usize, t: usize) -> (&Start, usize) {
        let (begin, end) = ((s - 1) / BLOCK, (t - 1) / BLOCK);
        self.blocks[end - begin][begin].place(s, t)
    }

    /// Bytes a slot.
    pub(crate) const fn unit(&self) -> u64 {
        self.unit
    }

    /// The most slots there is a plan to be had for.
    pub(crate) const fn slots(&self) -> usize {
        self.slots
    }

    fn time(&self, s: usize, t: usize, slot: usize) -> f32 {
        let (start, at) = self.filled(s, t);
        let (low, times) = start.row(at);
        match slot.checked_sub(low) {
            None => f32::INFINITY,
            Some(at) => times.get(at).copied().unwrap_or(0.0),
        }
    }

    /// The slots that hold `bytes` while one operation runs.
    fn needs(&self, bytes: u64) -> usize {
        usize::try_from(bytes.div_ceil(self.unit)).unwrap_or(usize::MAX)
    }

    /// The times of s..t by slot: which of them are of interest, and the least of each part.
    fn fill(
        &self,
        block: &Block,
        s: usize,
        t: usize,
        times: &mut [f32],
    ) -> (Range<usize>, [f32; PARTS]) {
        let nothing = (usize::MAX..usize::MAX, [f32::INFINITY; PARTS]);
        let Some(bound) = self.bound(s, t) else { return nothing };
        times.fill(f32::INFINITY);
        self.save(block, s, t, times);
        let held = self.costs.held(t);
        let (mut passing, mut needs) = (0, 0);
        // Times fall with the slots. From `until` on, less than one pass forward is reached already.
        let mut until = times.len();
        let mut dearest = self.parts(times, |part| part.start);
        for (j, &pass) in (s + 1..=t).zip(&self.passes[s - 1]) {
            if pass > passing {
                passing = pass;
                needs = self.needs(held + passing);
            }
            let time = single(self.costs.forward_time(s, j - 1));
            while until > 0 && times[until - 1] <= time {
                until -= 1;
            }
            if needs >= until || time > bound {
                break;
            }
            let ((upper, high), (lower, low)) =
                (self.place(block, j, t), self.place(block, s, j - 1));
            let (first, rest) = upper.row(high);
            let above = (first.saturating_add(self.output[j - 1]), rest);
            let below = lower.row(low);
            let (upper, lower) = (&upper.rows[high].least, &lower.rows[low].least);
            let parts = hope(&dearest, time, upper, lower);
            let from = needs.max(parts.start * self.part);
            let until = until.min(parts.end * self.part);
            if from < until {
                join(&mut times[..until], from, time, above, below);
                for part in parts {
                    dearest[part] = times[(part * self.part).min(times.len() - 1)];
                }
            }
        }
        let low = times.partition_point(|&time| time > bound);
        if low > self.slots {
            return nothing;
        }
        let end = times.partition_point(|&time| time > 0.0).max(low);
        (low..end, self.parts(times, |part| part.end - 1))
    }

    /// No extra time of s..t above this is of interest; `None`: none at all. As in the exact pass, but
    /// what the layers after it take is known only where it was filled before.
    fn bound(&self, s: usize, t: usize) -> Option<f32> {
        let layers = self.costs.layers;
        if t == layers {
            return Some(self.bound);
        }
        let (begin, end) = (t / BLOCK, (layers - 1) / BLOCK);
        let after = self.blocks.get(end - begin).map_or(0.0, |blocks| {
            let (start, at) = blocks[begin].place(t + 1, layers);
            start.rows[at].least[PARTS - 1]
        });
        let bound = self.bound - single(self.costs.forward_time(s, t)) - after;
        (bound >= 0.0).then_some(bound)
    }

    /// The time at one slot of each part, or at the last there is.
    fn parts(&self, times: &[f32], slot: impl Fn(Range<usize>) -> usize) -> [f32; PARTS] {
        from_fn(|part| {
            let slot = slot(part * self.part..(part + 1) * self.part);
            times[slot.min(times.len() - 1)]
        })
    }

    fn save(&self, block: &Block, s: usize, t: usize, times: &mut [f32]) {
        let needs = self.needs(self.costs.save_needs(s, t));
        if s == t {
            if let Some(enough) = times.get_mut(needs..) {
                enough.fill(0.0);
            }
            return;
        }
        let (start, at) = self.place(block, s + 1, t);
        let (low, rest) = start.row(at);
        let low = low.saturating_add(self.saved[s]);
        let from = needs.max(low);
        let Some(times) = times.get_mut(from..) else { return };
        let rest = rest.get(from - low..).unwrap_or_default();
        let some = rest.len().min(times.len());
        times[..some].copy_from_slice(&rest[..some]);
        times[some..].fill(0.0);
    }

    /// The plan for this many slots, if there is one.
    pub(crate) fn operations(&self, slots: usize) -> Option<Vec<Operation>> {
        let layers = self.costs.layers;
        (self.time(1, layers, slots) < f32::INFINITY).then(|| {
            unfold(layers, slots, |s, t, slot| {
                let saved = slot.checked_sub(self.saved[s]);
                let fits = slot >= self.needs(self.costs.save_needs(s, t));
                if let Some(upper) = saved
                    && fits
                    && self.time(s + 1, t, upper) <= self.time(s, t, slot)
                {
                    return (Choice::Save, upper, 0);
                }
                let (j, upper) = self.kept(s, t, slot);
                (Choice::KeepInputOf(j), upper, slot)
            })
        })
    }

    /// The layer whose input is kept in s..t, and the slots left beside it: the first of the cheapest.
    fn kept(&self, s: usize, t: usize, slot: usize) -> (usize, usize) {
        let mut best = (f32::INFINITY, t, 0);
        for (j, passing) in (s + 1..=t).zip(&self.passes[s - 1]) {
            if self.needs(self.costs.held(t) + passing) > slot {
                break;
            }
            let Some(upper) = slot.checked_sub(self.output[j - 1]) else { continue };
            let time = single(self.costs.forward_time(s, j - 1));
            let time = time + self.time(j, t, upper) + self.time(s, j - 1, slot);
            if time < best.0 {
                best = (time, j, upper);
            }
        }
        (best.1, best.2)
    }
}

/// Sizes in slots. The sum of any run of them is off by less than one slot.
fn rounded(bytes: &[u64], unit: u64) -> Vec<usize> {
    let mut until = unit / 2;
    let slots = bytes.iter().map(|bytes| {
        let before = until / unit;
        until += bytes;
        usize::try_from(until / unit - before).unwrap_or(usize::MAX)
    });
    slots.collect()
}

#[expect(clippy::cast_possible_truncation, reason = "slots are rounded by far more")]
const fn single(time: f64) -> f32 {
    time as f32
}
