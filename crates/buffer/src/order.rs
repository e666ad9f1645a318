//! [`Block`]: memory with a home stream, and the other streams that were let in.
//!
//! Whoever lets a stream in makes it wait for the work before; whoever is done makes the work after
//! wait for it. That is [`Entered`], from its creation to its drop. Until then the block keeps a
//! [`Visit`], so that nothing goes wrong if a guard is leaked: work that conflicts with a visit
//! waits for the visitor's stream.

use std::fmt;

use freeboard_allocator::{Allocation, CachingAllocator};
use freeboard_device::{DeviceError, Transfer};
use freeboard_units::{Address, AddressRange, Bytes, StreamId};
use parking_lot::Mutex;

use crate::BufferError;

/// Memory that belongs to one stream and is visited by others.
pub(crate) struct Block<D: Transfer> {
    pub(crate) allocation: Allocation<D>,
    /// The stream it belongs to.
    pub(crate) home: StreamId,
    /// Where it begins.
    pub(crate) address: Address,
    /// Its home as cudarc has it, once somebody asked.
    #[cfg(feature = "cuda")]
    pub(crate) cudarc: std::sync::OnceLock<std::sync::Arc<cudarc::driver::CudaStream>>,
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
    /// Nobody will say when it leaves.
    lent: bool,
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
        Self {
            address: allocation.address(),
            allocation,
            home,
            #[cfg(feature = "cuda")]
            cudarc: std::sync::OnceLock::new(),
            visits: Mutex::default(),
        }
    }

    pub(crate) fn allocator(&self) -> &CachingAllocator<D> {
        self.allocation.allocator()
    }

    /// Makes `later` wait for what is on `earlier`; if that fails, waits for it here.
    fn order_or_wait(&self, earlier: StreamId, later: StreamId) -> Result<(), DeviceError> {
        self.allocator().order(earlier, later).or_else(|error| {
            tracing::error!(%error, %earlier, %later, "no event to wait for; waiting for the stream");
            self.allocator().device().synchronize_stream(earlier)
        })
    }
}

/// A part of a block, and the stream that works on it. The one place where bytes are moved is
/// `transfer.rs`, which adds to this type.
pub(crate) struct Span<'a, D: Transfer> {
    pub(crate) block: &'a Block<D>,
    pub(crate) address: Address,
    pub(crate) size: Bytes,
    pub(crate) stream: StreamId,
}

impl<D: Transfer> Clone for Span<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Transfer> Copy for Span<'_, D> {}

impl<'a, D: Transfer> Span<'a, D> {
    pub(crate) const fn range(self) -> AddressRange {
        AddressRange::new(self.address, self.size)
    }

    /// `size` bytes of it, `distance` bytes from its beginning on.
    pub(crate) fn part(self, distance: Bytes, size: Bytes) -> Self {
        Self { address: self.address + distance, size, ..self }
    }

    /// Makes this stream wait for those that were let in and never left, where they conflict.
    pub(crate) fn settle(self, access: Access) -> Result<(), DeviceError> {
        let own = Visit { stream: self.stream, range: self.range(), access, lent: false };
        let mut visits = self.block.visits.lock();
        let mut left = visits.iter().filter(|visit| visit.conflicts(&own));
        left.try_for_each(|visit| self.block.order_or_wait(visit.stream, self.stream))?;
        if self.stream == self.block.home {
            visits.retain(|visit| !visit.lent || !visit.conflicts(&own)); // home is past them now
        }
        Ok(())
    }

    /// Lets another stream work on it, after what this stream has done until now. No driver call is
    /// made if it is the same stream, or if there is no memory.
    pub(crate) fn enter(
        self,
        stream: StreamId,
        access: Access,
    ) -> Result<Entered<'a, D>, BufferError> {
        self.admit(stream, access, false)?;
        Ok(Entered { from: self, stream, access })
    }

    /// Lets another stream in that leaves without a word: later work that conflicts waits for all
    /// that is on it by then.
    #[cfg(feature = "cuda")]
    pub(crate) fn lend(self, stream: StreamId, access: Access) -> Result<(), BufferError> {
        self.admit(stream, access, true)
    }

    fn admit(self, stream: StreamId, access: Access, lent: bool) -> Result<(), BufferError> {
        if self.size.is_zero() {
            return Ok(());
        }
        self.settle(access)?;
        if stream != self.stream {
            self.block.allocation.record_use(stream)?;
            self.block.allocator().order(self.stream, stream)?;
            let visit = Visit { stream, range: self.range(), access, lent };
            let mut visits = self.block.visits.lock();
            if !lent || !visits.contains(&visit) {
                visits.push(visit);
            }
        }
        Ok(())
    }
}

/// A stream that was let in. Dropping it makes the stream that let it in wait for it.
#[must_use = "dropping it ends the visit"]
pub(crate) struct Entered<'a, D: Transfer> {
    pub(crate) from: Span<'a, D>,
    stream: StreamId,
    access: Access,
}

impl<'a, D: Transfer> Entered<'a, D> {
    /// What was entered, as the visitor's stream sees it.
    pub(crate) fn span(&self) -> Span<'a, D> {
        Span { stream: self.stream, ..self.from }
    }

    fn leave(&self) -> Result<(), DeviceError> {
        let Span { block, stream: home, .. } = self.from;
        let visitor = self.stream;
        block.order_or_wait(visitor, home)?;
        let range = self.from.range();
        let visit = Visit { stream: visitor, range, access: self.access, lent: false };
        let mut visits = block.visits.lock();
        if let Some(place) = visits.iter().position(|other| *other == visit) {
            visits.swap_remove(place);
        }
        Ok(())
    }
}

impl<D: Transfer> Drop for Entered<'_, D> {
    fn drop(&mut self) {
        if self.stream == self.from.stream || self.from.size.is_zero() {
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
