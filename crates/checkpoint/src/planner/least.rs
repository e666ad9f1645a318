//! The least memory in which a chain can be processed at all, exactly.

use super::costs::Costs;
use super::unfold::{Choice, unfold};
use crate::Operation;

/// The least room of every stretch.
pub(crate) struct Least {
    layers: usize,
    /// Of stretch s..t at `(s - 1) * layers + t - 1`.
    from: Vec<u64>,
    /// The same at `(t - 1) * layers + s - 1`: what the inner loop reads lies together.
    until: Vec<u64>,
    choices: Vec<u32>,
}

impl Least {
    pub(crate) fn new(costs: &Costs) -> Self {
        let layers = costs.layers;
        let blank = vec![0; layers * layers];
        let choices = vec![0; layers * layers];
        let mut least = Self { layers, from: blank.clone(), until: blank, choices };
        for s in (1..=layers).rev() {
            let passes = costs.passes(s);
            for t in s..=layers {
                least.fill(costs, s, t, &passes);
            }
        }
        least
    }

    fn fill(&mut self, costs: &Costs, s: usize, t: usize, passes: &[u64]) {
        let mut best = costs.save_needs(s, t);
        let mut choice = 0;
        if s < t {
            best = best.max(costs.saved[s] + self.room(s + 1, t));
            let held = costs.held(t);
            let lower = &self.from[(s - 1) * self.layers..][s - 1..t - 1];
            let upper = &self.until[(t - 1) * self.layers..][s..t];
            let kept = costs.output[s..t].iter().zip(upper).zip(lower).zip(passes);
            for (j, (((output, upper), lower), passing)) in (s + 1..).zip(kept) {
                let needs = (output + upper).max(*lower).max(held + passing);
                if needs < best {
                    (best, choice) = (needs, j);
                }
            }
        }
        let at = (s - 1) * self.layers + t - 1;
        self.from[at] = best;
        self.until[(t - 1) * self.layers + s - 1] = best;
        self.choices[at] = u32::try_from(choice).unwrap_or(u32::MAX);
    }

    /// The least room in which s..t can be processed.
    pub(crate) fn room(&self, s: usize, t: usize) -> u64 {
        self.from[(s - 1) * self.layers + t - 1]
    }

    /// A plan that needs no more than that.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        unfold(self.layers, (), |s, t, ()| {
            let choice = match self.choices[(s - 1) * self.layers + t - 1] {
                0 => Choice::Save,
                j => Choice::KeepInputOf(j as usize),
            };
            (choice, (), ())
        })
    }
}
