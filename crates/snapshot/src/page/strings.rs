//! [`Strings`]: the names and stacks that a page needs, and no others.

use std::collections::HashMap;
use std::hash::Hash;

use super::encode::Column;
use crate::holders::Grouping;
use crate::{Frame, NameId, Snapshot, StackId};

/// Names and stacks, numbered anew in the order they are met; number 0 is none.
#[derive(Debug)]
pub(super) struct Strings<'a> {
    snapshot: &'a Snapshot,
    grouping: Grouping<'a>,
    names: Numbering<NameId>,
    frames: Numbering<Frame>,
    stacks: Numbering<StackId>,
    /// For each stack the number of its program line's frame, from 1; 0 is none.
    sites: Vec<u32>,
}

#[derive(Debug)]
struct Numbering<T> {
    all: Vec<T>,
    numbers: HashMap<T, u32>,
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
            grouping: Grouping::new(snapshot),
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
            let site = self.site(id);
            self.sites.push(site.map_or(0, |frame| self.frames.number(frame) + 1));
        }
        number
    }

    /// The program's own line; where there is none, the innermost frame that has a name.
    fn site(&mut self, stack: StackId) -> Option<Frame> {
        let Snapshot { names, stacks, .. } = self.snapshot;
        let is_named = |frame: &&Frame| !matches!(names.get(frame.function), "" | "??");
        self.grouping.line(stack).or_else(|| stacks.get(stack).find(is_named).copied())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_frame_is_the_programs_the_innermost_that_has_a_name_counts() {
        let mut snapshot = Snapshot::default();
        let mut stack = |frames: &[(&str, &str)]| {
            let names = &mut snapshot.names;
            let frame = |&(file, function): &(&str, &str)| {
                let (file, function) = (names.intern(file), names.intern(function));
                Frame { file, function, line: 1 }
            };
            let frames: Vec<Frame> = frames.iter().map(frame).collect();
            snapshot.stacks.intern(frames)
        };
        let library = [("/usr/lib/libc.so.6", "??"), ("/usr/lib/libc10.so", "f")];
        let mixed = stack(&[&library[..], &[("/home/me/train.py", "main")]].concat());
        let library = stack(&[&library[..], &[("/usr/bin/python3.11", "g")]].concat());
        let mut strings = Strings::new(&snapshot);
        let mut file = |id| strings.site(id).map(|frame| snapshot.names.get(frame.file));
        assert_eq!(file(mixed), Some("/home/me/train.py"));
        assert_eq!(file(library), Some("/usr/lib/libc10.so"));
        assert_eq!(file(StackId::default()), None);
    }
}
