//! The largest request that would be served now: the ladder's answer without climbing it.

use freeboard_device::Device;
use freeboard_units::{Address, AddressRange, Bytes, StreamId};

use crate::block::{Block, BlockId, BlockState};
use crate::error::Error;
use crate::policy::{placement, rounding};
use crate::private::PrivatePool;
use crate::state::State;
use crate::stats::Class;

/// Neighbouring blocks of an expandable segment that are free or unmapped.
struct Run {
    start: Address,
    size: Bytes,
    /// Bytes before its first whole page: they stay mapped when pages are given back.
    front: Bytes,
}

impl<D: Device> State<D> {
    /// The largest request that `stream` could have served now, pending blocks left aside.
    pub(crate) fn largest_servable(&self, stream: StreamId) -> Result<Bytes, Error> {
        if self.stitch.on {
            return Ok(rounding::largest_within(self.largest_stitched()?, self.roundup.as_ref()));
        }
        let own = self.streams.find(stream);
        let within = |size| rounding::largest_within(size, self.roundup.as_ref());
        let cached = |class| {
            let list = own.and_then(|own| self.pools[class as usize].list(own));
            let sizes = list.into_iter().flat_map(|list| list.iter().map(|entry| entry.key.size));
            sizes.filter(|&size| self.split.may_serve(size, size)).max().unwrap_or_default()
        };
        let [grown_small, grown_large] = self.largest_grown(own)?;
        let small = within(cached(Class::Small).min(placement::SMALL).max(grown_small));
        let large = within(cached(Class::Large).max(grown_large));
        // A request that fits into 1 MiB is not served from the large pool.
        Ok(if large > placement::SMALL { large } else { small })
    }

    /// The largest requests that growing the small and the large pool would serve, after everything
    /// is given back that can be.
    fn largest_grown(&self, own: Option<u16>) -> Result<[Bytes; 2], Error> {
        let releasable = self.releasable();
        let free = self.device.info()?.free + releasable;
        let allowed = self.limit.allowed.unwrap_or(Bytes::MAX);
        // An early refusal comes before anything is given back.
        let early = self.limit.room_before_rejection(self.held, self.total);
        let limit = allowed.saturating_sub(self.held - releasable).min(early);
        let fits = free.min(limit) >= placement::SMALL_SEGMENT;
        let small = if fits { placement::SMALL } else { Bytes::ZERO };
        // The limit is asked for a whole segment; up to 10 MiB that is a large one.
        let within_segments = |room: Bytes| {
            let size = room.align_down(placement::PAGE);
            if size >= placement::OWN_SEGMENT { size } else { Bytes::ZERO }
        };
        let large = if self.split.expandable {
            let pages = free.align_down(self.growth(Class::Large).unit);
            self.largest_mapped(own, pages).min(within_segments(limit))
        } else {
            within_segments(free.min(limit))
        };
        Ok([small, large])
    }

    /// The largest request that mapping up to `pages` bytes of pages would serve.
    ///
    /// The first run that is long enough is taken, whatever its front saves.
    fn largest_mapped(&self, own: Option<u16>, pages: Bytes) -> Bytes {
        let mut runs = own.map_or_else(Vec::new, |own| self.runs(own));
        runs.sort_by_key(|run| run.start);
        let reserve = self.expandable_reserve().align_up(self.config.large_segment_size);
        let fresh = Run { start: Address::NULL, size: reserve, front: Bytes::ZERO };
        let (mut best, mut longest) = (Bytes::ZERO, Bytes::ZERO);
        for run in runs.iter().chain([&fresh]) {
            let size = run.size.min(run.front.saturating_add(pages));
            if size > longest {
                best = best.max(size);
            }
            longest = longest.max(run.size);
        }
        best
    }

    /// The runs of a stream's large expandable segments that have a whole page.
    fn runs(&self, own: u16) -> Vec<Run> {
        let usable = |block: &Block| matches!(block.state, BlockState::Free | BlockState::Unmapped);
        let begins = |block: &Block| {
            block.is_expandable()
                && (block.pool, block.stream) == (Class::Large as u16, own)
                && usable(block)
                && (block.prev.is_none() || !usable(&self.blocks[block.prev]))
        };
        let heads = self.blocks.iter().filter(|(_, block)| begins(block));
        let run = |(id, block): (BlockId, &Block)| {
            let (mut size, mut next) = (Bytes::ZERO, id);
            while next.is_some() && usable(&self.blocks[next]) {
                size += self.blocks[next].size;
                next = self.blocks[next].next;
            }
            let segment = self.expandable[block.expandable as usize].as_ref()?;
            let front = segment.front(AddressRange::new(block.address, size));
            let unit = segment.growth().unit;
            (front + unit <= size).then_some(Run { start: block.address, size, front })
        };
        heads.filter_map(run).collect()
    }

    /// Bytes that a flush would give back.
    fn releasable(&self) -> Bytes {
        let free = self.blocks.iter().filter(|(_, block)| block.is_free());
        let goes = |pool: usize| {
            let shared = self.pools[pool].owner.is_none();
            shared || self.owner_of(pool).is_some_and(PrivatePool::is_freeable)
        };
        free.filter(|(_, block)| goes(usize::from(block.pool)))
            .map(|(_, block)| match self.expandable.get(block.expandable as usize) {
                Some(Some(segment)) => segment.whole_page_bytes(block.range()),
                _ if block.is_split() => Bytes::ZERO,
                _ => block.size,
            })
            .sum()
    }
}
