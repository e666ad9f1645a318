//! Questions about the state that `PyTorch` has no answer to.

use freeboard_device::Device;
use freeboard_units::{Bytes, StreamId};
use serde::{Deserialize, Serialize};

use crate::block::BlockState;
use crate::error::Error;
use crate::free_list::FreeList;
use crate::private::PrivatePool;
use crate::state::State;
use crate::stats::Class;

/// Why free memory may not serve a request, in bytes, as one stream sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fragmentation {
    /// Bytes held and free, whatever their stream and pool.
    pub free: Bytes,
    /// The largest free block of this stream.
    pub largest_free: Bytes,
    /// Free bytes of this stream outside its largest free block.
    pub scattered: Bytes,
    /// Free bytes that belong to other streams.
    pub stranded: Bytes,
    /// Bytes given back but still used by another stream.
    pub pending: Bytes,
    /// Bytes in blocks handed out or pending beyond what was asked for.
    pub rounding: Bytes,
}

impl Fragmentation {
    /// The part of the free bytes that the largest request from cache could not use, from 0 (all
    /// free memory in one block) to 1.
    #[must_use]
    pub fn external(&self) -> f64 {
        if self.free.is_zero() {
            return 0.0;
        }
        1.0 - self.largest_free.as_f64() / self.free.as_f64()
    }
}

/// The allocator's own memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Bookkeeping {
    /// Blocks of every state.
    pub blocks: usize,
    /// Bytes of host memory that the books take: 68 per block ever alive at one time, 24 per free
    /// block (up to twice that while lists grow), and 16 KiB per pool and stream that ever had a
    /// free block.
    pub bytes: Bytes,
}

impl<D: Device> State<D> {
    /// How scattered free memory is, as `stream` sees it.
    pub(crate) fn fragmentation(&self, stream: StreamId) -> Fragmentation {
        let own = self.streams.find(stream);
        let [mut largest_free, mut mine, mut stranded] = [Bytes::ZERO; 3];
        let [mut pending, mut rounding] = [Bytes::ZERO; 2];
        for (_, block) in self.blocks.iter() {
            match block.state {
                BlockState::Free if Some(block.stream) == own => {
                    mine += block.size;
                    largest_free = largest_free.max(block.size);
                }
                BlockState::Free => stranded += block.size,
                BlockState::Allocated => rounding += block.size - block.requested,
                BlockState::Pending => {
                    pending += block.size;
                    rounding += block.size - block.requested;
                }
                BlockState::Unmapped => {}
            }
        }
        let free = mine + stranded;
        let scattered = mine - largest_free;
        Fragmentation { free, largest_free, scattered, stranded, pending, rounding }
    }

    /// The largest request that `stream` could have served now.
    pub(crate) fn largest_servable(&self, stream: StreamId) -> Result<Bytes, Error> {
        let large = &self.pools[Class::Large as usize];
        let own = self.streams.find(stream);
        let fits = |size| self.split.may_serve(size, size);
        let cached = own.and_then(|own| large.list(own)).map_or(Bytes::ZERO, |list| {
            list.iter()
                .map(|entry| entry.key.size)
                .filter(|size| fits(*size))
                .max()
                .unwrap_or_default()
        });
        let releasable: Bytes = self.releasable();
        let device = self.device.info()?.free + releasable;
        let limit = self.limit.allowed.unwrap_or(Bytes::MAX);
        let room = device.min(limit.saturating_sub(self.held - releasable));
        let grown = if self.split.expandable {
            let page = self.config.large_segment_size;
            let tail = own.map_or(Bytes::ZERO, |own| self.growing_end(own));
            // The limit is checked against the request, the device asked only for what is missing.
            (tail + device.align_down(page))
                .min(room.align_down(Bytes::mib(2)))
                .min(self.expandable_reserve())
        } else {
            room.align_down(Bytes::mib(2))
        };
        let small = own
            .and_then(|own| self.pools[Class::Small as usize].list(own)?.largest())
            .map_or(Bytes::ZERO, |entry| entry.key.size.min(Bytes::mib(1)));
        let grown = if !self.split.expandable && grown < self.config.large_segment_size {
            // Between 1 and 10 MiB a whole large segment is needed.
            if grown >= Bytes::mib(10) { grown } else { grown.min(Bytes::mib(1)) }
        } else {
            grown
        };
        Ok(cached.max(grown).max(small))
    }

    /// Bytes that a flush would give back.
    fn releasable(&self) -> Bytes {
        let free = self.blocks.iter().filter(|(_, block)| block.is_free());
        free.filter(|(_, block)| {
            let pool = usize::from(block.pool);
            self.pools[pool].owner.is_none()
                || self.owner_of(pool).is_some_and(PrivatePool::is_freeable)
        })
        .map(|(_, block)| match self.expandable.get(block.expandable as usize) {
            Some(Some(segment)) => segment.whole_page_bytes(block.range()),
            _ if block.is_split() => Bytes::ZERO,
            _ => block.size,
        })
        .sum()
    }

    /// What a flush leaves mapped and free right before unmapped addresses of a large segment.
    fn growing_end(&self, stream: u16) -> Bytes {
        let ends = self.blocks.iter().filter(|(_, block)| {
            block.is_free()
                && block.stream == stream
                && block.pool == Class::Large as u16
                && block.is_expandable()
        });
        ends.map(|(_, block)| {
            let page = self.config.large_segment_size;
            let segment = self.expandable[block.expandable as usize].as_ref();
            let start = segment.map_or(block.address, |segment| segment.range().start());
            let front =
                block.address.offset_from(start).align_up(page) - block.address.offset_from(start);
            front.min(block.size)
        })
        .max()
        .unwrap_or_default()
    }

    /// The books' own size.
    pub(crate) fn bookkeeping(&self) -> Bookkeeping {
        let (blocks, places) = self.blocks.counts();
        let arena = places * (size_of::<crate::block::Block>() + 4);
        let lists: usize = self.pools.iter().flat_map(|pool| &pool.free).map(FreeList::bytes).sum();
        Bookkeeping { blocks, bytes: Bytes::new((arena + lists) as u64) }
    }
}
