//! Streams that are about to go.

use freeboard_device::Device;
use freeboard_units::StreamId;

use super::repaint::Coat;
use crate::allocator::CachingAllocator;
use crate::block::{Block, BlockId};
use crate::policy::stitching::SHARED_POOLS;
use crate::state::State;

impl<D: Device> CachingAllocator<D> {
    /// Announces that all work on a stream is done and none will follow, before it is destroyed.
    ///
    /// Its memory, free or not, goes to the default stream, but for that of private pools; what was
    /// freed there serves every stream without an event, which a destroyed stream could not record
    /// any more. Does nothing for the default stream, which cannot be destroyed.
    pub fn retire_stream(&self, stream: StreamId) {
        let mut state = self.state.lock();
        self.state.slowly(&mut state, |state| state.retire(stream));
    }
}

impl<D: Device> State<D> {
    fn retire(&mut self, stream: StreamId) {
        let Some(number) = self.streams.find(stream) else { return };
        let Some(heir) = self.streams.number(StreamId::DEFAULT).filter(|&heir| heir != number)
        else {
            return;
        };
        for uses in self.uses.values_mut() {
            uses.streams.retain(|&used| used != number);
        }
        if !self.stitch.on {
            return;
        }
        self.pause_planning();
        for pool in 0..SHARED_POOLS {
            while let Some(id) = self.first_free(pool, number) {
                let range = self.blocks[id].range();
                let free = Coat::Free { stream: heir, since: 0 };
                self.repaint(id, id, &[(range, free)], range.start());
            }
        }
        let own = |(_, block): &(BlockId, &Block)| block.is_mapped() && block.stream == number;
        let live: Vec<BlockId> = self.blocks.iter().filter(own).map(|(id, _)| id).collect();
        for id in live {
            if self.is_stitched(usize::from(self.blocks[id].pool)) {
                self.blocks[id].stream = heir;
            }
        }
        self.stitch.orders.retire(number);
        self.lower_fence();
    }

    fn first_free(&self, pool: usize, stream: u16) -> Option<BlockId> {
        self.pools[pool].list(stream)?.iter().next().map(|entry| entry.block)
    }
}
