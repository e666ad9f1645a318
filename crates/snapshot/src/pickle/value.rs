//! [`Value`]: what lies on the stack; [`Memo`]: what the file may refer to again.

use super::error::{Result, malformed};

/// A dictionary or list that is being filled. A slot is used again; its generation tells whether
/// this is still the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Data {
    None,
    Bool(bool),
    Int(i64),
    /// A whole number of 2^63 or more.
    Wide(u64),
    Float(f64),
    Text(u32),
    /// Two whole numbers: a pool, by its number in the table of pairs.
    Pair(u32),
    /// Any other tuple.
    Tuple,
    Frame(u32),
    /// A list of frames that has been used; 0 is any empty list.
    Stack(u32),
    Dict(Handle),
    List(Handle),
    /// A record that has been used.
    Done,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) data: Data,
    /// The place in the file of the opcode that pushed it.
    pub(super) at: u64,
}

/// Where an object is kept in the memo; it may be there once.
pub(super) const NOT_KEPT: u32 = u32::MAX;

/// An entry is four bytes: three say what it is, the others are a number. There are several
/// entries for each event of a file, and most are never asked for.
#[derive(Default)]
pub(super) struct Memo {
    entries: Vec<u32>,
    /// What fits in no entry; rare, because Python does not memoize numbers.
    others: Vec<Data>,
}

const KIND_BITS: u32 = 3;
pub(super) const NUMBER_MAX: u32 = u32::MAX >> KIND_BITS;
const OTHER: u32 = 0;
const TEXT: u32 = 1;
const PAIR: u32 = 2;
const FRAME: u32 = 3;
const STACK: u32 = 4;
const DICT: u32 = 5;
const LIST: u32 = 6;
const DONE: u32 = 7;

fn pack(kind: u32, number: u32) -> u32 {
    debug_assert!(number <= NUMBER_MAX, "numbers are limited where they are given");
    number << KIND_BITS | kind
}

/// What an entry says, with the slot of an object whose generation the caller looks up.
pub(super) enum Kept {
    Data(Data),
    Dict(u32),
    List(u32),
}

impl Memo {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Keeps a value; `at` is for the error.
    pub(super) fn put(&mut self, index: u32, data: Data, at: u64) -> Result<()> {
        let entry = match data {
            Data::Text(number) => pack(TEXT, number),
            Data::Pair(number) => pack(PAIR, number),
            Data::Frame(number) => pack(FRAME, number),
            Data::Stack(number) => pack(STACK, number),
            Data::Dict(handle) => pack(DICT, handle.slot),
            Data::List(handle) => pack(LIST, handle.slot),
            Data::Done => DONE,
            other => {
                let number = u32::try_from(self.others.len()).unwrap_or(u32::MAX);
                if number > NUMBER_MAX {
                    return Err(malformed(at, "too many numbers are kept for later"));
                }
                self.others.push(other);
                pack(OTHER, number)
            }
        };
        match (index as usize).cmp(&self.entries.len()) {
            std::cmp::Ordering::Less => self.entries[index as usize] = entry,
            std::cmp::Ordering::Equal => self.entries.push(entry),
            // Python counts up. A table with holes would let a few bytes take gigabytes.
            std::cmp::Ordering::Greater => {
                return Err(malformed(at, "a memo number skips others"));
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, index: u32, at: u64) -> Result<Kept> {
        let Some(&entry) = self.entries.get(index as usize) else {
            return Err(malformed(at, "it refers to a memo number that was not given"));
        };
        let number = entry >> KIND_BITS;
        Ok(Kept::Data(match entry & ((1 << KIND_BITS) - 1) {
            TEXT => Data::Text(number),
            PAIR => Data::Pair(number),
            FRAME => Data::Frame(number),
            STACK => Data::Stack(number),
            DICT => return Ok(Kept::Dict(number)),
            LIST => return Ok(Kept::List(number)),
            DONE => Data::Done,
            _ => self.others[number as usize],
        }))
    }

    /// The dictionary or list in `slot` has become something else: a frame, a stack, or a record
    /// that was used. Another value may have taken its number meanwhile.
    pub(super) fn replace(&mut self, index: u32, was: Data, data: Data) {
        let (entry, was) = match (data, was) {
            (Data::Frame(number), Data::Dict(old)) => (pack(FRAME, number), pack(DICT, old.slot)),
            (Data::Stack(number), Data::List(old)) => (pack(STACK, number), pack(LIST, old.slot)),
            (_, Data::Dict(old)) => (DONE, pack(DICT, old.slot)),
            (_, Data::List(old)) => (DONE, pack(LIST, old.slot)),
            _ => return,
        };
        if let Some(kept) = self.entries.get_mut(index as usize).filter(|kept| **kept == was) {
            *kept = entry;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        4 * self.entries.len() + size_of::<Data>() * self.others.len()
    }
}
