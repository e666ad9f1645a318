//! Blocks known by their bare address, for callers that cannot keep a handle.

use freeboard_device::Device;
use freeboard_units::Address;

use crate::block::BlockId;
use crate::error::Error;
use crate::state::State;

impl<D: Device> State<D> {
    /// Makes an allocated block known by its address.
    pub(crate) fn expose(&mut self, id: BlockId) {
        let block = &mut self.blocks[id];
        block.raw = true;
        self.raw.insert(block.address, id);
    }

    /// The block known by this address.
    pub(crate) fn exposed(&self, address: Address) -> Result<BlockId, Error> {
        self.raw.get(&address).copied().ok_or(Error::UnknownAddress { address })
    }

    /// The block known by this address, which is then forgotten.
    pub(crate) fn withdraw(&mut self, address: Address) -> Result<BlockId, Error> {
        let id = self.raw.remove(&address).ok_or(Error::UnknownAddress { address })?;
        self.blocks[id].raw = false;
        Ok(id)
    }

    /// Gives back what is not in use; while a graph is captured, only released private pools.
    pub(crate) fn empty_cache(&mut self) -> Result<(), Error> {
        if self.is_capturing() {
            return self.release_freeable();
        }
        self.flush()
    }

    /// Gives everything back at the end. What is still allocated by bare address stays.
    pub(crate) fn close(&mut self) {
        self.captures.clear();
        self.disengage();
        for pool in self.private.values_mut() {
            pool.abandon();
        }
        // A second time for what an error kept back the first time.
        if let Err(error) = self.give_up().or_else(|_| self.give_up()) {
            tracing::error!(%error, "memory could not be given back");
        }
        for event in self.spare_events.drain(..) {
            if let Err(error) = self.device.destroy_event(event) {
                tracing::error!(%error, "an event could not be given back");
            }
        }
        if !self.raw.is_empty() {
            tracing::warn!(allocations = self.raw.len(), "still allocated by bare address");
        }
    }

    /// Gives back what is free, addresses included.
    fn give_up(&mut self) -> Result<(), Error> {
        let flushed = self.flush();
        flushed.and(self.release_unused_addresses()).and(self.close_stitching())
    }
}
