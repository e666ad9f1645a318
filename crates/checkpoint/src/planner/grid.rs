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

use super::costs::Costs;
use super::unfold::{Choice, unfold};
use crate::Operation;

/// Columns filled together: what one reads, the others find in the cache.
const TOGETHER: usize = 4;

/// The least extra time of one stretch by the slots it has: none fits below `low`, then `count` times
/// from `start` on, then 0.
#[derive(Clone, Copy)]
struct Row {
    low: usize,
    start: usize,
    count: usize,
}

/// The rows of all stretches that end at one layer.
#[derive(Default)]
struct Column {
    /// Of s at `t - s`.
    rows: Vec<Row>,
    times: Vec<f32>,
}

impl Column {
    /// The first slot that fits, and the times from there on.
    fn row(&self, s: usize, t: usize) -> (usize, &[f32]) {
        let Row { low, start, count } = self.rows[t - s];
        (low, &self.times[start..start + count])
    }

    fn time(&self, s: usize, t: usize, slot: usize) -> f32 {
        let (low, times) = self.row(s, t);
        match slot.checked_sub(low) {
            None => f32::INFINITY,
            Some(at) => times.get(at).copied().unwrap_or(0.0),
        }
    }

    fn push(&mut self, low: usize, times: &[f32]) {
        self.rows.push(Row { low, start: self.times.len(), count: times.len() });
        self.times.extend_from_slice(times);
    }
}

/// The table, filled for up to some slots.
pub(crate) struct Grid<'a> {
    costs: &'a Costs,
    /// Column t at t - 1.
    columns: Vec<Column>,
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
            columns: (0..layers).map(|_| Column::default()).collect(),
            output: rounded(&costs.output, unit),
            saved: rounded(&costs.saved, unit),
            unit,
            slots,
            bound: (bound * (1.0 + 1e-5)) as f32,
        };
        let mut times = vec![0.0; slots + 1];
        for first in (1..=layers).step_by(TOGETHER) {
            let last = layers.min(first + TOGETHER - 1);
            for s in (1..=last).rev() {
                for t in s.max(first)..=last {
                    let kept = grid.fill(s, t, &mut times);
                    let times = &times[kept.0.min(kept.1)..kept.1];
                    grid.columns[t - 1].push(kept.0, times);
                }
            }
        }
        grid
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
        self.columns[t - 1].time(s, t, slot)
    }

    /// The slots that hold `bytes` while one operation runs.
    fn needs(&self, bytes: u64) -> usize {
        usize::try_from(bytes.div_ceil(self.unit)).unwrap_or(usize::MAX)
    }

    /// The times of s..t by slot: those from the first to before the second number are of interest.
    fn fill(&self, s: usize, t: usize, times: &mut [f32]) -> (usize, usize) {
        // What lies beside a stretch that does not begin the chain: a(s-1).
        let beside = if s == 1 { 0 } else { self.output[s - 1] };
        let Some(most) = self.slots.checked_sub(beside) else { return (usize::MAX, 0) };
        let times = &mut times[..=most];
        times.fill(f32::INFINITY);
        self.save(s, t, times);
        let column = &self.columns[t - 1];
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
            let upper = column.row(j, t);
            let upper = (upper.0.saturating_add(self.output[j - 1]), upper.1);
            join(&mut times[..until], needs, time, upper, self.columns[j - 2].row(s, j - 1));
        }
        let low = times.partition_point(|&time| time > self.bound);
        if low > most {
            return (usize::MAX, 0);
        }
        (low, times.partition_point(|&time| time > 0.0).max(low))
    }

    fn save(&self, s: usize, t: usize, times: &mut [f32]) {
        let needs = self.needs(self.costs.save_needs(s, t));
        if s == t {
            if let Some(enough) = times.get_mut(needs..) {
                enough.fill(0.0);
            }
            return;
        }
        let (low, rest) = self.columns[t - 1].row(s + 1, t);
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
    for ((reached, upper), lower) in first.iter_mut().zip(upper).zip(lower) {
        *reached = least(*reached, time + upper + lower);
    }
    let rest = if upper.len() > lower.len() { &upper[both..] } else { &lower[both..] };
    let (second, times) = times.split_at_mut(rest.len().min(times.len()));
    for (reached, rest) in second.iter_mut().zip(rest) {
        *reached = least(*reached, time + rest);
    }
    for reached in times {
        *reached = least(*reached, time);
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
