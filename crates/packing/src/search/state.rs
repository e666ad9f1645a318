//! [`State`]: a packing half done from the bottom up, and what follows from it.

use crate::sections::{Item, members};

/// A packing half done, with an undo log.
///
/// Whatever is placed lies below whatever is not. `lowest` of a buffer is at least the floor of
/// each section it lives in, and the floor of a section is at least the lowest `lowest` in it.
#[derive(Debug)]
pub(crate) struct State<'a> {
    pub(crate) items: &'a [Item],
    goal: u64,
    members: Vec<Vec<u32>>,
    /// Below this address no further buffer begins in the section.
    pub(crate) floor: Vec<u64>,
    /// The bytes still to be placed in the section.
    pub(crate) rest: Vec<u64>,
    /// Below this address the buffer cannot begin.
    pub(crate) lowest: Vec<u64>,
    pub(crate) placed: Vec<bool>,
    pub(crate) offsets: Vec<u64>,
    /// How often a section was why a branch ended.
    pub(crate) failures: Vec<u64>,
    undo: Vec<Undo>,
    /// Sections whose floor may rise.
    pending: Vec<u32>,
    is_pending: Vec<bool>,
    heads: Vec<(u64, u64)>,
}

#[derive(Debug)]
enum Undo {
    Placed { number: u32 },
    Floor { section: u32, was: u64 },
    Lowest { number: u32, was: u64 },
}

impl<'a> State<'a> {
    pub(crate) fn new(items: &'a [Item], goal: u64, failures: Vec<u64>) -> Self {
        let sections = failures.len();
        let members = members(items, sections);
        let size = |&number: &u32| items[number as usize].size;
        let rest = members.iter().map(|members| members.iter().map(size).sum()).collect();
        Self {
            items,
            goal,
            members,
            floor: vec![0; sections],
            rest,
            lowest: vec![0; items.len()],
            placed: vec![false; items.len()],
            offsets: vec![0; items.len()],
            failures,
            undo: Vec::new(),
            pending: Vec::new(),
            is_pending: vec![false; sections],
            heads: Vec::new(),
        }
    }

    pub(crate) fn item(&self, number: u32) -> &'a Item {
        &self.items[number as usize]
    }

    /// What may still be placed in the section.
    pub(crate) fn waiting(&self, section: usize) -> impl Iterator<Item = u32> + '_ {
        self.members[section].iter().copied().filter(|&number| !self.placed[number as usize])
    }

    /// The room above the section's floor that nothing is needed for.
    pub(crate) fn slack(&self, section: usize) -> u64 {
        self.goal - self.floor[section] - self.rest[section]
    }

    /// Places a buffer; whether the rest may still reach the goal.
    pub(crate) fn place(&mut self, number: u32, offset: u64) -> bool {
        let item = self.item(number);
        self.undo.push(Undo::Placed { number });
        self.placed[number as usize] = true;
        self.offsets[number as usize] = offset;
        for section in item.sections() {
            self.rest[section] -= item.size;
        }
        let fits = item.sections().all(|section| self.lift(section, offset + item.size));
        self.settle(fits)
    }

    /// Says that no buffer begins in the section below this address.
    pub(crate) fn waste(&mut self, section: usize, address: u64) -> bool {
        let fits = self.lift(section, address);
        self.settle(fits)
    }

    pub(crate) fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Takes back everything since the mark.
    pub(crate) fn take_back(&mut self, mark: usize) {
        for undo in self.undo.drain(mark..).rev() {
            match undo {
                Undo::Floor { section, was } => self.floor[section as usize] = was,
                Undo::Lowest { number, was } => self.lowest[number as usize] = was,
                Undo::Placed { number } => {
                    self.placed[number as usize] = false;
                    let item = &self.items[number as usize];
                    for section in item.sections() {
                        self.rest[section] += item.size;
                    }
                }
            }
        }
    }

    /// Raises a floor and all that stands on it.
    fn lift(&mut self, section: usize, address: u64) -> bool {
        if self.floor[section] >= address {
            return true;
        }
        if self.rest[section] > 0 && address.saturating_add(self.rest[section]) > self.goal {
            self.failures[section] += 1;
            return false;
        }
        self.undo.push(Undo::Floor { section: narrow(section), was: self.floor[section] });
        self.floor[section] = address;
        for &number in &self.members[section] {
            let lowest = &mut self.lowest[number as usize];
            if self.placed[number as usize] || *lowest >= address {
                continue;
            }
            self.undo.push(Undo::Lowest { number, was: *lowest });
            *lowest = address;
            for section in self.items[number as usize].sections() {
                if !self.is_pending[section] {
                    self.is_pending[section] = true;
                    self.pending.push(narrow(section));
                }
            }
        }
        true
    }

    /// Draws all conclusions; whether the goal is still in reach.
    fn settle(&mut self, mut fits: bool) -> bool {
        while let Some(section) = self.pending.pop() {
            let section = section as usize;
            self.is_pending[section] = false;
            if !fits || self.rest[section] == 0 {
                continue;
            }
            let lowest = self.waiting(section).map(|number| self.lowest[number as usize]).min();
            fits = self.lift(section, lowest.unwrap_or(0));
            if fits && !self.stacks(section) {
                self.failures[section] += 1;
                fits = false;
            }
        }
        fits
    }

    /// Whether the buffers of the section fit above each other, none below its lowest place.
    fn stacks(&mut self, section: usize) -> bool {
        let mut heads = std::mem::take(&mut self.heads);
        heads.clear();
        heads.extend(
            self.waiting(section)
                .map(|number| (self.lowest[number as usize], self.items[number as usize].size)),
        );
        heads.sort_unstable();
        let mut above = 0_u64;
        let fits = heads.iter().rev().all(|&(lowest, size)| {
            above += size;
            lowest.saturating_add(above) <= self.goal
        });
        self.heads = heads;
        fits
    }
}

/// Sections are counted in 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "there are no more sections than buffers")]
fn narrow(section: usize) -> u32 {
    section as u32
}
