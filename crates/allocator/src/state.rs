//! [`State`]: all that the lock guards. No lock, no clock and no pointer of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use freeboard_device::{Device, Handle};
use freeboard_units::{Address, Bytes, EventId, StreamId};
use rustc_hash::FxHashMap;

use crate::block::{Arena, BlockId, BlockState};
use crate::config::{Config, Roundup};
use crate::error::Error;
use crate::expandable::ExpandableSegment;
use crate::free_list::{Entry, Key};
use crate::pending::EventQueue;
use crate::policy::garbage::GarbagePolicy;
use crate::policy::limit::LimitPolicy;
use crate::policy::split::SplitPolicy;
use crate::policy::stitching::{SHARED_POOLS, StitchPolicy};
use crate::policy::visiting::VisitingOrder;
use crate::policy::{placement, rounding};
use crate::pool::{Pool, Streams};
use crate::private::{Capture, PrivatePool};
use crate::record::Record;
use crate::request::{Grant, Request};
use crate::stats::{Class, Ledger};
use crate::steady::Steady;
use crate::stitch::Stitch;

/// The allocator's books.
///
/// Invariants, walked by [`State::check`](crate::check):
/// - blocks of a segment are neighbours without gap or overlap, in address order;
/// - no two free neighbours of the same kind: they would have been merged;
/// - a block is in its pool's free list exactly when it is free, and in its pool's unmapped list
///   exactly when it is unmapped;
/// - the counters equal what the blocks add up to, and `held` what segments and pages add up to.
pub(crate) struct State<D> {
    pub(crate) device: Arc<D>,
    pub(crate) config: Config,
    pub(crate) split: SplitPolicy,
    pub(crate) garbage: Option<GarbagePolicy>,
    pub(crate) limit: LimitPolicy,
    /// `None` where sizes are only rounded to 512 bytes.
    pub(crate) roundup: Option<Roundup>,
    /// Whether ages are counted: only while garbage collection can happen.
    pub(crate) counts_age: bool,

    pub(crate) blocks: Arena,
    /// The small, the large and the round pool, then those of private pools, two each. The round
    /// pool is used only where memory is stitched.
    pub(crate) pools: Vec<Pool>,
    pub(crate) streams: Streams,
    pub(crate) ledger: Ledger,
    /// Bytes held from the device.
    pub(crate) held: Bytes,
    /// The place of the next segment: 512 and the sizes of all segments ever made.
    places: u64,
    /// Bytes the device has.
    pub(crate) total: Bytes,
    /// Memory that could not be released when it should have been.
    pub(crate) orphans: Vec<Handle>,

    /// By number; a place is `None` once the segment is gone.
    pub(crate) expandable: Vec<Option<ExpandableSegment>>,
    /// Streams recorded on blocks, for the few blocks that have any.
    pub(crate) uses: BTreeMap<BlockId, Uses>,
    /// Events that are waited for, by stream, in the order of `visiting`.
    pub(crate) events: Vec<EventQueue>,
    pub(crate) visiting: VisitingOrder,
    pub(crate) spare_events: Vec<EventId>,
    /// Blocks whose events could not be recorded when they were freed.
    pub(crate) deferred: Vec<BlockId>,

    pub(crate) private: BTreeMap<u32, PrivatePool>,
    /// The number of the next private pool; none is given twice.
    pub(crate) next_private: u32,
    pub(crate) captures: Vec<Capture>,
    pub(crate) raw: FxHashMap<Address, BlockId>,
    pub(crate) stitch: Stitch,
    pub(crate) steady: Steady,
    /// While history is recorded.
    pub(crate) record: Option<Box<Record>>,
}

/// Streams other than its own on which a block was used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses {
    pub(crate) streams: Vec<u16>,
    /// Those recorded while a graph was being captured: done when the capture is.
    pub(crate) captured: Vec<u16>,
}

impl<D: Device> State<D> {
    pub(crate) fn new(device: Arc<D>, config: Config) -> Result<Self, Error> {
        config.check()?;
        let split = SplitPolicy {
            // Stitched, what is left of a block is no loss, so that none is kept whole.
            max_split: config.max_split_size.filter(|_| !config.stitching).unwrap_or(Bytes::MAX),
            max_rounding: config.max_non_split_rounding.unwrap_or(config.large_segment_size),
            expandable: config.expandable_segments,
            prefers_bounded: config.expandable_segments && !config.stitching,
        };
        // Stitched, what has long been unused serves the next request anyway.
        let threshold = config.garbage_collection_threshold.filter(|_| !config.stitching);
        let shared = [Class::Small, Class::Large, Class::Large];
        let mut state = Self {
            split,
            garbage: threshold.map(|threshold| GarbagePolicy { threshold }),
            limit: LimitPolicy::new(config.throw_on_oom, config.memory_fraction),
            roundup: Some(config.roundup).filter(|roundup| !roundup.is_none()),
            counts_age: false,
            blocks: Arena::default(),
            pools: shared.map(|class| Pool::new(class, None)).into(),
            streams: Streams::default(),
            ledger: Ledger::default(),
            held: Bytes::ZERO,
            places: 512,
            total: device.info()?.total,
            orphans: Vec::new(),
            expandable: Vec::new(),
            uses: BTreeMap::new(),
            events: Vec::new(),
            visiting: VisitingOrder::default(),
            spare_events: Vec::new(),
            deferred: Vec::new(),
            private: BTreeMap::new(),
            next_private: 0,
            captures: Vec::new(),
            raw: FxHashMap::default(),
            steady: Steady::new(config.planning && config.stitching),
            stitch: Stitch::new(&config),
            record: None,
            device,
            config,
        };
        state.set_fraction(state.config.memory_fraction);
        state.end_tick();
        Ok(state)
    }

    /// Limits what may be held to a part of the device's memory.
    pub(crate) fn set_fraction(&mut self, fraction: Option<f64>) {
        self.config.memory_fraction = fraction;
        self.limit.set_fraction(fraction, self.total, self.config.context);
        self.counts_age = self.garbage.is_some()
            && (self.limit.allowed.is_some() || self.config.garbage_collection_without_fraction);
    }

    /// Serves a request from cache, in the common case: nothing pending, no private pool in use.
    /// `None` means that [`State::request`] and the ladder have to be asked; nothing has changed.
    #[expect(clippy::inline_always, reason = "the hot path is one function without spills")]
    #[inline(always)]
    pub(crate) fn try_cached(&mut self, asked: Bytes, stream: StreamId) -> Option<Grant> {
        let quiet = self.captures.is_empty() && !self.has_pending();
        // Zero wraps around to a size that is too large.
        let sane = asked.get().wrapping_sub(1) < rounding::TOO_LARGE.get() - 1;
        if !(quiet && sane) {
            return None;
        }
        let size = rounding::block_size(asked, self.roundup.as_ref());
        let class = placement::class_of(size);
        let stream = self.streams.number(stream)?;
        let pool = StitchPolicy::pool(class as u16, size, self.stitch.round_mask);
        let request = Request { asked, size, class, pool, stream };
        if self.is_recording() {
            return self.try_recorded(&request);
        }
        if self.steady.is_watching() {
            return self.try_watched(&request);
        }
        self.serve_cached(&request)
    }

    /// What [`State::try_cached`] does once nothing else has to be thought of.
    #[expect(clippy::inline_always, reason = "the hot path is one function without spills")]
    #[inline(always)]
    pub(crate) fn serve_cached(&mut self, request: &Request) -> Option<Grant> {
        let found = self.reuse(request, self.stitch.uncut);
        if found.is_none() && self.counts_age {
            self.pools[usize::from(request.pool)].searches -= 1; // the ladder searches again
        }
        Some(self.hand_out(request, found?))
    }

    /// As [`State::try_cached`], while history is recorded.
    #[inline(never)]
    fn try_recorded(&mut self, request: &Request) -> Option<Grant> {
        let grant = self.try_watched(request)?;
        self.note_alloc(request, &grant);
        Some(grant)
    }

    /// Takes the best free block out of the request's pool, if one may serve it.
    ///
    /// Best is the smallest of the request's own stream; of equal ones that of the oldest segment,
    /// at the lowest address.
    #[expect(clippy::inline_always, reason = "the hot path is one function without spills")]
    #[inline(always)]
    fn reuse(&mut self, request: &Request, largest: Bytes) -> Option<BlockId> {
        let pool = &mut self.pools[usize::from(request.pool)];
        if self.counts_age {
            pool.searches += 1;
        }
        let list = pool.list(request.stream)?;
        let mut best = list.at_least(Key::from_size(request.size))?;
        // Only a block that borders unmapped space can be worse than a larger one, if there is one.
        if self.split.prefers_bounded
            && !list.is_single()
            && !self.room_behind(best.entry.block).is_zero()
        {
            best = self.prefer_bounded(best, request);
        }
        let size = best.entry.key.size;
        if size > largest || !self.split.may_serve(size, request.size) {
            return None;
        }
        let pool = &mut self.pools[usize::from(request.pool)];
        pool.free[usize::from(request.stream)].take(&best);
        Some(best.entry.block)
    }

    /// Serves a request from cache, if a free block is there.
    #[inline(never)]
    pub(crate) fn serve(&mut self, request: &Request) -> Option<Grant> {
        let close = self.stitch.uncut != Bytes::MAX && self.is_stitched(usize::from(request.pool));
        if close {
            return self.serve_closely(request);
        }
        let found = self.reuse(request, Bytes::MAX)?;
        Some(self.finish(request, found))
    }

    /// Turns a block that is in no list into an allocation, cutting off what is not needed.
    #[expect(clippy::inline_always, reason = "the hot path is one function without spills")]
    #[inline(always)]
    fn hand_out(&mut self, request: &Request, found: BlockId) -> Grant {
        let class = request.class;
        let never_cuts = self.never_cuts(usize::from(request.pool));
        let block = &mut self.blocks[found];
        let (was_split, fixed) = (block.is_split(), !block.is_expandable());
        let (whole, address) = (block.size, block.address);
        let cuts = self.split.cuts(class, whole, request.size) && !never_cuts;
        let size = if cuts { request.size } else { whole };
        block.state = BlockState::Allocated;
        block.requested = request.asked;
        if cuts {
            self.cut_off_rest(found, request.size);
        }
        if fixed {
            self.ledger.took(class, was_split, size, whole - size);
        }
        self.ledger.allocated(class, size, request.asked);
        if self.split.is_oversize(size) {
            self.ledger.oversize_allocations.up(1);
        }
        Grant { block: found, address, size }
    }

    /// As [`State::hand_out`], off the fast path: the request is recorded, if requests are.
    #[inline(never)]
    pub(crate) fn finish(&mut self, request: &Request, found: BlockId) -> Grant {
        let grant = self.hand_out(request, found);
        self.note_alloc(request, &grant);
        grant
    }

    /// Keeps `size` bytes of a block and makes a free block of the rest.
    #[expect(clippy::inline_always, reason = "the hot path is one function without spills")]
    #[inline(always)]
    fn cut_off_rest(&mut self, front: BlockId, size: Bytes) {
        let id = self.blocks.twin(front);
        let (all, _) = self.blocks.parts();
        let block = &mut all[front.index()];
        let (pool, stream, expandable) = (block.pool, block.stream, block.expandable);
        let (address, place) = (block.address + size, block.place + size.get());
        let (next, rest) = (block.next, block.size - size);
        block.size = size;
        block.next = id;
        if next.is_some() {
            all[next.index()].prev = id;
        }
        let pool_of = &mut self.pools[usize::from(pool)];
        let block = &mut all[id.index()];
        block.address = address;
        block.size = rest;
        block.place = place;
        block.requested = Bytes::ZERO;
        block.free_since = pool_of.searches;
        block.prev = front;
        block.next = next;
        block.expandable = expandable;
        block.events = 0;
        block.pool = pool;
        block.stream = stream;
        block.state = BlockState::Free;
        block.used_elsewhere = false;
        block.raw = false;
        pool_of.list_block(stream, Entry { key: Key { size: rest, place }, block: id });
    }

    /// Where the blocks of a new segment come among all blocks.
    pub(crate) fn place_segment(&mut self, size: Bytes) -> u64 {
        let place = self.places;
        self.places += size.get();
        place
    }

    /// Whether the pool's blocks are always handed out whole.
    #[inline]
    fn never_cuts(&self, pool: usize) -> bool {
        pool >= SHARED_POOLS && self.owner_of(pool).is_some_and(|owner| owner.options.no_split)
    }

    /// The private pool that a pool belongs to.
    pub(crate) fn owner_of(&self, pool: usize) -> Option<&PrivatePool> {
        self.private.get(&self.pools[pool].owner?)
    }
}
