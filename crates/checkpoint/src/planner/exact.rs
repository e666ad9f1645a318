//! The optimal persistent plan, exactly: for every stretch, the least extra time as a step function of
//! the room, kept as its corners.
//!
//! Rotor's dynamic programme (Beaumont et al., RR-9302) over rooms as they are instead of slots. What a
//! plan that is known costs bounds what is worth keeping, so that the functions stay short.

use std::ops::RangeInclusive;

use super::costs::Costs;
use super::unfold::{Choice, unfold};
use crate::Operation;

/// From this room on, this extra time, until the next corner.
#[derive(Clone, Copy, Debug)]
struct Corner {
    room: u64,
    extra: f64,
    /// 0: save; otherwise the layer whose input is kept.
    choice: u32,
}

type Steps = Vec<Corner>;

/// The step functions of all stretches.
pub(crate) struct Exact<'a> {
    costs: &'a Costs,
    steps: Vec<Steps>,
    /// Memory for everything but a(0).
    room: u64,
    /// No extra time above this is of interest.
    bound: f64,
    /// Times that differ by less are the same, but for rounding.
    resolution: f64,
}

/// The optimal plan in `room` (without a(0)), or `None` where finding it takes more than `work` steps
/// or no plan costs less extra time than `bound`.
pub(crate) fn solve(costs: &Costs, room: u64, bound: f64, work: u64) -> Option<Vec<Operation>> {
    let layers = costs.layers;
    let resolution = 1e-13 * costs.forward_time(1, layers);
    let steps = vec![Steps::new(); layers * layers];
    let mut exact = Exact { costs, steps, room, bound, resolution };
    let mut left = work;
    let mut scratch = [Steps::new(), Steps::new(), Steps::new()];
    for s in (1..=layers).rev() {
        let passes = costs.passes(s);
        for t in s..=layers {
            let done = exact.fill(s, t, &passes, &mut scratch);
            left = left.checked_sub(done)?;
        }
    }
    exact.operations()
}

impl Exact<'_> {
    fn steps(&self, s: usize, t: usize) -> &Steps {
        &self.steps[(s - 1) * self.costs.layers + t - 1]
    }

    /// No extra time of s..t above this is of interest; `None`: none at all. What comes after it was
    /// processed before it, and for that its layers ran forward. a(t) need not have been stored then,
    /// so that the whole room counts: all stretches are planned up to it, though a(s-1) lies beside.
    fn bound(&self, s: usize, t: usize) -> Option<f64> {
        if t == self.costs.layers {
            return Some(self.bound);
        }
        let after = self.steps(t + 1, self.costs.layers).last()?.extra;
        Some(self.bound - self.costs.forward_time(s, t) - after).filter(|bound| *bound >= 0.0)
    }

    /// Makes the steps of s..t, and says how many corners were looked at.
    fn fill(&mut self, s: usize, t: usize, passes: &[u64], scratch: &mut [Steps; 3]) -> u64 {
        let Some(bound) = self.bound(s, t) else { return 1 };
        let [best, candidate, merged] = scratch;
        let (costs, most) = (self.costs, self.room);
        best.clear();
        let needs = costs.save_needs(s, t);
        if s == t {
            if needs <= most {
                best.push(Corner { room: needs, extra: 0.0, choice: 0 });
            }
        } else {
            let moved = self.steps(s + 1, t).iter().map(|corner| Corner {
                room: (corner.room + costs.saved[s]).max(needs),
                extra: corner.extra,
                choice: 0,
            });
            let moved = moved.skip_while(|corner| corner.extra > bound);
            for corner in moved.take_while(|corner| corner.room <= most) {
                // Where several are raised to what saving needs, the last is the cheapest.
                if best.last().is_some_and(|last: &Corner| last.room == corner.room) {
                    best.pop();
                }
                best.push(corner);
            }
        }
        let mut done = 1 + best.len() as u64;
        for (j, &passing) in (s + 1..=t).zip(passes) {
            let time = costs.forward_time(s, j - 1);
            let needs = costs.held(t) + passing;
            // Where no more than the pass forward is reached already, nothing is to be gained; and every
            // later one takes longer, and needs no less room.
            let reached = best.partition_point(|corner| corner.extra > time);
            let until = best.get(reached).map_or(most, |corner| most.min(corner.room));
            if time > bound || needs > until {
                break;
            }
            self.join((s, j, t), needs..=until, bound, candidate);
            done += (candidate.len() + 1) as u64;
            if !candidate.is_empty() {
                done += best.len() as u64;
                merge(best, candidate, merged, self.resolution);
                std::mem::swap(best, merged);
            }
        }
        self.steps[(s - 1) * costs.layers + t - 1] = best.clone();
        done
    }

    /// The steps of keeping the input of `j`: j..t beside it, then s..j-1 in the whole room.
    fn join(
        &self,
        (s, j, t): (usize, usize, usize),
        rooms: RangeInclusive<u64>,
        bound: f64,
        into: &mut Steps,
    ) {
        into.clear();
        let kept = self.costs.output[j - 1];
        let time = self.costs.forward_time(s, j - 1);
        let (upper, lower) = (self.steps(j, t), self.steps(s, j - 1));
        let (Some(first_upper), Some(first_lower)) = (upper.first(), lower.first()) else {
            return;
        };
        let mut room =
            first_upper.room.saturating_add(kept).max(first_lower.room).max(*rooms.start());
        let (mut high, mut low) = (0, 0);
        let choice = u32::try_from(j).unwrap_or(u32::MAX);
        while room <= *rooms.end() {
            while upper.get(high + 1).is_some_and(|next| next.room + kept <= room) {
                high += 1;
            }
            while lower.get(low + 1).is_some_and(|next| next.room <= room) {
                low += 1;
            }
            let extra = time + upper[high].extra + lower[low].extra;
            if extra <= bound {
                into.push(Corner { room, extra, choice });
            }
            let next_upper = upper.get(high + 1).map(|next| next.room + kept);
            let next_lower = lower.get(low + 1).map(|next| next.room);
            match (next_upper, next_lower) {
                (None, None) => break,
                (Some(next), None) | (None, Some(next)) => room = next,
                (Some(upper), Some(lower)) => room = upper.min(lower),
            }
        }
    }

    fn operations(&self) -> Option<Vec<Operation>> {
        let at = |s, t, room| {
            let steps = self.steps(s, t);
            let after = steps.partition_point(|corner: &Corner| corner.room <= room);
            after.checked_sub(1).map(|last| steps[last])
        };
        at(1, self.costs.layers, self.room)?;
        Some(unfold(self.costs.layers, self.room, |s, t, room| {
            // Every part was found with a corner in the room it is given here.
            let corner = at(s, t, room).unwrap_or(Corner { room, extra: 0.0, choice: 0 });
            match corner.choice as usize {
                0 => (Choice::Save, corner.room.saturating_sub(self.costs.saved[s]), 0),
                j => {
                    let beside = self.costs.output[j - 1];
                    (Choice::KeepInputOf(j), corner.room.saturating_sub(beside), corner.room)
                }
            }
        }))
    }
}

/// The lower of two step functions; the first where they are the same.
fn merge(first: &[Corner], second: &[Corner], into: &mut Steps, resolution: f64) {
    into.clear();
    let (mut a, mut b) = (first.iter().peekable(), second.iter().peekable());
    let mut least = f64::INFINITY;
    loop {
        let next = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if (x.room, x.extra) <= (y.room, y.extra) => a.next(),
            (_, Some(_)) => b.next(),
            (Some(_), None) => a.next(),
            (None, None) => return,
        };
        if let Some(corner) = next
            && corner.extra < least - resolution
        {
            least = corner.extra;
            into.push(*corner);
        }
    }
}
