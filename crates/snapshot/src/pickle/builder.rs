//! [`Builder`]: dictionaries and lists become records as soon as they are used.

use std::mem;

use crate::names::{NameId, Names, PoolId, PoolIndex, StackId, Stacks};

use super::error::{Fault, Result, malformed, wrong};
use super::key::{FILENAME, FRAMES, NOT_APPLICABLE};
use super::objects::{Arena, List, Pairs};
use super::records::Record;
use super::texts::{self, Texts};
use super::value::{Data, Handle, Memo, NOT_KEPT, NUMBER_MAX, Value};

/// Rooms larger than this are not kept for the next dictionary.
const ROOM: usize = 64;
const UNKNOWN: u32 = u32::MAX;

/// All that is read so far, but for the stack.
pub(super) struct Builder {
    pub(super) texts: Texts,
    pub(super) pairs: texts::Pairs,
    pub(super) memo: Memo,
    pub(super) dicts: Arena<Pairs>,
    pub(super) lists: Arena<List>,
    pub(super) names: Names,
    pub(super) stacks: Stacks,
    pub(super) pools: Vec<PoolId>,
    /// The name of each text, and the pool of each pair, that have one.
    name_of: Vec<u32>,
    pool_of: Vec<u32>,
    /// Frames in all stacks together, which are numbered with 32 bits.
    stacked: u64,
    /// Bytes of rooms for dictionaries, of records and of stacks.
    pub(super) used: usize,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            texts: Texts::new(),
            pairs: texts::Pairs::default(),
            memo: Memo::default(),
            dicts: Arena::default(),
            lists: Arena::default(),
            names: Names::default(),
            stacks: Stacks::default(),
            pools: vec![PoolId::SHARED],
            name_of: Vec::new(),
            pool_of: Vec::new(),
            stacked: 0,
            used: 0,
        }
    }

    /// About how much memory all of it takes.
    pub(super) fn bytes(&self) -> usize {
        // A name is kept twice, with a table entry, and so is a frame.
        let names = 4 * self.name_of.len() + 2 * self.texts.bytes();
        let tables = self.dicts.bytes() + self.lists.bytes() + self.memo.bytes();
        self.used + names + tables + self.pairs.bytes() + 4 * self.pool_of.len()
    }

    /// The name a text becomes in the snapshot.
    pub(super) fn name(&mut self, text: u32) -> NameId {
        let index = text as usize;
        if self.name_of.len() <= index {
            self.name_of.resize(index + 1, UNKNOWN);
        }
        if self.name_of[index] == UNKNOWN {
            self.name_of[index] = self.names.intern(self.texts.get(text)).get();
        }
        NameId::new(self.name_of[index])
    }

    /// As [`name`](Self::name); `N/A` is none.
    pub(super) fn context(&mut self, text: u32) -> NameId {
        if text == NOT_APPLICABLE { NameId::default() } else { self.name(text) }
    }

    /// The pool that a pair names; `None` if a number is negative.
    pub(super) fn pool(&mut self, pair: u32) -> Option<PoolIndex> {
        let index = pair as usize;
        if self.pool_of.len() <= index {
            self.pool_of.resize(index + 1, UNKNOWN);
        }
        if self.pool_of[index] == UNKNOWN {
            let (first, second) = self.pairs.get(pair);
            let pool = PoolId(u64::try_from(first).ok()?, u64::try_from(second).ok()?);
            self.pool_of[index] = if pool.is_private() {
                self.pools.push(pool);
                u32::try_from(self.pools.len() - 1).ok()?
            } else {
                0
            };
        }
        Some(PoolIndex::new(self.pool_of[index]))
    }

    /// Adds entries to a dictionary.
    pub(super) fn set(&mut self, dict: Value, entries: &[Value]) -> Result<()> {
        let Data::Dict(handle) = dict.data else {
            return Err(malformed(dict.at, "entries are added to what is no dictionary"));
        };
        if !entries.len().is_multiple_of(2) {
            return Err(malformed(dict.at, "a key comes without a value"));
        }
        let Some(pairs) = self.dicts.get(handle) else {
            return Err(malformed(dict.at, "a dictionary is changed after it was used"));
        };
        let mut pairs = mem::take(pairs);
        let room = pairs.capacity();
        for entry in entries.chunks_exact(2) {
            let mut value = entry[1];
            let Data::Text(key) = entry[0].data else { continue };
            if let (FRAMES, Data::List(list)) = (key, value.data) {
                value.data = self.as_stack(list, value.at)?;
            }
            pairs.push((key, value));
        }
        self.used += (pairs.capacity() - room) * size_of::<(u32, Value)>();
        self.dicts.leave(handle, pairs);
        Ok(())
    }

    /// A list of frames that is used as a stack.
    fn as_stack(&mut self, list: Handle, at: u64) -> Result<Data> {
        match self.lists.view(list) {
            Some(List::Empty | List::Frames(_)) => {}
            _ => return Ok(Data::List(list)),
        }
        let Some((content, kept)) = self.lists.take(list) else { return Ok(Data::Done) };
        let List::Frames(frames) = content else {
            return Ok(self.forget(Data::List(list), kept, Data::Stack(0)));
        };
        self.used = self.used.saturating_sub(4 * frames.len());
        let known = self.stacks.len();
        self.stacked += frames.len() as u64;
        if self.stacked > u64::from(u32::MAX) || known >= NUMBER_MAX as usize {
            return Err(malformed(at, "there are more than 4,294,967,295 frames in stacks"));
        }
        let id = self.stacks.intern_frames(&frames);
        if self.stacks.len() == known {
            self.stacked -= frames.len() as u64;
        } else {
            // Its frames are in two tables.
            self.used += 8 * frames.len() + 64;
        }
        Ok(self.forget(Data::List(list), kept, Data::Stack(id.get())))
    }

    /// What the memo knew as an object is `now` something else.
    fn forget(&mut self, was: Data, kept: u32, now: Data) -> Data {
        if kept != NOT_KEPT {
            self.memo.replace(kept, was, now);
        }
        now
    }

    /// Takes a dictionary; its room is to be given back with [`recycle`](Self::recycle).
    pub(super) fn take_dict(&mut self, handle: Handle) -> Option<Pairs> {
        let (pairs, kept) = self.dicts.take(handle)?;
        self.forget(Data::Dict(handle), kept, Data::Done);
        Some(pairs)
    }

    /// Takes a list. An empty one may be used in many places.
    pub(super) fn take_list(&mut self, handle: Handle) -> Option<List> {
        let (list, kept) = self.lists.take(handle)?;
        let now = if matches!(list, List::Empty) { Data::Stack(0) } else { Data::Done };
        self.forget(Data::List(handle), kept, now);
        Some(list)
    }

    /// The list that a value stands for; any empty one is `List::Empty`.
    pub(super) fn list(&mut self, value: Value) -> Option<List> {
        match value.data {
            Data::List(handle) => self.take_list(handle),
            Data::Stack(0) | Data::None => Some(List::Empty),
            _ => None,
        }
    }

    /// Lets the next dictionary in this slot use the room of the last one.
    pub(super) fn recycle(&mut self, handle: Handle, mut pairs: Pairs) {
        if pairs.capacity() > ROOM {
            self.used = self.used.saturating_sub(pairs.capacity() * size_of::<(u32, Value)>());
            return;
        }
        pairs.clear();
        self.dicts.leave(handle, pairs);
    }

    /// Lets go of a value that no snapshot needs, and of what is in it.
    pub(super) fn discard(&mut self, value: Value) {
        let mut left = vec![value.data];
        while let Some(data) = left.pop() {
            match data {
                Data::Dict(handle) => {
                    let Some(pairs) = self.take_dict(handle) else { continue };
                    left.extend(pairs.iter().map(|(_, value)| value.data).filter(is_object));
                    self.recycle(handle, pairs);
                }
                Data::List(handle) => {
                    let list = self.take_list(handle).unwrap_or_default();
                    self.used = self.used.saturating_sub(list.bytes());
                }
                _ => {}
            }
        }
    }

    /// Adds entries to a list. An error's path begins with the entry's index.
    pub(super) fn append(&mut self, list: Value, entries: &[Value]) -> Result<()> {
        let Data::List(handle) = list.data else {
            return Err(malformed(list.at, "entries are added to what is no list"));
        };
        let Some(content) = self.lists.get(handle) else {
            return Err(malformed(list.at, "a list is changed after it was used"));
        };
        let mut content = mem::take(content);
        let (before, bytes) = (content.len(), content.bytes());
        for (index, &entry) in entries.iter().enumerate() {
            if entry.data == list.data {
                return Err(malformed(entry.at, "a list is in itself"));
            }
            if let Err(error) = self.append_one(&mut content, entry) {
                return Err(error.within(&format!("[{}]", before + index)));
            }
        }
        if self.lists.get(handle).is_none() {
            return Err(malformed(list.at, "a list is in itself"));
        }
        self.used += content.bytes() - bytes;
        self.lists.leave(handle, content);
        Ok(())
    }

    fn append_one(&mut self, list: &mut List, entry: Value) -> Result<()> {
        let fits = match entry.data {
            Data::Dict(handle) => {
                let record = self.use_dict(handle, entry.at)?;
                list.add(record)
            }
            Data::Frame(number) => list.add(Record::Frame(number)),
            Data::List(handle) => match self.take_list(handle) {
                Some(List::Events(events)) => list.add(Record::Trace(events)),
                Some(List::Empty) => list.add(Record::Trace(Vec::new())),
                Some(_) => list.add(Record::Other),
                None => return Err(used_twice(entry.at)),
            },
            Data::Stack(0) => list.add(Record::Trace(Vec::new())),
            Data::Done => return Err(used_twice(entry.at)),
            _ => list.add(Record::Other),
        };
        if fits {
            return Ok(());
        }
        let found = format!("of another kind than the entries before ({})", self.describe(entry));
        Err(wrong(entry.at, "", found, "entries of one kind in a list"))
    }

    /// A dictionary becomes what it means.
    fn use_dict(&mut self, handle: Handle, at: u64) -> Result<Record> {
        let Some(pairs) = self.dicts.get(handle).map(mem::take) else {
            return Err(used_twice(at));
        };
        let record = self.record(&pairs, at)?;
        let now = match record {
            Record::Frame(number) => Data::Frame(number),
            _ => Data::Done,
        };
        if let Some((_, kept)) = self.dicts.take(handle) {
            self.forget(Data::Dict(handle), kept, now);
        }
        for (_, value) in &pairs {
            if is_object(&value.data) {
                self.discard(*value);
            }
        }
        self.recycle(handle, pairs);
        Ok(record)
    }

    /// What a dictionary or list is when it is referred to again, and where on the stack it was
    /// made. Frames and stacks are shared; others are not.
    pub(super) fn settle(&mut self, data: Data, at: u64) -> Result<(Data, usize)> {
        Ok(match data {
            Data::Dict(handle) => {
                let pairs = self.dicts.view(handle).map_or(&[][..], Vec::as_slice);
                let is_frame = pairs.iter().any(|(key, _)| *key == FILENAME);
                let height = self.dicts.height(handle.slot);
                match is_frame.then(|| self.use_dict(handle, at)).transpose()? {
                    Some(Record::Frame(number)) => (Data::Frame(number), height),
                    _ => (data, height),
                }
            }
            Data::List(handle) => {
                let height = self.lists.height(handle.slot);
                (self.as_stack(handle, at)?, height)
            }
            other => (other, usize::MAX),
        })
    }

    /// Two numbers are a pair; what other tuples hold is not needed.
    pub(super) fn tuple(&mut self, entries: &[Value]) -> Option<Data> {
        if let [Value { data: Data::Int(first), .. }, Value { data: Data::Int(second), .. }] =
            *entries
        {
            return self.pairs.intern((first, second)).map(Data::Pair);
        }
        for &entry in entries {
            self.discard(entry);
        }
        Some(Data::Tuple)
    }

    /// A value in words, for errors.
    pub(super) fn describe(&self, value: Value) -> String {
        match value.data {
            Data::None => "None".to_owned(),
            Data::Bool(value) => if value { "True" } else { "False" }.to_owned(),
            Data::Int(number) => number.to_string(),
            Data::Wide(number) => number.to_string(),
            Data::Float(number) => format!("the fraction {number}"),
            Data::Text(number) => {
                let text: String = self.texts.get(number).chars().take(40).collect();
                format!("the text {text:?}")
            }
            Data::Pair(_) | Data::Tuple => "a tuple".to_owned(),
            Data::Frame(_) | Data::Dict(_) => "a dictionary".to_owned(),
            Data::Stack(_) | Data::List(_) => "a list".to_owned(),
            Data::Done => "an entry that stands elsewhere, too".to_owned(),
        }
    }
}

fn is_object(data: &Data) -> bool {
    matches!(data, Data::Dict(_) | Data::List(_))
}

#[cold]
fn used_twice(at: u64) -> Fault {
    malformed(at, "an entry stands in two places")
}

/// The stack a value stands for.
pub(super) fn stack(value: Value) -> Option<StackId> {
    match value.data {
        Data::Stack(number) => Some(StackId::new(number)),
        Data::None => Some(StackId::default()),
        _ => None,
    }
}
