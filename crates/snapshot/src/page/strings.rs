//! [`Strings`]: the names and stacks that a page needs, and no others.

use std::hash::Hash;

use rustc_hash::FxHashMap;

use super::encode::Column;
use super::site::site;
use crate::{Frame, NameId, Snapshot, StackId};

/// Names and stacks, numbered anew in the order they are met; number 0 is none.
#[derive(Debug)]
pub(super) struct Strings<'a> {
    snapshot: &'a Snapshot,
    names: Numbering<NameId>,
    frames: Numbering<Frame>,
    stacks: Numbering<StackId>,
    /// For each stack the number of its program line's frame, from 1; 0 is none.
    sites: Vec<u32>,
}

#[derive(Debug)]
struct Numbering<T> {
    all: Vec<T>,
    numbers: FxHashMap<T, u32>,
}

impl<T: Copy + Eq + Hash> Numbering<T> {
    fn starting_with(first: Option<T>) -> Self {
        let numbers = first.map(|first| (first, 0)).into_iter().collect();
        Self { all: first.into_iter().collect(), numbers }
    }

    fn number(&mut self, thing: T) -> u32 {
        *self.numbers.entry(thing).or_insert_with(|| {
            self.all.push(thing);
            u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

impl<'a> Strings<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            names: Numbering::starting_with(Some(NameId::default())),
            frames: Numbering::starting_with(None),
            stacks: Numbering::starting_with(Some(StackId::default())),
            sites: vec![0],
        }
    }

    pub(super) fn name(&mut self, id: NameId) -> u32 {
        self.names.number(id)
    }

    pub(super) fn stack(&mut self, id: StackId) -> u32 {
        let number = self.stacks.number(id);
        if number as usize == self.sites.len() {
            let site = site(id, &self.snapshot.stacks, &self.snapshot.names);
            self.sites.push(site.map_or(0, |frame| self.frames.number(frame) + 1));
        }
        number
    }

    /// All stacks in columns, and then all names: nothing may be asked for after this.
    ///
    /// A stack is written as how many of its outer frames it shares with the one before, and the
    /// others.
    pub(super) fn finish(mut self) -> (Column, Vec<&'a str>) {
        let mut stacks = Column::default();
        stacks.put(self.stacks.all.len() as u64);
        let mut before: Vec<u32> = Vec::new();
        for (&stack, &site) in self.stacks.all.iter().zip(&self.sites) {
            // Outermost first, so that what is shared comes first.
            let frames = self.snapshot.stacks.get(stack).copied().collect::<Vec<Frame>>();
            let numbers: Vec<u32> =
                frames.iter().rev().map(|&frame| self.frames.number(frame)).collect();
            let shared = numbers.iter().zip(&before).take_while(|(a, b)| a == b).count();
            stacks.put(site.into());
            stacks.put(shared as u64);
            stacks.put((numbers.len() - shared) as u64);
            numbers[shared..].iter().for_each(|&number| stacks.put(number.into()));
            before = numbers;
        }
        stacks.put(self.frames.all.len() as u64);
        for frame in &self.frames.all {
            stacks.put(self.names.number(frame.file).into());
            stacks.put(self.names.number(frame.function).into());
            stacks.put(frame.line);
        }
        let names = self.names.all.iter().map(|&name| self.snapshot.names.get(name)).collect();
        (stacks, names)
    }
}
