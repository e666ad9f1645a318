//! Search for a packing of a given height, with restarts.

mod random;
mod rank;
mod state;
mod tree;

use crate::greedy::Placement;
use crate::options::Deadline;
use crate::sections::{Item, live};

use rank::{ORDERS, rank};
use state::State;
use tree::{Choice, Tree};

pub(crate) use tree::End;

const CHOICES: [Choice; 4] = [Choice::Fewest, Choice::Tightest, Choice::FewestFull, Choice::Failed];

/// Steps that may still be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) steps: u64,
    pub(crate) deadline: Deadline,
}

impl Budget {
    /// Takes one step, if there is one left.
    fn spend(&mut self) -> bool {
        if self.steps.is_multiple_of(64) && self.deadline.has_passed() {
            self.steps = 0;
        }
        let left = self.steps > 0;
        self.steps -= u64::from(left);
        left
    }
}

/// Looks for a placement no higher than the goal.
pub(crate) fn search(items: &[Item], goal: u64, budget: &mut Budget) -> (End, Option<Placement>) {
    let live = live(items);
    if live.iter().any(|&live| live > goal) {
        return (End::Impossible, None);
    }
    let least = (4 * items.len() as u64).max(1000);
    let mut failures = vec![1; live.len()];
    for attempt in 0.. {
        let choice = CHOICES[(attempt / ORDERS) as usize % CHOICES.len()];
        let round = attempt / ORDERS / CHOICES.len() as u64;
        // 1, 2, 1, 4, 1, 2, 1, 8, ...: mostly short, now and then long.
        let steps = least << round.trailing_ones().min(12);
        let noise = if round == 0 { 0 } else { attempt };
        let state = State::new(items, goal, failures);
        let rank = rank(items, attempt % ORDERS, noise);
        let mut tree = Tree::new(state, rank, choice, budget, steps);
        let numbers: Vec<u32> = (0..).zip(items).map(|(number, _)| number).collect();
        let end = tree.search(&numbers);
        let state = tree.state;
        if end == End::Found {
            let tops = state.offsets.iter().zip(items).map(|(offset, item)| offset + item.size);
            let height = tops.max().unwrap_or(0);
            return (end, Some(Placement { offsets: state.offsets, height }));
        }
        if end == End::Impossible || budget.steps == 0 {
            return (end, None);
        }
        // Old failures count less and less.
        failures = state.failures.iter().map(|count| count - count / 16).collect();
    }
    (End::GaveUp, None)
}
