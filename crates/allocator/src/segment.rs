//! Segments of fixed size: one allocation of the device each.

use freeboard_device::{Device, DeviceError};
use freeboard_snapshot::Action;
use freeboard_units::{Address, AddressRange, Bytes};

use crate::acquire::Attempt;
use crate::block::{Block, BlockId};
use crate::error::Error;
use crate::request::Request;
use crate::state::State;

impl<D: Device> State<D> {
    /// Takes memory for a request from the device. The block is free, and in no list.
    ///
    /// `None` where the device has too little or the limit forbids it. Refuses early if so told.
    pub(crate) fn grow(
        &mut self,
        request: &Request,
        attempt: Attempt,
    ) -> Result<Option<BlockId>, Error> {
        self.ledger.num_alloc_retries += i64::from(attempt == Attempt::Retry);
        let size = request.segment_size(self.config.large_segment_size);
        if !self.limit.allows(self.held, size) {
            return Ok(None);
        }
        if self.limit.rejects(self.held, size, self.total) {
            return Err(self.reject(request));
        }
        if self.split.expandable {
            return self.grow_expandable(request);
        }
        match self.device.allocate(size) {
            Ok(address) => Ok(Some(self.add_segment(request, address, size))),
            Err(DeviceError::OutOfMemory { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn add_segment(&mut self, request: &Request, address: Address, size: Bytes) -> BlockId {
        tracing::debug!(%address, %size, stream = %self.streams.id(request.stream), "segment");
        let place = self.place_segment(size);
        self.held += size;
        self.ledger.segment.up(request.class, 1);
        self.ledger.reserved_bytes.up(request.class, size.as_i64());
        if self.split.is_oversize(size) {
            self.ledger.oversize_segments.up(1);
        }
        self.ledger.num_device_alloc += 1;
        self.pools[usize::from(request.pool)].segments += 1;
        let range = AddressRange::new(address, size);
        self.note(Action::SegmentAlloc, range, request.stream, request.pool);
        self.blocks.insert(Block {
            address,
            size,
            place,
            pool: request.pool,
            stream: request.stream,
            ..Block::BLANK
        })
    }

    /// Gives a segment that is one free block back to the device.
    pub(crate) fn release_segment(&mut self, id: BlockId) -> Result<(), Error> {
        let block = &self.blocks[id];
        debug_assert!(block.is_free() && !block.is_split() && !block.is_expandable());
        let (address, size, pool) = (block.address, block.size, usize::from(block.pool));
        let (range, stream, number) = (block.range(), block.stream, block.pool);
        self.device.free(address)?;
        self.note(Action::SegmentFree, range, stream, number);
        tracing::debug!(%address, %size, "segment given back");
        let class = self.pools[pool].class;
        self.pools[pool].remove(&self.blocks[id]);
        self.pools[pool].segments -= 1;
        self.blocks.remove(id);
        self.held -= size;
        self.ledger.segment.down(class, 1);
        self.ledger.reserved_bytes.down(class, size.as_i64());
        if self.split.is_oversize(size) {
            self.ledger.oversize_segments.down(1);
        }
        self.ledger.num_device_free += 1;
        Ok(())
    }
}
