//! Questions about the state that `PyTorch` has no answer to.

use freeboard_device::Device;
use freeboard_units::{Bytes, StreamId};
use serde::{Deserialize, Serialize};

use crate::block::{BlockState, PLANNED};
use crate::free_list::FreeList;
use crate::state::State;

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
    /// free block. Where memory is stitched, some 100 per mapping; where steps are planned, 1 to
    /// 16 MiB of records from the first recorded request on, and some 100 per request of a planned step;
    /// while history is recorded, 56 per event and 8 per block.
    pub bytes: Bytes,
}

impl<D: Device> State<D> {
    /// How scattered free memory is, as `stream` sees it.
    pub(crate) fn fragmentation(&self, stream: StreamId) -> Fragmentation {
        let own = self.streams.find(stream);
        let [mut largest_free, mut mine, mut stranded] = [Bytes::ZERO; 3];
        let [mut pending, mut rounding, mut set_aside, mut planned] = [Bytes::ZERO; 4];
        for (_, block) in self.blocks.iter() {
            let is_place = block.expandable == PLANNED;
            if is_place && block.state != BlockState::Plan {
                planned += block.size;
            }
            match block.state {
                BlockState::Free if Some(block.stream) == own => {
                    mine += block.size;
                    largest_free = largest_free.max(block.size);
                }
                BlockState::Free => stranded += block.size,
                BlockState::Allocated | BlockState::Planned => {
                    rounding += block.size - block.requested;
                }
                BlockState::Pending => {
                    pending += block.size;
                    rounding += block.size - block.requested;
                }
                BlockState::Plan if !is_place => set_aside += block.size,
                BlockState::Unmapped | BlockState::Plan => {}
            }
        }
        // What a plan has set aside and not handed out is free, but not in one piece.
        let free = mine + stranded + (set_aside - planned);
        let scattered = mine - largest_free;
        Fragmentation { free, largest_free, scattered, stranded, pending, rounding }
    }

    /// The books' own size.
    pub(crate) fn bookkeeping(&self) -> Bookkeeping {
        let (blocks, places) = self.blocks.counts();
        let arena = places * (size_of::<crate::block::Block>() + 4);
        let lists: usize = self.pools.iter().flat_map(|pool| &pool.free).map(FreeList::bytes).sum();
        let record = self.record.as_ref().map_or(0, |record| record.bytes());
        let bytes = arena + lists + self.stitch.bytes() + self.steady.bytes() + record;
        Bookkeeping { blocks, bytes: Bytes::new(bytes as u64) }
    }
}
