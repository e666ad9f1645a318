//! Streams by number: our own, and those that others made.

use std::sync::Arc;

use cudarc::driver::CudaStream;
use freeboard_device::{DeviceError, Result};
use freeboard_units::StreamId;
use rustc_hash::FxHashMap;

use crate::CudaDevice;
use crate::abi::{LEGACY_STREAM, NON_BLOCKING, PER_THREAD_STREAM};
use crate::device::Inner;

/// Numbers of ours, for drivers that number no streams, lie beyond the driver's.
const OWN_NUMBERS: u64 = 1 << 63;

/// A stream that the driver knows.
#[derive(Debug)]
struct Stream {
    handle: usize,
    owner: Owner,
}

/// A stream in use by a call.
pub(crate) struct Held {
    pub(crate) handle: usize,
    /// None for the default stream, which is always there.
    _stream: Option<Arc<Stream>>,
}

#[derive(Debug)]
enum Owner {
    /// Made by `create_stream`.
    Device,
    /// Somebody who promised to keep it alive.
    Caller,
    /// Kept alive by this.
    Cudarc(Arc<CudaStream>),
}

/// The streams known by number, without the default one.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    known: FxHashMap<StreamId, Arc<Stream>>,
    own_numbers: u64,
}

fn unknown(call: &'static str, stream: StreamId) -> DeviceError {
    let advice = "make it with `create_stream`, or make it known with `stream_of` or `stream_id`";
    DeviceError::InvalidCall { call, reason: format!("there is no {stream}: {advice}") }
}

impl CudaDevice {
    /// The number of a stream that cudarc made. The stream is kept until
    /// [`forget_stream`](Self::forget_stream), or until the device goes.
    ///
    /// # Errors
    /// When it belongs to another context, or is the per-thread default stream.
    pub fn stream_of(&self, stream: &Arc<CudaStream>) -> Result<StreamId> {
        if stream.context().cu_ctx().addr() != self.inner.context.handle {
            let reason = "the stream belongs to another device or context; use the device's own, \
                          from `CudaDevice::cudarc`";
            return Err(DeviceError::InvalidCall {
                call: "cuStreamGetId",
                reason: reason.to_owned(),
            });
        }
        let owner = Owner::Cudarc(Arc::clone(stream));
        self.inner.enlist(stream.cu_stream().addr(), owner)
    }

    /// The number of a stream, given by its handle (`CUstream`). The handles 0 and 1 are the
    /// default stream.
    ///
    /// A driver before CUDA 12.0 numbers no streams: there, a stream that is destroyed and whose
    /// handle is given to a new one counts as the same stream until it is forgotten.
    ///
    /// # Safety
    /// The handle is that of a stream of the device's primary context, and the stream lives until
    /// [`forget_stream`](Self::forget_stream), or until the device goes.
    ///
    /// # Errors
    /// When it is the per-thread default stream, which is another stream in every thread.
    pub unsafe fn stream_id(&self, handle: usize) -> Result<StreamId> {
        self.inner.enlist(handle, Owner::Caller)
    }

    /// Ends what [`stream_of`](Self::stream_of) or [`stream_id`](Self::stream_id) began.
    ///
    /// # Errors
    /// When there is no such stream, or the device made it itself: that is
    /// [`destroy_stream`](freeboard_device::Order::destroy_stream).
    pub fn forget_stream(&self, stream: StreamId) -> Result<()> {
        const CALL: &str = "cuStreamGetId";
        let mut streams = self.inner.streams.write();
        let found = streams.known.get(&stream).ok_or_else(|| unknown(CALL, stream))?;
        if matches!(found.owner, Owner::Device) {
            let reason = format!("{stream} was made here: destroy it");
            return Err(DeviceError::InvalidCall { call: CALL, reason });
        }
        if Arc::strong_count(found) > 1 {
            let reason = format!("{stream} is in use by another thread");
            return Err(DeviceError::InvalidCall { call: CALL, reason });
        }
        let forgotten = streams.known.remove(&stream);
        drop(streams);
        drop(forgotten); // may be the last owner, which then calls the driver
        Ok(())
    }

    /// The number of a cudarc stream that is known already; none if it is not, or belongs to
    /// another context. Makes no driver call.
    #[must_use]
    pub fn known_stream(&self, stream: &CudaStream) -> Option<StreamId> {
        if stream.context().cu_ctx().addr() != self.inner.context.handle {
            return None;
        }
        let handle = stream.cu_stream().addr();
        if handle <= LEGACY_STREAM {
            return Some(StreamId::DEFAULT);
        }
        let streams = self.inner.streams.read();
        let known = streams.known.iter().find(|(_, one)| one.handle == handle);
        known.map(|(&id, _)| id)
    }

    /// A stream as cudarc has it: one that [`stream_of`](Self::stream_of) made known, or the
    /// default stream.
    ///
    /// # Errors
    /// When it was not made by cudarc, or cudarc does not find the driver.
    pub fn cudarc_stream(&self, stream: StreamId) -> Result<Arc<CudaStream>> {
        const CALL: &str = "cuStreamGetId";
        if stream == StreamId::DEFAULT {
            let refused = |reason: String| DeviceError::InvalidCall { call: CALL, reason };
            let context = self.cudarc().map_err(|error| refused(error.to_string()))?;
            return Ok(context.default_stream());
        }
        let streams = self.inner.streams.read();
        match streams.known.get(&stream).map(|one| &one.owner) {
            Some(Owner::Cudarc(owner)) => Ok(Arc::clone(owner)),
            Some(_) => {
                let reason = format!(
                    "{stream} was not made by cudarc: make it there and make it \
                                      known with `stream_of`"
                );
                Err(DeviceError::InvalidCall { call: CALL, reason })
            }
            None => Err(unknown(CALL, stream)),
        }
    }

    /// The driver's handle (`CUstream`) of a stream; 0 for the default one.
    ///
    /// # Errors
    /// When there is no such stream.
    pub fn raw_stream(&self, stream: StreamId) -> Result<usize> {
        Ok(self.inner.stream("cuStreamGetId", stream)?.handle)
    }
}

impl Inner {
    /// A stream that stays alive while the answer does.
    pub(crate) fn stream(&self, call: &'static str, stream: StreamId) -> Result<Held> {
        if stream == StreamId::DEFAULT {
            return Ok(Held { handle: 0, _stream: None });
        }
        let found = self.streams.read().known.get(&stream).cloned();
        let found = found.ok_or_else(|| unknown(call, stream))?;
        Ok(Held { handle: found.handle, _stream: Some(found) })
    }

    /// Makes a stream known by number.
    fn enlist(&self, handle: usize, owner: Owner) -> Result<StreamId> {
        if handle <= LEGACY_STREAM {
            return Ok(StreamId::DEFAULT);
        }
        if handle == PER_THREAD_STREAM {
            let reason = "the per-thread default stream is another one in every thread; make a \
                          stream (with candle: CudaDevice::new_with_stream)";
            let call = "cuStreamGetId";
            return Err(DeviceError::InvalidCall { call, reason: reason.to_owned() });
        }
        let number = self.number(handle)?;
        let mut streams = self.streams.write();
        if number.is_none()
            && let Some((&known, _)) = streams.known.iter().find(|(_, one)| one.handle == handle)
        {
            return Ok(known);
        }
        let number = number.unwrap_or_else(|| {
            streams.own_numbers += 1;
            StreamId::new(OWN_NUMBERS + streams.own_numbers)
        });
        streams.known.entry(number).or_insert_with(|| Arc::new(Stream { handle, owner }));
        Ok(number)
    }

    /// The driver's number of a stream, where it has one.
    fn number(&self, handle: usize) -> Result<Option<StreamId>> {
        let driver = self.driver();
        let Some(ask) = driver.stream_id else { return Ok(None) };
        let _context = self.context.enter_relaxed()?;
        let mut id = 0;
        // SAFETY: the stream is alive: it was just made, or its owner keeps it; `id` may be written.
        let code = unsafe { ask(handle, &raw mut id) };
        driver.check_given("cuStreamGetId", code)?;
        // Zero is the default stream here, whatever the driver means by it.
        Ok((id != 0).then(|| StreamId::new(id)))
    }

    pub(crate) fn create_stream(&self) -> Result<StreamId> {
        let driver = self.driver();
        let _context = self.context.enter_relaxed()?;
        let mut handle = 0;
        // SAFETY: `handle` may be written.
        let code = unsafe { (driver.stream_create)(&raw mut handle, NON_BLOCKING) };
        driver.check("cuStreamCreate", code)?;
        let enlisted = self.enlist(handle, Owner::Device);
        if enlisted.is_err()
            && let Err(error) = self.destroy_handle(handle)
        {
            tracing::warn!(%error, "a CUDA stream is left behind");
        }
        enlisted
    }

    pub(crate) fn destroy_stream(&self, stream: StreamId) -> Result<()> {
        const CALL: &str = "cuStreamDestroy";
        let refused = |reason| DeviceError::InvalidCall { call: CALL, reason };
        if stream == StreamId::DEFAULT {
            return Err(refused("the default stream stays".to_owned()));
        }
        let _context = self.context.enter_relaxed()?;
        // Locked until it is gone, so that nobody looks it up meanwhile.
        let mut streams = self.streams.write();
        let found = streams.known.get(&stream).ok_or_else(|| unknown(CALL, stream))?;
        if !matches!(found.owner, Owner::Device) {
            return Err(refused(format!("{stream} belongs to somebody else: forget it")));
        }
        if Arc::strong_count(found) > 1 {
            return Err(refused(format!("{stream} is in use by another thread")));
        }
        self.destroy_handle(found.handle)?;
        streams.known.remove(&stream);
        Ok(())
    }

    fn destroy_handle(&self, handle: usize) -> Result<()> {
        let driver = self.driver();
        // SAFETY: the caller found the stream alive, ours, and used by nobody.
        let code = unsafe { (driver.stream_destroy)(handle) };
        driver.check_given("cuStreamDestroy", code)
    }

    /// What nobody destroyed, when the device goes.
    pub(crate) fn destroy_streams(&mut self) {
        let streams = std::mem::take(&mut self.streams.get_mut().known);
        for stream in streams.into_values() {
            if matches!(stream.owner, Owner::Device)
                && let Err(error) = self.destroy_handle(stream.handle)
            {
                tracing::warn!(%error, "a CUDA stream is left behind");
            }
        }
    }
}
