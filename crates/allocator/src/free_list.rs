//! Free blocks of one pool and one stream, in order of size, then of place: segments in the order
//! they were made, addresses within a segment.
//!
//! Sizes fall into shelves, sixteen to each power of two, and a bitmap says which shelves hold
//! anything: finding the best fit looks at one shelf, or at the first one above it. A shelf is a
//! sorted run of entries; a long shelf is cut into runs of at most [`RUN`] entries, so that no
//! operation moves more than one run. Entries carry the whole key, so searching touches no block.
//!
//! The block that came last is kept apart from the shelves. What is cut off a block, and what
//! merges with its neighbour, is most often the next to be cut or merged: it never reaches a shelf.

use freeboard_units::Bytes;

use crate::block::BlockId;

/// Entries in a run: 1.5 KiB, short enough to shift and long enough to be found by halving.
const RUN: usize = 64;
const SHELVES: usize = 512;
/// All sizes are multiples of this many bytes.
const UNIT_SHIFT: u32 = 9;
/// Shelves per power of two are `1 << STEP_BITS`.
const STEP_BITS: u32 = 4;

/// Where a free block stands in the order: by size, then by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) size: Bytes,
    /// See [`Block::place`](crate::block::Block::place).
    pub(crate) place: u64,
}

impl Key {
    /// Before every block of `size`, behind every smaller one.
    #[inline]
    pub(crate) const fn from_size(size: Bytes) -> Self {
        Self { size, place: 0 }
    }

    /// Right behind `self`.
    pub(crate) const fn next(self) -> Self {
        Self { size: self.size, place: self.place + 1 }
    }

    /// One number to compare, in two instructions and without a branch.
    #[inline]
    pub(crate) fn rank(self) -> u128 {
        u128::from(self.size.get()) << 64 | u128::from(self.place)
    }
}

/// A free block and its place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) block: BlockId,
}

impl Entry {
    /// Whether it stands for no block; its size of zero says so.
    #[inline]
    const fn is_none(&self) -> bool {
        self.key.size.is_zero()
    }

    /// No block: before every key that is looked for.
    const NONE: Self = Self { key: Key { size: Bytes::ZERO, place: 0 }, block: BlockId::NONE };
}

/// A free block and where it was found, so that it can be taken without searching again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) entry: Entry,
    /// The shelf and the place on its first run; [`ELSEWHERE`] for anything else.
    spot: (usize, usize),
}

/// Not on the first run of a shelf.
const ELSEWHERE: (usize, usize) = (usize::MAX, 0);

/// A shelf: `first` holds the smallest keys; `rest` exists only where one run is not enough.
#[derive(Clone, Debug, Default)]
struct Shelf {
    first: Vec<Entry>,
    #[expect(clippy::box_collection, reason = "a shelf header of 32 bytes, and rest is rare")]
    rest: Option<Box<Vec<Vec<Entry>>>>,
}

/// The free blocks of one stream in one pool.
#[derive(Clone, Debug)]
pub(crate) struct FreeList {
    /// The block that came last, or [`Entry::NONE`].
    latest: Entry,
    /// One bit per word of `words` that is not zero.
    summary: u64,
    /// One bit per shelf that holds anything.
    words: [u64; SHELVES / 64],
    /// Empty until the first block comes.
    shelves: Vec<Shelf>,
}

impl Default for FreeList {
    fn default() -> Self {
        Self { latest: Entry::NONE, summary: 0, words: [0; SHELVES / 64], shelves: Vec::new() }
    }
}

/// The shelf for a size: exact below 32 units, then sixteen per power of two.
#[inline]
fn shelf_of(key: Key) -> usize {
    let units = key.size.get() >> UNIT_SHIFT;
    let octave = (units | 1).ilog2().max(STEP_BITS) - STEP_BITS;
    let step = (units >> octave) as usize;
    ((octave << STEP_BITS) as usize + step).min(SHELVES - 1)
}

impl FreeList {
    /// Adds a block that is not yet there.
    #[expect(clippy::inline_always, reason = "part of the hot path")]
    #[inline(always)]
    pub(crate) fn insert(&mut self, entry: Entry) {
        if !self.latest.is_none() {
            self.shelve(self.latest);
        }
        self.latest = entry;
    }

    #[inline(never)]
    fn shelve(&mut self, entry: Entry) {
        if self.shelves.is_empty() {
            self.shelves.resize_with(SHELVES, Shelf::default);
        }
        let index = shelf_of(entry.key);
        self.words[index / 64] |= 1 << (index % 64);
        self.summary |= 1 << (index / 64);
        self.shelves[index].insert(entry);
    }

    /// Takes a block out that is there.
    ///
    /// # Panics
    /// When it is not there: the books are broken.
    #[expect(clippy::inline_always, reason = "part of the hot path")]
    #[inline(always)]
    pub(crate) fn remove(&mut self, key: Key) {
        if self.latest.key == key {
            self.latest.key.size = Bytes::ZERO;
        } else {
            self.unshelve(key);
        }
    }

    #[inline(never)]
    fn unshelve(&mut self, key: Key) {
        let index = shelf_of(key);
        let holder = &mut self.shelves[index];
        holder.remove(key);
        if holder.first.is_empty() {
            self.clear_bit(index);
        }
    }

    #[inline]
    fn clear_bit(&mut self, index: usize) {
        let word = &mut self.words[index / 64];
        *word &= !(1 << (index % 64));
        if *word == 0 {
            self.summary &= !(1 << (index / 64));
        }
    }

    /// The first block that is not before `key`, if there is one.
    #[expect(clippy::inline_always, reason = "part of the hot path")]
    #[inline(always)]
    pub(crate) fn at_least(&self, key: Key) -> Option<Found> {
        let latest_fits = self.latest.key.rank() >= key.rank();
        let latest = latest_fits.then_some(Found { entry: self.latest, spot: ELSEWHERE });
        if self.summary == 0 {
            return latest;
        }
        match self.shelved_at_least(key) {
            Some(shelved) if !latest_fits || shelved.entry.key.rank() < self.latest.key.rank() => {
                Some(shelved)
            }
            _ => latest,
        }
    }

    #[expect(clippy::inline_always, reason = "part of the hot path")]
    #[inline(always)]
    fn shelved_at_least(&self, key: Key) -> Option<Found> {
        let index = shelf_of(key);
        if self.words[index / 64] >> (index % 64) & 1 == 1 {
            let holder = &self.shelves[index];
            let at = position(&holder.first, key);
            if let Some(&entry) = holder.first.get(at) {
                return Some(Found { entry, spot: (index, at) });
            }
            if let Some(entry) = holder.at_least_in_rest(key) {
                return Some(Found { entry, spot: ELSEWHERE });
            }
        }
        // Every entry of a higher shelf is larger than any of this one, so its first is the best.
        let index = self.occupied_from(index + 1)?;
        Some(Found { entry: self.shelves[index].first[0], spot: (index, 0) })
    }

    /// Takes out what [`FreeList::at_least`] just found.
    #[expect(clippy::inline_always, reason = "part of the hot path")]
    #[inline(always)]
    pub(crate) fn take(&mut self, found: &Found) {
        let (index, at) = found.spot;
        match self.shelves.get_mut(index) {
            Some(holder) if holder.rest.is_none() => {
                holder.first.remove(at);
                if holder.first.is_empty() {
                    self.clear_bit(index);
                }
            }
            _ => self.remove(found.entry.key),
        }
    }

    /// Whether there is one block at most, as far as one look can tell.
    #[inline]
    pub(crate) const fn is_single(&self) -> bool {
        self.summary == 0
    }

    /// Every entry, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        let latest = Some(&self.latest).filter(|latest| !latest.is_none());
        latest.into_iter().chain(self.shelves.iter().flat_map(|shelf| shelf.runs().flatten()))
    }

    /// Every entry of at least `size` bytes, in no order.
    pub(crate) fn iter_from(&self, size: Bytes) -> impl Iterator<Item = &Entry> {
        let from = shelf_of(Key::from_size(size)).min(self.shelves.len());
        let latest = Some(&self.latest);
        let shelved = self.shelves[from..].iter().flat_map(|shelf| shelf.runs().flatten());
        latest.into_iter().chain(shelved).filter(move |entry| entry.key.size >= size)
    }

    /// The largest block.
    pub(crate) fn largest(&self) -> Option<Entry> {
        self.iter().max_by_key(|entry| entry.key.rank()).copied()
    }

    /// Bytes of host memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let entries: usize = self.shelves.iter().flat_map(Shelf::runs).map(Vec::capacity).sum();
        self.shelves.capacity() * size_of::<Shelf>() + entries * size_of::<Entry>()
    }

    /// The first shelf from `index` on that holds anything.
    #[inline]
    fn occupied_from(&self, index: usize) -> Option<usize> {
        let word = index / 64;
        if word >= self.words.len() {
            return None;
        }
        let here = self.words[word] & (u64::MAX << (index % 64));
        if here != 0 {
            return Some(word * 64 + here.trailing_zeros() as usize);
        }
        let above = self.summary & (u64::MAX << word << 1);
        let word = above.trailing_zeros() as usize;
        let bits = *self.words.get(word)?;
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

impl Shelf {
    fn runs(&self) -> impl Iterator<Item = &Vec<Entry>> {
        std::iter::once(&self.first).chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }

    #[inline]
    fn insert(&mut self, entry: Entry) {
        if self.rest.is_some() || self.first.len() == RUN {
            return self.insert_long(entry);
        }
        insert_sorted(&mut self.first, entry);
    }

    #[inline]
    fn remove(&mut self, key: Key) {
        if self.rest.is_some() {
            return self.remove_long(key);
        }
        remove_sorted(&mut self.first, key);
    }

    /// The first entry not before `key` behind the first run.
    #[cold]
    fn at_least_in_rest(&self, key: Key) -> Option<Entry> {
        let rest = self.rest.as_ref()?;
        let run = rest.partition_point(|run| run[run.len() - 1].key.rank() < key.rank());
        rest.get(run).map(|run| run[position(run, key)])
    }

    /// The run that holds `key` or would: 0 is `first`, n is `rest[n - 1]`.
    fn run_for(&self, key: Key) -> usize {
        let rest = self.rest.as_deref().map_or(&[][..], Vec::as_slice);
        rest.partition_point(|run| run[0].key.rank() <= key.rank())
    }

    fn run_mut(&mut self, index: usize) -> &mut Vec<Entry> {
        match (index, &mut self.rest) {
            (1.., Some(rest)) => &mut rest[index - 1],
            _ => &mut self.first,
        }
    }

    #[cold]
    fn insert_long(&mut self, entry: Entry) {
        let index = self.run_for(entry.key);
        let run = self.run_mut(index);
        insert_sorted(run, entry);
        if run.len() > RUN {
            let upper = run.split_off(RUN / 2);
            self.rest.get_or_insert_default().insert(index, upper);
        }
    }

    #[cold]
    fn remove_long(&mut self, key: Key) {
        let index = self.run_for(key);
        let run = self.run_mut(index);
        remove_sorted(run, key);
        if !run.is_empty() {
            return;
        }
        // An empty run would break the search: the next one takes its place.
        if let Some(rest) = &mut self.rest {
            if index == 0 {
                self.first = rest.remove(0);
            } else {
                rest.remove(index - 1);
            }
            if rest.is_empty() {
                self.rest = None;
            }
        }
    }
}

#[inline]
fn position(run: &[Entry], key: Key) -> usize {
    run.partition_point(|entry| entry.key.rank() < key.rank())
}

#[inline]
fn insert_sorted(run: &mut Vec<Entry>, entry: Entry) {
    if run.capacity() == 0 {
        run.reserve_exact(4);
    }
    let at = position(run, entry.key);
    debug_assert!(run.get(at).is_none_or(|there| there.key != entry.key), "already there");
    run.insert(at, entry);
}

#[inline]
fn remove_sorted(run: &mut Vec<Entry>, key: Key) {
    let at = position(run, key);
    assert!(run.get(at).is_some_and(|there| there.key == key), "free block is in its list");
    run.remove(at);
}

#[cfg(test)]
mod tests;
