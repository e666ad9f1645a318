//! Names, stacks and pools, each kept once and referred to by number.

use std::fmt;

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(u32);

        impl $name {
            /// The one with this number.
            #[must_use]
            pub const fn new(number: u32) -> Self {
                Self(number)
            }

            /// The bare number.
            #[must_use]
            pub const fn get(self) -> u32 {
                self.0
            }

            /// As an index.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            /// Whether it is number 0: none, or the first.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }
        }
    };
}

index!(
    /// A name in [`Names`]; number 0 is the empty one.
    NameId
);
index!(
    /// A stack in [`Stacks`]; number 0 is the empty one.
    StackId
);
index!(
    /// A pool in [`Snapshot::pools`](crate::Snapshot::pools); number 0 is the shared pool.
    PoolIndex
);

/// A memory pool's name, as `PyTorch` has it: a pair of numbers; `(0, 0)` is the pool all share.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct PoolId(pub u64, pub u64);

impl PoolId {
    /// The pool all share.
    pub const SHARED: Self = Self(0, 0);

    /// Whether it is a private pool.
    #[must_use]
    pub fn is_private(self) -> bool {
        self != Self::SHARED
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_private() {
            write!(f, "private pool ({}, {})", self.0, self.1)
        } else {
            f.write_str("shared pool")
        }
    }
}

/// Strings, each kept once: tags, file names, function names.
///
/// The tables hash with a key: names come from files, and files from strangers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Vec<Box<str>>", into = "Vec<Box<str>>")]
pub struct Names {
    texts: Vec<Box<str>>,
    numbers: HashMap<Box<str>, NameId>,
}

impl Default for Names {
    fn default() -> Self {
        Self { texts: vec!["".into()], numbers: HashMap::from_iter([("".into(), NameId(0))]) }
    }
}

impl Names {
    /// The number of a name, new or old.
    ///
    /// # Panics
    /// At 2³² names.
    pub fn intern(&mut self, text: &str) -> NameId {
        if let Some(&known) = self.numbers.get(text) {
            return known;
        }
        let id = NameId(u32::try_from(self.texts.len()).expect("fewer than 2^32 names"));
        self.texts.push(text.into());
        self.numbers.insert(text.into(), id);
        id
    }

    /// The number of a name that is known.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<NameId> {
        self.numbers.get(text).copied()
    }

    /// The name with this number; empty for a number that was never given.
    #[must_use]
    pub fn get(&self, id: NameId) -> &str {
        self.texts.get(id.index()).map_or("", |text| text)
    }

    /// How many there are, the empty one included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "the empty name is always there")]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// All names, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|text| &**text)
    }
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

impl From<Vec<Box<str>>> for Names {
    /// Number 0 becomes the empty name, whatever the list says.
    fn from(mut texts: Vec<Box<str>>) -> Self {
        if texts.is_empty() {
            return Self::default();
        }
        texts[0] = "".into();
        let numbers = (0..).map(NameId).zip(&texts).map(|(id, text)| (text.clone(), id)).collect();
        Self { texts, numbers }
    }
}

impl From<Names> for Vec<Box<str>> {
    fn from(names: Names) -> Self {
        names.texts
    }
}

/// One frame of a stack.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Frame {
    /// The file.
    pub file: NameId,
    /// The function.
    pub function: NameId,
    /// The line; in a frame without symbols an offset into the file.
    pub line: u64,
}

/// Stacks of frames, innermost first, each kept once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Vec<Vec<Frame>>", into = "Vec<Vec<Frame>>")]
pub struct Stacks {
    frames: Vec<Frame>,
    /// Where each stack ends in `ids`; it begins where the one before ends.
    ends: Vec<u32>,
    ids: Vec<u32>,
    frame_numbers: HashMap<Frame, u32>,
    stack_numbers: HashMap<Box<[u32]>, StackId>,
}

impl Default for Stacks {
    fn default() -> Self {
        Self {
            frames: Vec::new(),
            ends: vec![0],
            ids: Vec::new(),
            frame_numbers: HashMap::default(),
            stack_numbers: HashMap::from_iter([(Box::from([]), StackId(0))]),
        }
    }
}

impl Stacks {
    /// The number of a frame, new or old: what [`intern_frames`](Self::intern_frames) takes.
    ///
    /// # Panics
    /// At 2³² frames.
    pub fn frame(&mut self, frame: Frame) -> u32 {
        let next = u32::try_from(self.frames.len()).expect("fewer than 2^32 frames");
        *self.frame_numbers.entry(frame).or_insert_with(|| {
            self.frames.push(frame);
            next
        })
    }

    /// The number of a stack of numbered frames, innermost first.
    ///
    /// # Panics
    /// At 2³² frames in all stacks together, and for a number that [`frame`](Self::frame) never gave.
    pub fn intern_frames(&mut self, frames: &[u32]) -> StackId {
        if let Some(&known) = self.stack_numbers.get(frames) {
            return known;
        }
        assert!(frames.iter().all(|&frame| (frame as usize) < self.frames.len()), "unknown frame");
        let id = StackId(u32::try_from(self.ends.len()).expect("fewer than 2^32 stacks"));
        self.ids.extend_from_slice(frames);
        self.ends.push(u32::try_from(self.ids.len()).expect("fewer than 2^32 frames in stacks"));
        self.stack_numbers.insert(frames.into(), id);
        id
    }

    /// The number of a stack, innermost frame first.
    pub fn intern(&mut self, frames: impl IntoIterator<Item = Frame>) -> StackId {
        let numbers: Vec<u32> = frames.into_iter().map(|frame| self.frame(frame)).collect();
        self.intern_frames(&numbers)
    }

    /// The numbers of a stack's frames, innermost first.
    fn numbers(&self, id: StackId) -> &[u32] {
        let Some(&end) = self.ends.get(id.index()) else { return &[] };
        let start = id.index().checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.ids[start as usize..end as usize]
    }

    /// The frames of a stack, innermost first; none for a number that was never given.
    #[must_use]
    pub fn get(&self, id: StackId) -> impl ExactSizeIterator<Item = &Frame> {
        self.numbers(id).iter().map(|&frame| &self.frames[frame as usize])
    }

    /// How many stacks there are, the empty one included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "the empty stack is always there")]
    pub fn len(&self) -> usize {
        self.ends.len()
    }
}

impl PartialEq for Stacks {
    fn eq(&self, other: &Self) -> bool {
        (&self.frames, &self.ends, &self.ids) == (&other.frames, &other.ends, &other.ids)
    }
}

impl From<Vec<Vec<Frame>>> for Stacks {
    /// Number 0 becomes the empty stack, whatever the list says.
    fn from(stacks: Vec<Vec<Frame>>) -> Self {
        let mut all = Self::default();
        for stack in stacks.into_iter().skip(1) {
            // A stack that comes twice keeps both numbers.
            let numbers: Vec<u32> = stack.into_iter().map(|frame| all.frame(frame)).collect();
            let id = StackId(u32::try_from(all.ends.len()).expect("fewer than 2^32 stacks"));
            all.ids.extend_from_slice(&numbers);
            all.ends.push(u32::try_from(all.ids.len()).expect("fewer than 2^32 frames"));
            all.stack_numbers.entry(numbers.into()).or_insert(id);
        }
        all
    }
}

impl From<Stacks> for Vec<Vec<Frame>> {
    fn from(stacks: Stacks) -> Self {
        let all = (0..stacks.len()).map(|id| StackId(u32::try_from(id).unwrap_or(u32::MAX)));
        all.map(|id| stacks.get(id).copied().collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_stacks_are_kept_once_and_survive_json() {
        let mut names = Names::default();
        let (a, b) = (names.intern("a"), names.intern("b"));
        assert_eq!((names.intern("a"), names.get(b), names.get(NameId(9))), (a, "b", ""));
        let mut stacks = Stacks::default();
        let inner = Frame { file: a, function: b, line: 3 };
        let outer = Frame { line: 4, ..inner };
        let id = stacks.intern([inner, outer]);
        assert_eq!((stacks.intern([inner, outer]), stacks.intern([])), (id, StackId(0)));
        let json = serde_json::to_string(&(&names, &stacks)).expect("plain data");
        let (read_names, read_stacks): (Names, Stacks) = serde_json::from_str(&json).expect("ours");
        assert_eq!((&read_names, &read_stacks), (&names, &stacks));
        assert_eq!(read_stacks.get(id).copied().collect::<Vec<_>>(), [inner, outer]);
    }
}
