//! [`Mover`]: values to pinned host memory and back, beside computation.

mod states;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use freeboard_allocator::CachingAllocator;
use freeboard_buffer::{InFlight, PinnedAllocator};
use freeboard_device::Transfer;
use freeboard_units::{Bytes, StreamId};
use parking_lot::Mutex;

use crate::lane::Lane;
use crate::movable::{Buffers, Listed, Movable};
use crate::{MoverStats, OffloadError, Stuck};

pub use states::{Away, Leaving, Returning};
use states::{Kept, Part};

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
/// let mut activation = DeviceBuffer::filled(&allocator, 1 << 20, 0.5_f32, StreamId::DEFAULT)?;
///
/// let leaving = mover.depart(&mut activation)?; // compute beside it
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
    /// When there is no pinned memory, or the device fails. The value is as it was.
    pub fn depart(
        &self,
        value: &mut (impl Movable<D> + ?Sized),
    ) -> Result<Leaving<D>, OffloadError> {
        let mut copies = Vec::new();
        let mut begin = None;
        let mut bytes = Bytes::ZERO;
        for Listed { name, place } in Buffers::of(value).list {
            if begin.is_none() {
                begin = self.out.begin();
            }
            let copy = place.copy_out(&self.host, self.out.stream);
            let copy = copy.map_err(OffloadError::buffer(name, "copying it to the host"))?;
            bytes += place.size();
            copies.push((name.to_owned(), place.len(), copy));
        }
        self.out.end(begin);
        let mut counts = self.counts.lock();
        counts.bytes_out += bytes;
        counts.moves += 1;
        Ok(Leaving { copies })
    }

    /// Waits until a value is on the host, and gives its device memory back.
    ///
    /// # Errors
    /// [`OffloadError::Changed`] when these are not the copies of this value; it comes back. Or when
    /// the device failed, so that its memory cannot be relied on: the value comes back whatever it
    /// holds.
    pub fn release<V: Movable<D>>(
        &self,
        mut value: V,
        leaving: Leaving<D>,
    ) -> Result<Away<V, D>, Stuck<V>> {
        let listed = Buffers::of(&mut value).list;
        if let Err(error) = leaving.check(&listed) {
            drop(listed);
            return Err(Stuck::new(error, value));
        }
        let mut kept = Vec::with_capacity(leaving.copies.len());
        for (name, len, copy) in leaving.copies {
            // Without waiting here, `InFlight` still guards the pinned memory, and `record_use` what
            // the device reads from.
            let pinned = if self.config.wait_on_host {
                self.wait(copy).map(Part::Here)
            } else {
                Ok(Part::Coming(copy))
            };
            match pinned {
                Ok(pinned) => kept.push(Kept { name, len, pinned }),
                Err(source) => {
                    let error = OffloadError::buffer(name, "waiting for its copy")(source);
                    drop(listed);
                    return Err(Stuck::new(error, value));
                }
            }
        }
        for Listed { name, place } in listed {
            if let Err(source) = place.vacate() {
                tracing::error!(error = %source, buffer = name, "stays on the device beside its copy");
            }
        }
        Ok(Away { value, kept })
    }

    /// Takes device memory for a value and begins to copy it back.
    ///
    /// # Errors
    /// When there is no device memory, or the device fails; the value comes back, still on the host.
    /// See [`OffloadError::out_of_memory`].
    pub fn fetch<V: Movable<D>>(
        &self,
        mut away: Away<V, D>,
    ) -> Result<Returning<V, D>, Stuck<Away<V, D>>> {
        let rooms = Buffers::of(&mut away.value).list;
        let rooms = away.kept_match(&rooms).and_then(|()| {
            let pairs = rooms.iter().zip(&away.kept);
            let made = pairs.map(|(listed, kept)| {
                let room = listed.place.make_room(kept.len, self.back.stream);
                room.map_err(OffloadError::buffer(listed.name, "taking device memory for it"))
            });
            made.collect::<Result<Vec<_>, _>>()
        });
        let mut rooms = match rooms {
            Ok(rooms) => rooms,
            Err(error) => return Err(Stuck::new(error, away)),
        };
        let begin = self.back.begin();
        let mut bytes = Bytes::ZERO;
        for (number, room) in rooms.iter_mut().enumerate() {
            let kept = &mut away.kept[number];
            if let Err(source) = kept.start(&mut **room) {
                let error = OffloadError::buffer(&kept.name, "copying it to the device")(source);
                // Copies that were begun go nowhere: their memory is given up when they are done.
                away.kept.iter_mut().for_each(Kept::stay);
                return Err(Stuck::new(error, away));
            }
            bytes += kept.bytes();
        }
        self.back.end(begin);
        let mut counts = self.counts.lock();
        counts.bytes_back += bytes;
        counts.moves += 1;
        drop(counts);
        Ok(Returning { away, rooms })
    }

    /// Waits until a value is back.
    ///
    /// # Errors
    /// [`OffloadError::Changed`] when it lists other buffers than before; it comes back. Or when the
    /// device failed.
    pub fn arrive<V: Movable<D>>(
        &self,
        returning: Returning<V, D>,
    ) -> Result<V, Stuck<Returning<V, D>>> {
        Ok(self.settle(returning, false)?.value)
    }

    /// As [`arrive`](Self::arrive), and keeps what is on the host: see [`forget`](Self::forget).
    pub(crate) fn settle<V: Movable<D>>(
        &self,
        mut returning: Returning<V, D>,
        keep: bool,
    ) -> Result<Away<V, D>, Stuck<Returning<V, D>>> {
        let listed = Buffers::of(&mut returning.away.value).list;
        let pairs = listed.iter().zip(&returning.rooms);
        let fits = pairs.fold(listed.len() == returning.rooms.len(), |fits, (listed, room)| {
            fits && listed.place.fits(&**room)
        });
        if !fits {
            let error = states::changed(&returning.away.kept, &listed);
            return Err(Stuck::new(error, returning));
        }
        drop(listed);
        if keep || self.config.wait_on_host {
            for number in 0..returning.away.kept.len() {
                let kept = &mut returning.away.kept[number];
                if let Err(source) = kept.land(|copy| self.wait(copy)) {
                    let doing = "waiting for its copy to the device";
                    let error = OffloadError::buffer(&kept.name, doing)(source);
                    return Err(Stuck::new(error, returning));
                }
            }
        }
        let Returning { mut away, rooms } = returning;
        let listed = Buffers::of(&mut away.value).list;
        for (listed, room) in listed.into_iter().zip(rooms) {
            listed.place.refill(room);
        }
        Ok(away)
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

    /// Waits for a transfer, and counts that.
    pub(crate) fn wait<T: freeboard_buffer::Element>(
        &self,
        mut copy: InFlight<T, D>,
    ) -> Result<freeboard_buffer::Pinned<T, D>, freeboard_buffer::BufferError> {
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

impl<D: Transfer> fmt::Debug for Mover<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mover")
            .field("config", &self.config)
            .field("streams", &[self.out.stream, self.back.stream])
            .finish_non_exhaustive()
    }
}
