//! [`Tree`]: the depth-first search.

use std::collections::HashSet;

use crate::sections::parts;

use super::Budget;
use super::state::State;

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Found,
    Impossible,
    GaveUp,
}

/// Which of the lowest sections to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// That with the fewest buffers that may begin there.
    Fewest,
    /// That with the least room to spare.
    Tightest,
    /// As `Fewest`, those that may not be left empty first.
    FewestFull,
    /// As `Fewest`, those where searches often failed first.
    Failed,
}

pub(crate) struct Tree<'a, 'b> {
    pub(crate) state: State<'a>,
    /// The buffers' places in the order in which they are tried.
    pub(crate) rank: Vec<u32>,
    pub(crate) choice: Choice,
    pub(crate) budget: &'b mut Budget,
    /// Steps until this search is cut short.
    pub(crate) steps: u64,
    /// States from which the goal is out of reach.
    failed: HashSet<u128>,
    /// For every section, how many more buffers may begin there than in the one before it.
    change: Vec<i32>,
}

impl<'a, 'b> Tree<'a, 'b> {
    pub(crate) fn new(
        state: State<'a>,
        rank: Vec<u32>,
        choice: Choice,
        budget: &'b mut Budget,
        steps: u64,
    ) -> Self {
        let change = vec![0; state.floor.len() + 1];
        Self { state, rank, choice, budget, steps, failed: HashSet::new(), change }
    }

    /// Places these buffers.
    pub(crate) fn search(&mut self, numbers: &[u32]) -> End {
        let mut parts = parts(self.state.items, numbers);
        parts.sort_by_key(Vec::len);
        for part in &parts {
            match self.part(part) {
                End::Found => {}
                end => return end,
            }
        }
        End::Found
    }

    /// Places the buffers of a part of time.
    fn part(&mut self, part: &[u32]) -> End {
        let mark = self.state.mark();
        let mut seen = Vec::new();
        loop {
            if self.steps == 0 || !self.budget.spend() {
                return End::GaveUp;
            }
            self.steps -= 1;
            let key = self.key(part);
            if !self.failed.contains(&key) {
                seen.push(key);
                let section = self.choose(part);
                match self.begin(part, section) {
                    End::Impossible => {}
                    end => return end,
                }
                let next = self.next_floor(part, section);
                if next.is_some_and(|address| self.state.waste(section, address)) {
                    continue;
                }
            }
            self.state.take_back(mark);
            self.failed.extend(seen);
            return End::Impossible;
        }
    }

    /// Tries each buffer that may begin on the section's floor.
    fn begin(&mut self, part: &[u32], section: usize) -> End {
        let floor = self.state.floor[section];
        let lowest = |number: u32| self.state.lowest[number as usize];
        let mut candidates: Vec<u32> =
            self.state.waiting(section).filter(|&number| lowest(number) == floor).collect();
        candidates.sort_by_key(|&number| self.rank[number as usize]);
        let mark = self.state.mark();
        for (tried, &number) in candidates.iter().enumerate() {
            let item = self.state.item(number);
            let shape = (item.first, item.last, item.size);
            let same = |&other: &u32| {
                let other = self.state.item(other);
                (other.first, other.last, other.size) == shape
            };
            if candidates[..tried].iter().any(same) {
                continue;
            }
            if self.state.place(number, floor) {
                let rest: Vec<u32> = part.iter().copied().filter(|&n| n != number).collect();
                match self.search(&rest) {
                    End::Impossible => {}
                    end => return end,
                }
            }
            self.state.take_back(mark);
        }
        End::Impossible
    }

    /// Where a buffer may begin in the section if none does on its floor: a buffer that could
    /// must have come to lie on another that does not live in this section.
    fn next_floor(&self, part: &[u32], section: usize) -> Option<u64> {
        let state = &self.state;
        let floor = state.floor[section];
        let here = u32::try_from(section).unwrap_or(u32::MAX);
        let next = |number: u32| {
            let lowest = state.lowest[number as usize];
            if lowest > floor {
                return Some(lowest);
            }
            let item = state.item(number);
            let below = part.iter().filter_map(|&other| {
                let below = state.item(other);
                let may = below.meets(item) && !below.lives_in(here);
                may.then(|| state.lowest[other as usize] + below.size)
            });
            below.min()
        };
        state.waiting(section).filter_map(next).min()
    }

    /// The lowest section to look at.
    fn choose(&mut self, part: &[u32]) -> usize {
        let state = &self.state;
        let (first, last) = bounds(state, part);
        let floor = state.floor[first..=last].iter().copied().min().unwrap_or(0);
        self.change[first..=last + 1].fill(0);
        for &number in part {
            if state.lowest[number as usize] == floor {
                let item = state.item(number);
                self.change[item.first as usize] += 1;
                self.change[item.last as usize + 1] -= 1;
            }
        }
        let mut candidates = 0;
        let mut best = (first, (u64::MAX, u64::MAX));
        for section in first..=last {
            candidates += self.change[section];
            if state.floor[section] != floor {
                continue;
            }
            let count = u64::from(candidates.unsigned_abs());
            let slack = state.slack(section);
            let cost = match self.choice {
                Choice::Fewest => (count, slack),
                Choice::Tightest => (slack, count),
                Choice::FewestFull => (count + u64::from(slack > 0), slack),
                Choice::Failed => (count * 1_000_000 / state.failures[section], slack),
            };
            if cost < best.1 {
                best = (section, cost);
            }
        }
        best.0
    }

    /// What the outcome of the search depends on: what is to be placed, and the floors.
    fn key(&self, part: &[u32]) -> u128 {
        let (first, last) = bounds(&self.state, part);
        let numbers = part.iter().map(|&number| scramble(u64::from(number), u64::MAX));
        let floors = (first..=last).map(|n| scramble(n as u64, self.state.floor[n]));
        numbers.chain(floors).fold(0, |key, one| key ^ one)
    }
}

fn bounds(state: &State<'_>, part: &[u32]) -> (usize, usize) {
    let first = part.iter().map(|&number| state.item(number).first).min();
    let last = part.iter().map(|&number| state.item(number).last).max();
    (first.unwrap_or(0) as usize, last.unwrap_or(0) as usize)
}

/// Two numbers, scrambled into 128 bits.
fn scramble(one: u64, other: u64) -> u128 {
    let low = super::random::mix(one ^ super::random::mix(other));
    let high = super::random::mix(low ^ super::random::mix(one.rotate_left(32) ^ !other));
    u128::from(high) << 64 | u128::from(low)
}
