//! The dynamic programme over a fixed number of memory slots, for chains whose exact step functions
//! would be too long.
//!
//! The room is counted in slots, and what is stored is rounded up to whole slots. So every plan found
//! fits; and since at most one value a layer is stored at once, it costs no more time than the best
//! plan in a budget that is smaller by one slot a layer.

use super::costs::Costs;
use super::unfold::{Choice, unfold};
use crate::Operation;

/// The least extra time of a stretch by the slots it has: none fits below `low`, then these times,
/// then 0.
#[derive(Clone, Default)]
struct Row {
    low: usize,
    times: Vec<f32>,
}

impl Row {
    fn time(&self, slot: usize) -> f32 {
        match slot.checked_sub(self.low) {
            None => f32::INFINITY,
            Some(at) => self.times.get(at).copied().unwrap_or(0.0),
        }
    }

    const fn end(&self) -> usize {
        self.low + self.times.len()
    }
}

/// The rows of all stretches.
pub(crate) struct Grid<'a> {
    costs: &'a Costs,
    rows: Vec<Row>,
    /// Bytes a slot.
    unit: u64,
    slots: usize,
    /// By how much the slots together exceed the room.
    over: u64,
    /// No extra time above this is of interest.
    bound: f32,
}

/// A plan in `room` (without a(0)), or `None` where none fits after rounding, or none costs less extra
/// time than `bound`.
pub(crate) fn solve(costs: &Costs, room: u64, slots: usize, bound: f64) -> Option<Vec<Operation>> {
    let layers = costs.layers;
    let unit = room.div_ceil(slots as u64).max(1);
    let slots = usize::try_from(room.div_ceil(unit)).ok()?;
    let over = slots as u64 * unit - room;
    #[expect(clippy::cast_possible_truncation, reason = "a bound, and a little more")]
    let bound = (bound * (1.0 + 1e-5)) as f32;
    let rows = vec![Row::default(); layers * layers];
    let mut grid = Grid { costs, rows, unit, slots, over, bound };
    let mut times = vec![0.0; slots + 1];
    for length in 0..layers {
        for s in 1..=layers - length {
            let row = grid.fill(s, s + length, &mut times);
            grid.rows[(s - 1) * layers + s + length - 1] = row;
        }
    }
    (grid.row(1, layers).time(slots) < f32::INFINITY).then(|| grid.operations())
}

impl Grid<'_> {
    fn row(&self, s: usize, t: usize) -> &Row {
        &self.rows[(s - 1) * self.costs.layers + t - 1]
    }

    /// The slots that `bytes` take when they are stored.
    fn stored(&self, bytes: u64) -> usize {
        usize::try_from(bytes.div_ceil(self.unit)).unwrap_or(usize::MAX)
    }

    /// The least slot whose room is at least `bytes`.
    fn least(&self, bytes: u64) -> usize {
        self.stored(bytes.saturating_add(self.over))
    }

    /// The most slots a stretch that begins at `s` can have.
    fn most(&self, s: usize) -> Option<usize> {
        let beside = if s == 1 { 0 } else { self.costs.output[s - 1] };
        self.slots.checked_sub(self.stored(beside))
    }

    fn fill(&self, s: usize, t: usize, times: &mut [f32]) -> Row {
        let Some(most) = self.most(s) else { return Row { low: usize::MAX, times: Vec::new() } };
        let times = &mut times[..=most];
        times.fill(f32::INFINITY);
        self.save(s, t, times);
        let mut passing = 0;
        for j in s + 1..=t {
            passing = passing.max(self.costs.pass_needs(s, j - 1));
            let needs = self.least(self.costs.held(t) + passing);
            let time = single(self.costs.forward_time(s, j - 1));
            if time > self.bound || needs > most || times[needs] <= time {
                break;
            }
            self.join((s, j, t), needs, time, times);
        }
        let low = times.partition_point(|&time| time > self.bound);
        if low > most {
            return Row { low: usize::MAX, times: Vec::new() };
        }
        let end = times.partition_point(|&time| time > 0.0);
        Row { low, times: times[low..end.max(low)].to_vec() }
    }

    fn save(&self, s: usize, t: usize, times: &mut [f32]) {
        let needs = self.least(self.costs.save_needs(s, t));
        if s == t {
            if let Some(enough) = times.get_mut(needs..) {
                enough.fill(0.0);
            }
            return;
        }
        let (rest, kept) = (self.row(s + 1, t), self.stored(self.costs.saved[s]));
        let from = needs.max(rest.low.saturating_add(kept));
        for (time, slot) in times.iter_mut().enumerate().skip(from).map(|(at, time)| (time, at)) {
            *time = rest.time(slot - kept);
        }
    }

    /// Lowers `times` to those of keeping the input of `j`, where they are less.
    fn join(&self, (s, j, t): (usize, usize, usize), needs: usize, time: f32, times: &mut [f32]) {
        let kept = self.stored(self.costs.output[j - 1]);
        let (upper, lower) = (self.row(j, t), self.row(s, j - 1));
        let from = needs.max(upper.low.saturating_add(kept)).max(lower.low);
        // Where less than the pass forward is reached already, nothing is to be gained.
        let until = times.partition_point(|&reached| reached > time);
        if from >= until {
            return;
        }
        let (upper_end, lower_end) = (upper.end() + kept, lower.end());
        let both = upper_end.min(lower_end).clamp(from, until);
        let one = upper_end.max(lower_end).clamp(from, until);
        let uppers = upper.times.get(from - kept - upper.low..).unwrap_or_default();
        let lowers = lower.times.get(from - lower.low..).unwrap_or_default();
        for ((reached, upper), lower) in times[from..both].iter_mut().zip(uppers).zip(lowers) {
            *reached = least(*reached, time + upper + lower);
        }
        let rest = if upper_end > lower_end { uppers } else { lowers };
        let rest = rest.get(both - from..).unwrap_or_default();
        for (reached, rest) in times[both..one].iter_mut().zip(rest) {
            *reached = least(*reached, time + rest);
        }
        times[one..until].fill(time);
    }

    fn operations(&self) -> Vec<Operation> {
        unfold(self.costs.layers, self.slots, |s, t, slot| {
            let wanted = self.row(s, t).time(slot);
            let saved = slot.checked_sub(self.stored(self.costs.saved[s]));
            let fits = slot >= self.least(self.costs.save_needs(s, t));
            if let Some(upper) = saved
                && fits
                && self.row(s + 1, t).time(upper) <= wanted
            {
                return (Choice::Save, upper, 0);
            }
            let (j, upper) = self.kept(s, t, slot);
            (Choice::KeepInputOf(j), upper, slot)
        })
    }

    /// The layer whose input is kept in s..t, and the slots left beside it: the first of the cheapest.
    fn kept(&self, s: usize, t: usize, slot: usize) -> (usize, usize) {
        let mut best = (f32::INFINITY, t, 0);
        let mut passing = 0;
        for j in s + 1..=t {
            passing = passing.max(self.costs.pass_needs(s, j - 1));
            if self.least(self.costs.held(t) + passing) > slot {
                break;
            }
            let Some(upper) = slot.checked_sub(self.stored(self.costs.output[j - 1])) else {
                continue;
            };
            let time = single(self.costs.forward_time(s, j - 1))
                + self.row(j, t).time(upper)
                + self.row(s, j - 1).time(slot);
            if time < best.0 {
                best = (time, j, upper);
            }
        }
        (best.1, best.2)
    }
}

/// The lesser one; unlike `f32::min` it is one instruction.
fn least(first: f32, second: f32) -> f32 {
    if second < first { second } else { first }
}

#[expect(clippy::cast_possible_truncation, reason = "slots are rounded by far more")]
const fn single(time: f64) -> f32 {
    time as f32
}
