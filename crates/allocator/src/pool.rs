//! A pool: the free blocks that may serve the same requests, by stream.

use std::collections::BTreeMap;

use freeboard_units::{Address, StreamId};

use crate::block::{Block, BlockId};
use crate::free_list::{Entry, FreeList};
use crate::stats::Class;

/// Free and unmapped blocks of one kind.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) class: Class,
    /// The private pool it belongs to, by number; `None` for the two that all share.
    pub(crate) owner: Option<u32>,
    /// Free blocks by stream.
    pub(crate) free: Vec<FreeList>,
    /// Unmapped blocks of expandable segments, by stream and address.
    pub(crate) unmapped: BTreeMap<(u16, Address), BlockId>,
    /// Segments of either kind that belong to it.
    pub(crate) segments: usize,
    /// Searches so far, counted only while garbage is collected: the clock for ages.
    pub(crate) searches: u64,
}

impl Pool {
    pub(crate) fn new(class: Class, owner: Option<u32>) -> Self {
        Self { class, owner, free: Vec::new(), unmapped: BTreeMap::new(), segments: 0, searches: 0 }
    }

    /// Puts a free block into its list.
    pub(crate) fn insert(&mut self, id: BlockId, block: &mut Block) {
        block.free_since = self.searches;
        self.list_block(block.stream, Entry { key: block.key(), block: id });
    }

    /// As [`Pool::insert`], for a block whose numbers are at hand and whose age is noted.
    #[inline]
    pub(crate) fn list_block(&mut self, stream: u16, entry: Entry) {
        let stream = usize::from(stream);
        if stream >= self.free.len() {
            self.add_lists(stream + 1);
        }
        self.free[stream].insert(entry);
    }

    #[cold]
    fn add_lists(&mut self, streams: usize) {
        self.free.resize_with(streams, FreeList::default);
    }

    /// Takes a free block out of its list.
    #[inline]
    pub(crate) fn remove(&mut self, block: &Block) {
        self.free[usize::from(block.stream)].remove(block.key());
    }

    /// The free blocks of a stream; `None` if it never had any.
    #[inline]
    pub(crate) fn list(&self, stream: u16) -> Option<&FreeList> {
        self.free.get(usize::from(stream))
    }

    /// Every free block of every stream.
    pub(crate) fn free_blocks(&self) -> impl Iterator<Item = BlockId> {
        self.free.iter().flat_map(|list| list.iter().map(|entry| entry.block))
    }
}

/// Dense numbers for the streams that have been seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams {
    ids: Vec<StreamId>,
    /// The one looked up last.
    last: StreamId,
    last_number: u16,
}

impl Streams {
    /// The number of a stream; `None` when there are 65,535 already.
    #[inline]
    pub(crate) fn number(&mut self, stream: StreamId) -> Option<u16> {
        if self.last == stream && !self.ids.is_empty() {
            return Some(self.last_number);
        }
        self.look_up(stream)
    }

    fn look_up(&mut self, stream: StreamId) -> Option<u16> {
        let place = self.ids.iter().position(|id| *id == stream).unwrap_or(self.ids.len());
        let number = u16::try_from(place).ok().filter(|number| *number < u16::MAX)?;
        if place == self.ids.len() {
            self.ids.push(stream);
        }
        (self.last, self.last_number) = (stream, number);
        Some(number)
    }

    /// The number of a stream that has been seen.
    pub(crate) fn find(&self, stream: StreamId) -> Option<u16> {
        self.ids.iter().position(|id| *id == stream).and_then(|place| u16::try_from(place).ok())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u16 {
        u16::try_from(self.ids.len()).expect("numbers are given up to 65,534")
    }

    /// The stream with this number.
    pub(crate) fn id(&self, number: u16) -> StreamId {
        self.ids[usize::from(number)]
    }

    /// All streams, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = StreamId> {
        self.ids.iter().copied()
    }
}
