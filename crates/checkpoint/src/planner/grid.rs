//! The dynamic programme over a fixed number of memory slots, for chains whose exact step functions
//! would be too long.
//!
//! The room is counted in slots. What is stored is rounded to whole slots so that the sum over any run
//! of layers is off by less than one slot; single sums may be off either way. So a plan found for some
//! slots is looked at with its true bytes, from the most slots down, and the first that fits is taken.
//!
//! How good that is: at most one value a layer is stored at once, and each is off by less than a slot.
//! A plan that fits in the room less two slots a layer fits in the slots less one a layer when it is
//! rounded; and what is found for those slots fits in the room. So it costs no more time than that plan.

use std::iter;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::costs::Costs;
use super::unfold::{Choice, unfold};
use crate::Operation;

/// Stretches that begin in so many layers and end in so many are filled together: what one reads, the
/// others find in the cache. Blocks at the same distance from the diagonal do not need each other.
const BLOCK: usize = 16;

/// So few slots are not looked at by halves any more.
const STRETCH: usize = 96;

/// The least extra time of one stretch by the slots it has: none fits below `low`, then `count` times
/// from `start` on, then 0.
#[derive(Clone, Copy)]
struct Row {
    low: usize,
    start: usize,
    count: usize,
}

/// The rows of stretches that begin at one layer, one behind the other in memory: filling reads them in
/// this order.
#[derive(Clone, Default)]
struct Start {
    rows: Vec<Row>,
    times: Vec<f32>,
}

impl Start {
    /// The first slot that fits, and the times from there on.
    fn row(&self, at: usize) -> (usize, &[f32]) {
        let Row { low, start, count } = self.rows[at];
        (low, &self.times[start..start + count])
    }

    fn push(&mut self, low: usize, times: &[f32]) {
        self.rows.push(Row { low, start: self.times.len(), count: times.len() });
        self.times.extend_from_slice(times);
    }

    fn extend(&mut self, other: &Self) {
        let moved = self.times.len();
        self.rows.extend(other.rows.iter().map(|row| Row { start: row.start + moved, ..*row }));
        self.times.extend_from_slice(&other.times);
    }
}

/// One block while it is filled.
struct Block {
    /// The layers the stretches begin and end at.
    begin: RangeInclusive<usize>,
    end: RangeInclusive<usize>,
    starts: Vec<Start>,
}

/// The table, filled for up to some slots.
pub(crate) struct Grid<'a> {
    costs: &'a Costs,
    /// Those of s at s - 1, and in them the row of s..t at t - s.
    starts: Vec<Start>,
    /// Slots of a(i) and of saved(i).
    output: Vec<usize>,
    saved: Vec<usize>,
    /// Bytes a slot.
    unit: u64,
    slots: usize,
    /// No extra time above this is of interest.
    bound: f32,
}

impl<'a> Grid<'a> {
    /// Fills the table for `room` bytes (without a(0)) in `slots`.
    #[expect(clippy::cast_possible_truncation, reason = "a bound, and a little more")]
    pub(crate) fn new(costs: &'a Costs, room: u64, slots: usize, bound: f64) -> Self {
        let layers = costs.layers;
        let unit = room.div_ceil(slots as u64).max(1);
        let slots = usize::try_from(room / unit).unwrap_or(slots);
        let mut grid = Self {
            costs,
            starts: (0..layers).map(|_| Start::default()).collect(),
            output: rounded(&costs.output, unit),
            saved: rounded(&costs.saved, unit),
            unit,
            slots,
            bound: (bound * (1.0 + 1e-5)) as f32,
        };
        let blocks = layers.div_ceil(BLOCK);
        for distance in 0..blocks {
            for block in grid.diagonal(distance, blocks) {
                for (s, start) in block.begin.zip(&block.starts) {
                    grid.starts[s - 1].extend(start);
                }
            }
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
        thread::scope(|scope| {
            let others: Vec<_> = (1..cores).map(|_| scope.spawn(work)).collect();
            let mut done: Vec<Block> = work();
            // A thread that panics has found a fault of this file: so does this one then.
            done.extend(others.into_iter().flat_map(|other| other.join().expect("filled")));
            done
        })
    }

    fn block(&self, begin: usize, end: usize, times: &mut [f32]) -> Block {
        let layers = |block| 1 + block * BLOCK..=self.costs.layers.min((block + 1) * BLOCK);
        let (begin, end) = (layers(begin), layers(end));
        let starts = vec![Start::default(); begin.clone().count()];
        let mut block = Block { begin: begin.clone(), end: end.clone(), starts };
        for s in begin.clone().rev() {
            for t in end.clone().skip_while(|&t| t < s) {
                let (low, until) = self.fill(&block, s, t, times);
                block.starts[s - begin.start()].push(low, &times[low.min(until)..until]);
            }
        }
        block
    }

    /// The row of s..t, from the block that is being filled or the table.
    fn row<'b>(&'b self, block: &'b Block, s: usize, t: usize) -> (usize, &'b [f32]) {
        let first = *block.end.start();
        if s <= *block.begin.end() && t >= first {
            block.starts[s - block.begin.start()].row(t - first.max(s))
        } else {
            self.starts[s - 1].row(t - s)
        }
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
        let (low, times) = self.starts[s - 1].row(t - s);
        match slot.checked_sub(low) {
            None => f32::INFINITY,
            Some(at) => times.get(at).copied().unwrap_or(0.0),
        }
    }

    /// The slots that hold `bytes` while one operation runs.
    fn needs(&self, bytes: u64) -> usize {
        usize::try_from(bytes.div_ceil(self.unit)).unwrap_or(usize::MAX)
    }

    /// The times of s..t by slot: those from the first to before the second number are of interest.
    fn fill(&self, block: &Block, s: usize, t: usize, times: &mut [f32]) -> (usize, usize) {
        // What lies beside a stretch that does not begin the chain: a(s-1).
        let beside = if s == 1 { 0 } else { self.output[s - 1] };
        let Some(most) = self.slots.checked_sub(beside) else { return (usize::MAX, 0) };
        let times = &mut times[..=most];
        times.fill(f32::INFINITY);
        self.save(block, s, t, times);
        let held = self.costs.held(t);
        let (mut passing, mut needs) = (0, 0);
        // Times fall with the slots. From `until` on, less than one pass forward is reached already.
        let mut until = times.len();
        for j in s + 1..=t {
            let pass = self.costs.pass_needs(s, j - 1);
            if pass > passing {
                passing = pass;
                needs = self.needs(held + passing);
            }
            let time = single(self.costs.forward_time(s, j - 1));
            while until > 0 && times[until - 1] <= time {
                until -= 1;
            }
            if needs >= until || time > self.bound {
                break;
            }
            let upper = self.row(block, j, t);
            let upper = (upper.0.saturating_add(self.output[j - 1]), upper.1);
            join(&mut times[..until], needs, time, upper, self.row(block, s, j - 1));
        }
        let low = times.partition_point(|&time| time > self.bound);
        if low > most {
            return (usize::MAX, 0);
        }
        (low, times.partition_point(|&time| time > 0.0).max(low))
    }

    fn save(&self, block: &Block, s: usize, t: usize, times: &mut [f32]) {
        let needs = self.needs(self.costs.save_needs(s, t));
        if s == t {
            if let Some(enough) = times.get_mut(needs..) {
                enough.fill(0.0);
            }
            return;
        }
        let (low, rest) = self.row(block, s + 1, t);
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
        let mut passing = 0;
        for j in s + 1..=t {
            passing = passing.max(self.costs.pass_needs(s, j - 1));
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

/// Lowers `times` to `time` and those of the two parts, where that is less.
fn join(
    times: &mut [f32],
    needs: usize,
    time: f32,
    (upper_low, upper): (usize, &[f32]),
    (lower_low, lower): (usize, &[f32]),
) {
    let from = needs.max(upper_low).max(lower_low);
    let Some(times) = times.get_mut(from..) else { return };
    let upper = upper.get(from - upper_low..).unwrap_or_default();
    let lower = lower.get(from - lower_low..).unwrap_or_default();
    let both = upper.len().min(lower.len()).min(times.len());
    let (first, times) = times.split_at_mut(both);
    lower_to(first, &upper[..both], &lower[..both], time);
    let rest = if upper.len() > lower.len() { &upper[both..] } else { &lower[both..] };
    let (second, times) = times.split_at_mut(rest.len().min(times.len()));
    for (reached, rest) in second.iter_mut().zip(rest) {
        *reached = least(*reached, time + rest);
    }
    for reached in times {
        *reached = least(*reached, time);
    }
}

/// Lowers what is reached to `time` and both parts', where that is less. All fall with the slots: the
/// cheapest sum and the dearest that is reached tell whether there is such a place at all.
fn lower_to(reached: &mut [f32], upper: &[f32], lower: &[f32], time: f32) {
    let (Some(&dearest), Some(last_upper), Some(last_lower)) =
        (reached.first(), upper.last(), lower.last())
    else {
        return;
    };
    if time + last_upper + last_lower >= dearest {
        return;
    }
    if reached.len() > STRETCH {
        let half = reached.len() / 2;
        let (first, second) = reached.split_at_mut(half);
        lower_to(second, &upper[half..], &lower[half..], time);
        return lower_to(first, &upper[..half], &lower[..half], time);
    }
    for ((reached, upper), lower) in reached.iter_mut().zip(upper).zip(lower) {
        *reached = least(*reached, time + upper + lower);
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

/// The lesser one; unlike `f32::min` it is one instruction.
fn least(first: f32, second: f32) -> f32 {
    if second < first { second } else { first }
}

#[expect(clippy::cast_possible_truncation, reason = "slots are rounded by far more")]
const fn single(time: f64) -> f32 {
    time as f32
}
