//! [`Books`]: which pinned block is where. No call to the device is made here.

use std::collections::{BTreeMap, VecDeque};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use freeboard_device::Transfer;
use freeboard_units::Bytes;

use super::pass::Pass;

/// A piece of pinned memory with one owner: a handle, a transfer, or the books.
#[derive(Debug)]
pub(crate) struct Slab {
    pub(crate) start: NonNull<u8>,
    pub(crate) size: Bytes,
    /// Cut from the reserve, so never given back alone.
    pub(crate) cut: bool,
}

// SAFETY: a slab owns its bytes, which are plain memory of this process, as a Vec<u8> does.
unsafe impl Send for Slab {}
// SAFETY: as above; a shared slab is only read through.
unsafe impl Sync for Slab {}

/// Counters of pinned memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PinnedStats {
    /// Bytes in the hands of the program and of transfers it has not dropped, rounded up.
    pub in_use: Bytes,
    /// Bytes that were dropped while a stream may still use them.
    pub pending: Bytes,
    /// Bytes kept for the next request.
    pub cached: Bytes,
    /// Bytes of the reserve that were never cut.
    pub uncut: Bytes,
    /// Bytes pinned: the sum of the above.
    pub pinned: Bytes,
    /// The most bytes that ever were pinned.
    pub peak_pinned: Bytes,
    /// How often the device pinned memory.
    pub pins: u64,
    /// How often the device took memory back.
    pub unpins: u64,
    /// Requests that were served without the device.
    pub hits: u64,
    /// Requests that the device was asked for.
    pub misses: u64,
}

/// A block that nobody uses.
struct Rest {
    slab: Slab,
    /// Grows from one to the next.
    number: u64,
    since: Option<Instant>,
}

pub(crate) struct Books<D: Transfer> {
    /// By size; of each size, the one unused for longest first. No queue is empty.
    free: BTreeMap<Bytes, VecDeque<Rest>>,
    pub(crate) pending: Vec<(Slab, Pass<D>)>,
    /// All of the reserve, as it was pinned; it is used in pieces, which are slabs of their own.
    pub(crate) reserve: Option<Slab>,
    uncut: Option<Slab>,
    pub(crate) stats: PinnedStats,
    rests: u64,
    /// The background thread shall end.
    pub(crate) stop: bool,
    /// Blocks came since it looked.
    pub(crate) came: bool,
}

impl<D: Transfer> Default for Books<D> {
    fn default() -> Self {
        Self {
            free: BTreeMap::new(),
            pending: Vec::new(),
            reserve: None,
            uncut: None,
            stats: PinnedStats::default(),
            rests: 0,
            stop: false,
            came: false,
        }
    }
}

impl<D: Transfer> Books<D> {
    /// A block was pinned.
    pub(crate) fn pinned(&mut self, size: Bytes) {
        self.stats.pins += 1;
        self.stats.pinned += size;
        self.stats.peak_pinned = self.stats.peak_pinned.max(self.stats.pinned);
    }

    pub(crate) fn add_reserve(&mut self, slab: Slab) {
        self.pinned(slab.size);
        self.stats.uncut = slab.size;
        self.uncut = Some(Slab { cut: true, ..slab });
        self.reserve = Some(slab);
    }

    /// A free block of exactly this size, in the caller's hands from now on.
    pub(crate) fn take(&mut self, size: Bytes) -> Option<Slab> {
        let slab = self.pop(size, VecDeque::pop_back).or_else(|| self.cut(size))?;
        self.stats.in_use += size;
        self.stats.hits += 1;
        Some(slab)
    }

    fn pop(
        &mut self,
        size: Bytes,
        which: impl FnOnce(&mut VecDeque<Rest>) -> Option<Rest>,
    ) -> Option<Slab> {
        let queue = self.free.get_mut(&size)?;
        let rest = which(queue)?;
        if queue.is_empty() {
            self.free.remove(&size);
        }
        self.stats.cached -= size;
        Some(rest.slab)
    }

    fn cut(&mut self, size: Bytes) -> Option<Slab> {
        let distance = usize::try_from(size.get()).ok()?;
        let uncut = self.uncut.take_if(|uncut| uncut.size >= size)?;
        let left = uncut.size - size;
        if !left.is_zero() {
            // SAFETY: the uncut part is longer than this.
            let start = unsafe { uncut.start.add(distance) };
            self.uncut = Some(Slab { start, size: left, cut: true });
        }
        self.stats.uncut = left;
        Some(Slab { start: uncut.start, size, cut: true })
    }

    /// A block that nobody uses any more.
    pub(crate) fn rest(&mut self, slab: Slab, since: Option<Instant>) {
        self.stats.cached += slab.size;
        self.rests += 1;
        let queue = self.free.entry(slab.size).or_default();
        queue.push_back(Rest { slab, number: self.rests, since });
    }

    /// A block whose last user goes away, but a stream may still be using it.
    pub(crate) fn suspend(&mut self, slab: Slab, pass: Pass<D>) {
        self.stats.pending += slab.size;
        self.pending.push((slab, pass));
    }

    /// The free blocks that go: those unused for `longer`, and then what exceeds `most`, longest
    /// unused first. They are no longer counted as cached.
    pub(crate) fn evict(&mut self, most: Bytes, longer: Option<(Duration, Instant)>) -> Vec<Slab> {
        let mut evicted = Vec::new();
        while let Some((size, place)) = self.oldest(|rest| {
            longer.is_some_and(|(duration, now)| {
                rest.since.is_some_and(|since| now.saturating_duration_since(since) >= duration)
            })
        }) {
            evicted.extend(self.pop(size, |queue| queue.remove(place)));
        }
        while self.stats.cached > most
            && let Some((size, place)) = self.oldest(|_| true)
        {
            evicted.extend(self.pop(size, |queue| queue.remove(place)));
        }
        evicted
    }

    /// Where the longest unused block is that can go at all.
    fn oldest(&self, wanted: impl Fn(&Rest) -> bool) -> Option<(Bytes, usize)> {
        let first = |queue: &VecDeque<Rest>| queue.iter().position(|rest| !rest.slab.cut);
        let firsts = self.free.iter().filter_map(|(&size, queue)| {
            let place = first(queue)?;
            wanted(&queue[place]).then_some((queue[place].number, size, place))
        });
        firsts.min().map(|(_, size, place)| (size, place))
    }

    /// Every block is somewhere, once, and the counters say so.
    pub(crate) fn check(&self) -> Result<(), String> {
        let PinnedStats { in_use, pending, cached, uncut, pinned, .. } = self.stats;
        if in_use + pending + cached + uncut != pinned {
            return Err(format!("{:?} do not add up", self.stats));
        }
        let sum = |sizes: &mut dyn Iterator<Item = Bytes>| sizes.fold(Bytes::ZERO, |a, b| a + b);
        let free = || self.free.values().flatten().map(|rest| &rest.slab);
        let waiting = || self.pending.iter().map(|(slab, _)| slab);
        let counted = [
            (cached, sum(&mut free().map(|slab| slab.size))),
            (pending, sum(&mut waiting().map(|slab| slab.size))),
            (uncut, sum(&mut self.uncut.iter().map(|slab| slab.size))),
        ];
        if let Some((said, found)) = counted.iter().find(|(said, found)| said != found) {
            return Err(format!("{said} are counted where {found} are: {:?}", self.stats));
        }
        let mut slabs: Vec<_> = free().chain(waiting()).chain(&self.uncut).collect();
        slabs.sort_by_key(|slab| slab.start);
        for pair in slabs.windows(2) {
            let end = pair[0].start.addr().get() as u64 + pair[0].size.get();
            if end > pair[1].start.addr().get() as u64 {
                return Err(format!("{:?} and {:?} overlap", pair[0], pair[1]));
            }
        }
        Ok(())
    }
}
