//! [`Block`]: memory with a home stream, and the other streams that were let in.
//!
//! Whoever lets a stream in makes it wait for the work before; whoever is done makes the work after
//! wait for it. That is [`Entered`], from its creation to its drop. Until then the block keeps a
//! [`Visit`], so that nothing goes wrong if a guard is leaked: work that conflicts with a visit
//! waits for the visitor's stream.

use std::fmt;

use freeboard_allocator::{Allocation, CachingAllocator};
use freeboard_device::{DeviceError, Transfer};
use freeboard_units::{Address, AddressRange, StreamId};
use parking_lot::Mutex;

use crate::BufferError;

/// Memory that belongs to one stream and is visited by others.
pub(crate) struct Block<D: Transfer> {
    pub(crate) allocation: Allocation<D>,
    /// The stream it belongs to.
    pub(crate) home: StreamId,
    visits: Mutex<Vec<Visit>>,
}

/// What a stream does with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A stream that was let in and has not left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Visit {
    stream: StreamId,
    range: AddressRange,
    access: Access,
}

impl Visit {
    /// Whether the two must not happen at once.
    fn conflicts(&self, other: &Self) -> bool {
        self.stream != other.stream
            && self.range.overlaps(other.range)
            && (self.access, other.access) != (Access::Read, Access::Read)
    }
}

impl<D: Transfer> Block<D> {
    pub(crate) fn new(allocation: Allocation<D>, home: StreamId) -> Self {
        Self { allocation, home, visits: Mutex::default() }
    }

    pub(crate) fn allocator(&self) -> &CachingAllocator<D> {
        self.allocation.allocator()
    }
}

/// A part of a block, and the stream that works on it. The one place where bytes are moved is
/// `transfer.rs`, which adds to this type.
pub(crate) struct Span<'a, D: Transfer> {
    pub(crate) block: &'a Block<D>,
    pub(crate) range: AddressRange,
    pub(crate) stream: StreamId,
}

impl<D: Transfer> Clone for Span<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Transfer> Copy for Span<'_, D> {}

impl<'a, D: Transfer> Span<'a, D> {
    pub(crate) fn address(self) -> Address {
        self.range.start()
    }

    /// Another part of the same block, on the same stream.
    pub(crate) fn part(self, range: AddressRange) -> Self {
        Self { range, ..self }
    }

    /// Makes this stream wait for those that were let in and never left, where they conflict.
    pub(crate) fn settle(self, access: Access) -> Result<(), DeviceError> {
        let own = Visit { stream: self.stream, range: self.range, access };
        let visits = self.block.visits.lock();
        let mut left = visits.iter().filter(|visit| visit.conflicts(&own));
        left.try_for_each(|visit| self.block.allocator().order(visit.stream, self.stream))
    }

    /// Lets another stream work on it, after what this stream has done until now. No driver call is
    /// made if it is the same stream, or if there is no memory.
    pub(crate) fn enter(
        self,
        stream: StreamId,
        access: Access,
    ) -> Result<Entered<'a, D>, BufferError> {
        if self.range.size().is_zero() {
            return Ok(Entered { from: self, stream, access });
        }
        self.settle(access)?;
        if stream != self.stream {
            self.block.allocation.record_use(stream)?;
            self.block.allocator().order(self.stream, stream)?;
            self.block.visits.lock().push(Visit { stream, range: self.range, access });
        }
        Ok(Entered { from: self, stream, access })
    }
}

/// A stream that was let in. Dropping it makes the stream that let it in wait for it.
#[must_use = "dropping it ends the visit"]
pub(crate) struct Entered<'a, D: Transfer> {
    from: Span<'a, D>,
    stream: StreamId,
    access: Access,
}

impl<'a, D: Transfer> Entered<'a, D> {
    /// What was entered, as the visitor's stream sees it.
    pub(crate) fn span(&self) -> Span<'a, D> {
        Span { stream: self.stream, ..self.from }
    }

    fn leave(&self) -> Result<(), DeviceError> {
        let Span { block, range, stream: home } = self.from;
        let (visitor, device) = (self.stream, block.allocator().device());
        block.allocator().order(visitor, home).or_else(|error| {
            tracing::error!(%error, %visitor, %home, "no event to wait for; waiting for the stream");
            device.synchronize_stream(visitor)
        })?;
        let visit = Visit { stream: visitor, range, access: self.access };
        let mut visits = block.visits.lock();
        if let Some(place) = visits.iter().position(|other| *other == visit) {
            visits.swap_remove(place);
        }
        Ok(())
    }
}

impl<D: Transfer> Drop for Entered<'_, D> {
    fn drop(&mut self) {
        if self.stream == self.from.stream || self.from.range.size().is_zero() {
            return;
        }
        // The visit stays on an error: later work waits for it.
        if let Err(error) = self.leave() {
            let visitor = self.stream;
            tracing::error!(%error, %visitor, "a stream that used a buffer could not be waited for");
        }
    }
}

impl<D: Transfer> fmt::Debug for Block<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("allocation", &self.allocation)
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}
