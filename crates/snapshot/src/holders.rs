//! Who holds memory: live blocks grouped by tag, or by the line of the program that asked for them.

use freeboard_units::Bytes;
use rustc_hash::FxHashMap;

use crate::facts::Holder;
use crate::model::Snapshot;
use crate::moment::Moment;
use crate::names::{Frame, NameId, StackId};

/// Parts of paths that are frameworks' and not the program's.
const FRAMEWORKS: &[&str] =
    &["/torch/", "/torchvision/", "/accelerate/", "<frozen ", "/lib/python", "/rustc/"];
/// Files that are no source.
const LIBRARIES: &[&str] = &[".so", "??"];

/// Who holds the blocks of a moment, largest first.
#[must_use]
pub fn of_moment(snapshot: &Snapshot, moment: &Moment) -> Vec<Holder> {
    let mut names = HolderNames::new(snapshot);
    let mut holders: Vec<Holder> = Vec::new();
    for (_, used) in moment.used().filter(|(_, used)| !used.pending) {
        let number = names.number(used.tag, used.stack);
        while holders.len() <= number {
            let name = names.name(holders.len());
            holders.push(Holder { name, bytes: Bytes::ZERO, blocks: 0 });
        }
        holders[number].bytes += used.size;
        holders[number].blocks += 1;
    }
    largest_first(holders)
}

/// The names of holders, numbered as they are met: events are many, holders few.
#[derive(Debug)]
pub struct HolderNames<'s> {
    snapshot: &'s Snapshot,
    known: FxHashMap<(NameId, StackId), usize>,
    numbers: FxHashMap<String, usize>,
    names: Vec<String>,
}

impl<'s> HolderNames<'s> {
    /// None yet.
    #[must_use]
    pub fn new(snapshot: &'s Snapshot) -> Self {
        let (known, numbers) = Default::default();
        Self { snapshot, known, numbers, names: Vec::new() }
    }

    /// The number of the holder of blocks with this tag and stack.
    pub fn number(&mut self, tag: NameId, stack: StackId) -> usize {
        if let Some(&number) = self.known.get(&(tag, stack)) {
            return number;
        }
        let name = name(self.snapshot, tag, stack);
        let next = self.names.len();
        let number = *self.numbers.entry(name.clone()).or_insert(next);
        if number == next {
            self.names.push(name);
        }
        self.known.insert((tag, stack), number);
        number
    }

    /// The name with this number; empty for one that was never given.
    #[must_use]
    pub fn name(&self, number: usize) -> String {
        self.names.get(number).cloned().unwrap_or_default()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// Largest first; of equal ones by name, so that the order does not depend on chance.
#[must_use]
pub fn largest_first(mut holders: Vec<Holder>) -> Vec<Holder> {
    holders.sort_by(|a, b| (b.bytes, &a.name).cmp(&(a.bytes, &b.name)));
    holders
}

/// What to call the holder of a block: its tag; else the innermost line of the program itself.
#[must_use]
pub fn name(snapshot: &Snapshot, tag: NameId, stack: StackId) -> String {
    if !tag.is_zero() {
        return snapshot.names.get(tag).to_owned();
    }
    let frames = || snapshot.stacks.get(stack);
    let file = |frame: &Frame| snapshot.names.get(frame.file);
    let source = |frame: &&Frame| !LIBRARIES.iter().any(|part| file(frame).contains(part));
    let own = |frame: &&Frame| !FRAMEWORKS.iter().any(|part| file(frame).contains(part));
    let frame = frames().filter(source).find(own).or_else(|| frames().find(source));
    let Some(frame) = frame.or_else(|| frames().next()) else {
        return "(no stack recorded)".to_owned();
    };
    let (path, function) = (file(frame), snapshot.names.get(frame.function));
    let short = path.rsplit(['/', '\\']).next().unwrap_or(path);
    format!("{function} ({short}:{})", frame.line)
}
