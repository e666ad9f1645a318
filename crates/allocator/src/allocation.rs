//! [`Allocation`]: memory that frees itself.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use freeboard_device::Device;
use freeboard_units::{Address, Bytes, StreamId};

use crate::allocator::CachingAllocator;
use crate::block::BlockId;
use crate::error::Error;
use crate::request::Grant;

/// An allocation that borrows its allocator: the cheapest handle.
pub type Borrowed<'a, D> = Allocation<D, &'a CachingAllocator<D>>;

/// Device memory owned by this value; dropping it gives the memory back.
///
/// `R` is how it knows its allocator: by reference ([`Borrowed`], from
/// [`allocate`](CachingAllocator::allocate)) or by [`Arc`] (from
/// [`allocate_shared`](CachingAllocator::allocate_shared)), which costs two more atomic
/// instructions.
///
/// Work on the allocation's own stream needs no synchronisation: the memory is reused in the order
/// of that stream. Work on another stream must be announced with
/// [`record_use`](Allocation::record_use).
#[must_use = "dropping it frees the memory"]
pub struct Allocation<D: Device, R: Deref<Target = CachingAllocator<D>> = Arc<CachingAllocator<D>>>
{
    allocator: R,
    address: Address,
    size: Bytes,
    /// None for an empty allocation, and once ownership has moved on.
    block: BlockId,
    device: PhantomData<fn() -> D>,
}

impl<D: Device, R: Deref<Target = CachingAllocator<D>>> Allocation<D, R> {
    #[inline]
    pub(crate) const fn new(allocator: R, granted: Grant) -> Self {
        let Grant { block, address, size } = granted;
        Self { allocator, address, size, block, device: PhantomData }
    }

    /// Where it begins, at a multiple of 512 bytes; [`Address::NULL`] if it has no bytes.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Bytes that may be used: what was asked for, rounded up.
    #[must_use]
    pub const fn size(&self) -> Bytes {
        self.size
    }

    /// Bytes asked for. Takes the allocator's lock.
    #[must_use]
    pub fn requested(&self) -> Bytes {
        self.allocator.look_up(self.block).map_or(Bytes::ZERO, |(requested, _)| requested)
    }

    /// The stream it belongs to; the default stream if it is empty. Takes the allocator's lock.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.allocator.look_up(self.block).map_or(StreamId::DEFAULT, |(_, stream)| stream)
    }

    /// Its allocator.
    #[must_use]
    pub fn allocator(&self) -> &CachingAllocator<D> {
        &self.allocator
    }

    /// How it knows its allocator: the reference, or the [`Arc`] that others may clone.
    #[must_use]
    pub const fn allocator_handle(&self) -> &R {
        &self.allocator
    }

    /// Announces that `stream` also works on this memory: once freed, it is reused only after the
    /// work put on that stream until then is done. Its own stream needs no announcement.
    ///
    /// # Errors
    /// When there are too many streams.
    pub fn record_use(&self, stream: StreamId) -> Result<(), Error> {
        if self.block.is_none() {
            return Ok(());
        }
        self.allocator.record_block_use(self.block, stream)
    }

    /// Announces that this memory will be kept beyond the step: weights, optimizer state, results.
    /// No plan will have a place for it. Takes the allocator's lock.
    pub fn keep(&self) {
        if self.block.is_some() {
            self.allocator.keep(self.block);
        }
    }

    /// Gives up ownership: the memory lives until its address is passed to
    /// [`free_raw`](CachingAllocator::free_raw) or [`claim`](CachingAllocator::claim).
    #[must_use = "the memory is lost without its address"]
    pub fn into_raw(mut self) -> Address {
        if self.block.is_some() {
            self.allocator.expose(self.block);
            self.block = BlockId::NONE; // nothing left for drop
        }
        self.address
    }
}

impl<D: Device, R: Deref<Target = CachingAllocator<D>>> Drop for Allocation<D, R> {
    #[inline]
    fn drop(&mut self) {
        if self.block.is_some() {
            self.allocator.free_block(self.block);
        }
    }
}

impl<D: Device, R: Deref<Target = CachingAllocator<D>>> fmt::Debug for Allocation<D, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allocation")
            .field("address", &format_args!("{}", self.address))
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
