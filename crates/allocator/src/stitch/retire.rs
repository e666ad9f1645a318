//! Streams that are about to go.

use freeboard_device::Device;
use freeboard_units::StreamId;

use super::repaint::Coat;
use crate::allocator::CachingAllocator;
use crate::block::BlockId;
use crate::policy::stitching::SHARED_POOLS;
use crate::state::State;

impl<D: Device> CachingAllocator<D> {
    /// Announces that all work on a stream is done and none will follow, before it is destroyed.
    ///
    /// What was freed there serves other streams without an event, which a destroyed stream could not
    /// record any more. Allocations made on it may be freed later all the same.
    pub fn retire_stream(&self, stream: StreamId) {
        let mut state = self.state.lock();
        self.state.slowly(&mut state, |state| state.retire(stream));
    }
}

impl<D: Device> State<D> {
    fn retire(&mut self, stream: StreamId) {
        let Some(number) = self.streams.find(stream).filter(|_| self.stitch.on) else { return };
        self.pause_planning();
        // Any other stream may have what nobody uses any more.
        let heir = u16::from(number == 0);
        if heir < self.streams.count() {
            for pool in 0..SHARED_POOLS {
                while let Some(id) = self.first_free(pool, number) {
                    let range = self.blocks[id].range();
                    let free = Coat::Free { stream: heir, since: 0 };
                    self.repaint(id, id, &[(range, free)], range.start());
                }
            }
        }
        self.stitch.orders.retire(number);
        self.lower_fence();
    }

    fn first_free(&self, pool: usize, stream: u16) -> Option<BlockId> {
        self.pools[pool].list(stream)?.iter().next().map(|entry| entry.block)
    }
}
