//! [`Mover`]: values to pinned host memory and back, beside computation.

mod states;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use freeboard_allocator::CachingAllocator;
use freeboard_buffer::{BufferError, Element, InFlight, Pinned, PinnedAllocator};
use freeboard_device::Transfer;
use freeboard_units::{Bytes, StreamId};
use parking_lot::Mutex;

use crate::lane::Lane;
use crate::movable::{Buffers, BuffersMut, Movable, Room};
use crate::{MoverStats, OffloadError, Stuck};

pub use states::{Away, Leaving, Returning};
use states::{Host, Part};

/// What a mover is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoverConfig {
    /// Whether the program waits where a copy must be done, or only the streams of the device do;
    /// yes. The program's waits are timed, and what it releases can be used at once. Without them it
    /// runs ahead of the device, as programs for GPUs do, and memory that is released is free when the
    /// device comes to it.
    pub wait_on_host: bool,
    /// Whether two threads note when copies begin and end, for [`MoverStats::copying`]; yes.
    pub timed: bool,
}

impl Default for MoverConfig {
    fn default() -> Self {
        Self { wait_on_host: true, timed: true }
    }
}

/// Moves values between a device and pinned host memory, on a stream of its own in each direction.
///
/// A move has two halves. [`depart`](Self::depart) begins to copy a value out, after what its home
/// streams have been given until then, and the value may be read on; [`release`](Self::release) waits
/// until that is done and gives its device memory back. [`fetch`](Self::fetch) takes device memory
/// and begins to copy back; [`arrive`](Self::arrive) waits until that is done. The streams live as
/// long as the device: keep a mover rather than make one for each step.
///
/// ```
/// use std::sync::Arc;
///
/// use freeboard_allocator::{CachingAllocator, Config};
/// use freeboard_buffer::DeviceBuffer;
/// use freeboard_device_host::HostDevice;
/// use freeboard_offload::{Mover, MoverConfig};
/// use freeboard_units::{Bytes, StreamId};
///
/// let device = HostDevice::new(Bytes::mib(64))?;
/// let allocator = Arc::new(CachingAllocator::new(device, Config::default())?);
/// let mover = Mover::new(&allocator, MoverConfig::default())?;
/// let activation = DeviceBuffer::filled(&allocator, 1 << 20, 0.5_f32, StreamId::DEFAULT)?;
///
/// let leaving = mover.depart(&activation)?; // compute beside it
/// let away = mover.release(activation, leaving)?;
/// assert_eq!(allocator.stats().allocated_bytes.all.current, 0);
/// let returning = mover.fetch(away)?; // compute beside it
/// let activation = mover.arrive(returning)?;
/// assert_eq!(activation.slice(..2)?.to_vec()?, [0.5, 0.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mover<D: Transfer> {
    config: MoverConfig,
    host: PinnedAllocator<D>,
    pub(crate) out: Lane<D>,
    pub(crate) back: Lane<D>,
    counts: Mutex<MoverStats>,
}

impl<D: Transfer + Send + Sync + 'static> Mover<D> {
    /// A mover with two new streams and pinned memory of its own.
    ///
    /// # Errors
    /// When the device gives no streams, or this machine no threads.
    pub fn new(
        allocator: &Arc<CachingAllocator<D>>,
        config: MoverConfig,
    ) -> Result<Self, OffloadError> {
        let host = PinnedAllocator::new(allocator)
            .map_err(OffloadError::buffer("pinned memory", "setting it up"))?;
        let stream = || {
            allocator.device().create_stream().map_err(OffloadError::device("a stream for copies"))
        };
        Self::with_streams(allocator, host, [stream()?, stream()?], config)
    }

    /// A mover that copies to the host on the first stream, and back on the second, which may be the
    /// same. No other work should be on them; they must live as long as the device.
    ///
    /// # Errors
    /// When this machine gives no threads.
    pub fn with_streams(
        allocator: &Arc<CachingAllocator<D>>,
        host: PinnedAllocator<D>,
        streams: [StreamId; 2],
        config: MoverConfig,
    ) -> Result<Self, OffloadError> {
        let [out, back] = streams;
        let out = Lane::new(allocator, out, config.timed)?;
        let back = Lane::new(allocator, back, config.timed)?;
        Ok(Self { config, host, out, back, counts: Mutex::default() })
    }
}

impl<D: Transfer + 'static> Mover<D> {
    /// Begins to copy a value's buffers to the host. They may be read meanwhile; who writes them
    /// waits for the copies, on the device.
    ///
    /// # Errors
    /// When there is no pinned memory, or the device fails.
    pub fn depart(&self, value: &(impl Movable<D> + ?Sized)) -> Result<Leaving<D>, OffloadError> {
        let mut parts = Vec::new();
        let listed = Buffers::of(value).list;
        let first = listed.first().map(|(_, place)| place.home());
        let begin = first.and_then(|home| self.out.begin_after(home));
        for (name, place) in listed {
            let copy = place.copy_out(&self.host, self.out.stream);
            let copy = copy.map_err(OffloadError::buffer(name, "copying it to the host"))?;
            let (name, host) = (name.to_owned(), Host::Moving(copy));
            parts.push(Part { name, len: place.len(), size: place.size(), host });
        }
        self.out.end(begin);
        let leaving = Leaving { parts };
        self.count(leaving.size(), Bytes::ZERO);
        Ok(leaving)
    }

    /// Waits until a value is on the host, and gives its device memory back.
    ///
    /// # Errors
    /// [`OffloadError::Changed`] when these are not the copies of this value, or the device failed.
    /// The value comes back, as it is on the device.
    pub fn release<V: Movable<D>>(
        &self,
        mut value: V,
        leaving: Leaving<D>,
    ) -> Result<Away<V, D>, Stuck<V>> {
        let Leaving { mut parts } = leaving;
        let listed = Buffers::of(&value);
        let is_right = |number: usize, part: &Part<D>| listed.list[number].1.len() == part.len;
        let mut outcome = states::check(&parts, &listed, is_right);
        if outcome.is_ok() && self.config.wait_on_host {
            outcome = self.settle_all(&mut parts, "waiting for its copy to the host");
        }
        if let Err(error) = outcome {
            return Err(Stuck::new(error, value));
        }
        vacate(&mut value);
        Ok(Away { value, parts })
    }

    /// Takes device memory for a value and begins to copy it back.
    ///
    /// # Errors
    /// When there is no device memory ([`OffloadError::out_of_memory`]), or the device fails; the
    /// value comes back, still on the host.
    pub fn fetch<V: Movable<D>>(
        &self,
        mut away: Away<V, D>,
    ) -> Result<Returning<V, D>, Stuck<Away<V, D>>> {
        match self.begin_back(&mut away) {
            Ok(rooms) => Ok(Returning { away, rooms }),
            Err(error) => Err(Stuck::new(error, away)),
        }
    }

    fn begin_back<V: Movable<D>>(
        &self,
        away: &mut Away<V, D>,
    ) -> Result<Vec<Box<dyn Room<D>>>, OffloadError> {
        let listed = Buffers::of(&away.value);
        states::check(&away.parts, &listed, |_, _| true)?;
        self.settle_all(&mut away.parts, "waiting for its copy to the host")?;
        let rooms = listed.list.iter().zip(&away.parts).map(|((name, place), part)| {
            let room = place.make_room(part.len, self.back.stream);
            room.map_err(OffloadError::buffer(*name, "taking device memory for it"))
        });
        let mut rooms = rooms.collect::<Result<Vec<_>, _>>()?;
        let begin = self.back.begin();
        for (part, room) in away.parts.iter_mut().zip(&mut rooms) {
            part.start(&mut **room)?;
        }
        self.back.end(begin);
        self.count(Bytes::ZERO, away.size());
        Ok(rooms)
    }

    /// Waits until a value is back.
    ///
    /// # Errors
    /// [`OffloadError::Changed`] when it lists other buffers than before, or the device failed. It
    /// comes back as it is.
    pub fn arrive<V: Movable<D>>(
        &self,
        returning: Returning<V, D>,
    ) -> Result<V, Stuck<Returning<V, D>>> {
        Ok(self.land(returning, self.config.wait_on_host)?.value)
    }

    /// The same; what is on the host stays there as well, if it was waited for.
    pub(crate) fn land<V: Movable<D>>(
        &self,
        mut returning: Returning<V, D>,
        wait: bool,
    ) -> Result<Away<V, D>, Stuck<Returning<V, D>>> {
        let Returning { away: Away { value, parts }, rooms } = &mut returning;
        let listed = Buffers::of(value);
        let is_right = |number: usize, _: &Part<D>| listed.list[number].1.fits(&*rooms[number]);
        let mut outcome = states::check(parts, &listed, is_right);
        if outcome.is_ok() && wait {
            outcome = self.settle_all(parts, "waiting for its copy to the device");
        }
        if let Err(error) = outcome {
            return Err(Stuck::new(error, returning));
        }
        let Returning { mut away, rooms } = returning;
        for ((_, place), room) in BuffersMut::of(&mut away.value).list.into_iter().zip(rooms) {
            place.refill(room);
        }
        Ok(away)
    }

    fn settle_all(&self, parts: &mut [Part<D>], doing: &'static str) -> Result<(), OffloadError> {
        parts.iter_mut().try_for_each(|part| part.settle(doing, |copy| self.wait(copy)))
    }

    /// Waits until all copies that were begun are done, and timed.
    ///
    /// # Errors
    /// When the device failed.
    pub fn synchronize(&self) -> Result<(), OffloadError> {
        self.out.synchronize()?;
        self.back.synchronize()
    }

    /// What was moved until now. Copies are timed when they are done.
    #[must_use]
    pub fn stats(&self) -> MoverStats {
        let copying = self.out.copying() + self.back.copying();
        MoverStats { copying, ..*self.counts.lock() }
    }

    /// The pinned memory that values go to.
    #[must_use]
    pub const fn host(&self) -> &PinnedAllocator<D> {
        &self.host
    }

    /// Counts a move.
    pub(crate) fn count(&self, out: Bytes, back: Bytes) {
        let mut counts = self.counts.lock();
        counts.bytes_out += out;
        counts.bytes_back += back;
        counts.moves += 1;
    }

    /// Waits for a transfer, and counts that.
    pub(crate) fn wait<T: Element>(
        &self,
        mut copy: InFlight<T, D>,
    ) -> Result<Pinned<T, D>, BufferError> {
        if copy.is_done().unwrap_or(false) {
            return copy.wait();
        }
        let began = Instant::now();
        let outcome = copy.wait();
        let mut counts = self.counts.lock();
        counts.waits += 1;
        counts.waited += began.elapsed();
        outcome
    }
}

/// Gives a value's device memory back.
pub(crate) fn vacate<D: Transfer + 'static>(value: &mut impl Movable<D>) {
    for (buffer, place) in BuffersMut::of(value).list {
        if let Err(error) = place.vacate() {
            tracing::error!(%error, buffer, "it stays on the device beside its copy");
        }
    }
}

impl<D: Transfer> fmt::Debug for Mover<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mover")
            .field("config", &self.config)
            .field("streams", &[self.out.stream, self.back.stream])
            .finish_non_exhaustive()
    }
}
