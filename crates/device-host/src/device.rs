//! [`HostDevice`]: the device, and what it can do that others cannot.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use freeboard_device::{DeviceError, Order, Result};
use freeboard_device_sim::{SimConfig, SimDevice};
use freeboard_units::{Address, AddressRange, Bytes, DeviceId, EventId, StreamId};
use parking_lot::{Mutex, RwLock};

use crate::failure::Failure;
use crate::order::Mark;
use crate::os::{Backing, pointer};
use crate::pages::Pages;
use crate::pinned::Pinned;
use crate::stream::Stream;
use crate::work::{Ground, Work};

/// What a host device is like. Start from [`HostConfig::new`] and change what matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// How much memory there is to give, in bytes. What was never touched takes none of the
    /// machine's.
    pub capacity: Bytes,
    /// The unit of memory and of addresses: 2 MiB, as on today's GPUs. A multiple of 4 KiB, not
    /// zero.
    pub granularity: Bytes,
    /// Which device this is; number 0.
    pub id: DeviceId,
    /// Who does the work of streams; a thread for each.
    pub streams: Streams,
}

/// Who does the work that is put on streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streams {
    /// A thread for each stream: work goes on while the program does, as on a GPU.
    #[default]
    Threads,
    /// Whoever puts it there, before the call returns: no thread is started or woken. What work
    /// puts on its own stream is done within it.
    Caller,
}

impl HostConfig {
    /// A device of this capacity; everything else as the fields' documentation says.
    #[must_use]
    pub const fn new(capacity: Bytes) -> Self {
        Self {
            capacity,
            granularity: Bytes::mib(2),
            id: DeviceId::new(0),
            streams: Streams::Threads,
        }
    }
}

/// A device made of this machine's memory. Clones are the same device.
///
/// When the last one is gone, the streams finish their work and the addresses go back to the
/// operating system, whatever was still mapped.
#[derive(Clone)]
pub struct HostDevice(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) ground: Arc<Ground>,
    pub(crate) pinned: Pinned,
    pub(crate) events: Mutex<HashMap<EventId, Mark>>,
    pub(crate) streams: RwLock<BTreeMap<StreamId, Arc<Stream>>>,
    /// Of all streams that were made, destroyed ones too as long as they have work.
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) streams_made: AtomicU64,
    pub(crate) kind: Streams,
}

impl HostDevice {
    /// A device of this capacity, otherwise as [`HostConfig::new`] has it.
    ///
    /// # Errors
    /// As [`with_config`](Self::with_config).
    pub fn new(capacity: Bytes) -> Result<Self> {
        Self::with_config(HostConfig::new(capacity))
    }

    /// A device like this.
    ///
    /// # Errors
    /// When the granularity is none, or the operating system gives no addresses, no memory file or
    /// no thread.
    pub fn with_config(config: HostConfig) -> Result<Self> {
        let HostConfig { capacity, granularity, id, streams: kind } = config;
        if granularity.is_zero() || !granularity.is_aligned(Bytes::kib(4)) {
            let reason = format!("the granularity, {granularity}, is no multiple of 4 KiB");
            return Err(DeviceError::InvalidCall { call: "HostDevice::with_config", reason });
        }
        let (whole, mapped) = spaces(capacity);
        let backing = Backing::new(whole + mapped)?;
        let start = backing.addresses().start();
        let books = SimDevice::with_config(SimConfig {
            granularity,
            id,
            allocations: AddressRange::new(start, whole),
            reservations: AddressRange::new(start + whole, mapped),
            ..SimConfig::new(capacity)
        });
        let pages = RwLock::new(Pages::new(whole + mapped));
        let device = Self(Arc::new(Inner {
            ground: Arc::new(Ground { books, backing, pages, failure: Failure::default() }),
            pinned: Pinned::default(),
            events: Mutex::default(),
            streams: RwLock::default(),
            threads: Mutex::default(),
            streams_made: AtomicU64::new(0),
            kind,
        }));
        device.0.start(StreamId::DEFAULT)?;
        Ok(device)
    }

    /// The books: counts of calls, leaks, failure on demand. Mind that streams and events have their
    /// state here and only their count there.
    #[must_use]
    pub fn books(&self) -> &SimDevice {
        &self.0.ground.books
    }

    /// Puts a function on a stream: this device's kernels. It may use the device's memory through
    /// pointers, since an address here is one, and must not wait for work of its own stream.
    ///
    /// A panic in it ends the device as a failed kernel ends a GPU.
    ///
    /// # Errors
    /// When there is no such stream, or earlier work failed.
    pub fn launch(&self, stream: StreamId, work: impl FnOnce() + Send + 'static) -> Result<()> {
        self.0.put("cuLaunchHostFunc", stream, Work::Run(Box::new(work)))
    }

    /// Where an address of this device points to, for functions put on its streams.
    #[must_use]
    pub fn pointer<T>(&self, address: Address) -> *mut T {
        pointer(address).cast()
    }

    /// Waits for all work on all streams.
    ///
    /// # Errors
    /// When work failed.
    pub fn synchronize(&self) -> Result<()> {
        self.0.drain();
        self.0.ground.failure.check()
    }
}

impl Inner {
    /// A stream under this name.
    pub(crate) fn start(&self, id: StreamId) -> Result<()> {
        if self.kind == Streams::Caller {
            self.streams.write().insert(id, Arc::default());
            return Ok(());
        }
        let (stream, thread) =
            Stream::start(id, Arc::clone(&self.ground)).map_err(|error| DeviceError::Driver {
                call: "cuStreamCreate",
                code: error.raw_os_error().unwrap_or_default().unsigned_abs(),
                message: format!("no thread for a stream: {error}"),
            })?;
        self.streams.write().insert(id, stream);
        self.threads.lock().push(thread);
        Ok(())
    }

    pub(crate) fn new_stream_id(&self) -> StreamId {
        StreamId::new(self.streams_made.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn stream(&self, call: &'static str, id: StreamId) -> Result<Arc<Stream>> {
        self.streams.read().get(&id).cloned().ok_or_else(|| DeviceError::InvalidCall {
            call,
            reason: format!("{id} does not exist, or no longer: make it with create_stream"),
        })
    }

    /// Gives a stream up; its thread ends with its work.
    pub(crate) fn destroy(&self, call: &'static str, id: StreamId) -> Result<()> {
        if id == StreamId::DEFAULT {
            let reason = "the default stream stays".to_owned();
            return Err(DeviceError::InvalidCall { call, reason });
        }
        let stream = self.stream(call, id)?;
        self.ground.books.destroy_stream(id)?;
        self.streams.write().remove(&id);
        stream.close();
        self.threads.lock().retain(|thread| !thread.is_finished());
        Ok(())
    }

    pub(crate) fn put(&self, call: &'static str, stream: StreamId, work: Work) -> Result<()> {
        self.ground.failure.check()?;
        let stream = self.stream(call, stream)?;
        self.give(&stream, work);
        Ok(())
    }

    /// Gives work to whoever does it.
    pub(crate) fn give(&self, stream: &Stream, work: Work) {
        match self.kind {
            Streams::Threads => stream.put(work),
            Streams::Caller => stream.run(|| work.run(&self.ground)),
        }
    }

    pub(crate) fn drain(&self) {
        let streams: Vec<_> = self.streams.read().values().cloned().collect();
        for stream in streams {
            stream.drain();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for stream in self.streams.get_mut().values() {
            stream.close();
        }
        for thread in self.threads.get_mut().drain(..) {
            // The last clone may go in a function on a stream, whose thread cannot wait for itself.
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                tracing::error!("the thread of a stream panicked");
            }
        }
    }
}

/// How many addresses there are for whole allocations, and for reservations. Addresses cost
/// nothing; both are plenty, so that holes between ranges never stand in the way.
fn spaces(capacity: Bytes) -> (Bytes, Bytes) {
    let times = |n: u64| capacity.get().saturating_mul(n);
    let whole = times(4).clamp(Bytes::gib(64).get(), Bytes::gib(8 << 10).get());
    let mapped = times(64).clamp(Bytes::gib(1 << 10).get(), Bytes::gib(32 << 10).get());
    (Bytes::new(whole).align_up(Bytes::gib(1)), Bytes::new(mapped).align_up(Bytes::gib(1)))
}

impl fmt::Debug for HostDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostDevice")
            .field("capacity", &self.books().capacity())
            .field("used", &self.books().used())
            .field("streams", &self.0.streams.read().len())
            .finish_non_exhaustive()
    }
}
