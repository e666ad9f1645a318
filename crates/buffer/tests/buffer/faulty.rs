//! A device that fails on demand, whichever call it is, and counts what is pinned.
#![expect(unsafe_code, reason = "forwards the calls of a device, some of which are unsafe")]

use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use freeboard_device::{DeviceError, Handle, Memory, MemoryInfo, Order, Pattern, Result, Transfer};
use freeboard_device_host::HostDevice;
use freeboard_units::{Address, AddressRange, Bytes, DeviceId, EventId, StreamId};
use parking_lot::Mutex;

/// A host device of which the n-th call fails. Clones are the same device.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    pub(crate) host: HostDevice,
    plan: Arc<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    calls: AtomicU64,
    /// The call that fails; zero: none.
    fails: AtomicU64,
    /// No stream can be waited for.
    lost: AtomicBool,
    /// Bytes that can be pinned; zero: as many as there are.
    limit: AtomicU64,
    pinned: Mutex<BTreeMap<usize, Bytes>>,
}

impl Faulty {
    pub(crate) fn new(capacity: Bytes) -> Self {
        Self { host: HostDevice::new(capacity).unwrap(), plan: Arc::default() }
    }

    /// The n-th call from now on fails, once; with zero, none does.
    pub(crate) fn fail(&self, n: u64) {
        self.plan.calls.store(0, SeqCst);
        self.plan.fails.store(n, SeqCst);
    }

    /// Calls since [`fail`](Self::fail).
    pub(crate) fn calls(&self) -> u64 {
        self.plan.calls.load(SeqCst)
    }

    /// From now on no stream can be waited for, as on a device that is lost.
    pub(crate) fn lose_streams(&self) {
        self.plan.lost.store(true, SeqCst);
    }

    pub(crate) fn limit_pinned(&self, bytes: Bytes) {
        self.plan.limit.store(bytes.get(), SeqCst);
    }

    /// What is pinned: where, and how much.
    pub(crate) fn pinned(&self) -> BTreeMap<usize, Bytes> {
        self.plan.pinned.lock().clone()
    }

    pub(crate) fn pinned_bytes(&self) -> Bytes {
        self.pinned().values().fold(Bytes::ZERO, |sum, &size| sum + size)
    }

    fn call(&self, call: &'static str) -> Result<&HostDevice> {
        let number = self.plan.calls.fetch_add(1, SeqCst) + 1;
        let waits = ["record", "is_done", "wait", "synchronize_stream"].contains(&call);
        if number == self.plan.fails.load(SeqCst) || (waits && self.plan.lost.load(SeqCst)) {
            return Err(DeviceError::Driver { call, code: 999, message: "on demand".to_owned() });
        }
        Ok(&self.host)
    }
}

impl Memory for Faulty {
    fn id(&self) -> DeviceId {
        self.host.id()
    }
    fn info(&self) -> Result<MemoryInfo> {
        self.call("info")?.info()
    }
    fn granularity(&self) -> Bytes {
        self.host.granularity()
    }
    fn allocate(&self, size: Bytes) -> Result<Address> {
        self.call("allocate")?.allocate(size)
    }
    fn free(&self, address: Address) -> Result<()> {
        self.call("free")?.free(address)
    }
    fn reserve(&self, size: Bytes) -> Result<AddressRange> {
        self.call("reserve")?.reserve(size)
    }
    fn unreserve(&self, range: AddressRange) -> Result<()> {
        self.call("unreserve")?.unreserve(range)
    }
    fn create(&self, size: Bytes) -> Result<Handle> {
        self.call("create")?.create(size)
    }
    fn release(&self, handle: Handle) -> Result<()> {
        self.call("release")?.release(handle)
    }
    fn map(&self, range: AddressRange, handle: Handle) -> Result<()> {
        self.call("map")?.map(range, handle)
    }
    fn set_access(&self, range: AddressRange) -> Result<()> {
        self.call("set_access")?.set_access(range)
    }
    fn unmap(&self, range: AddressRange) -> Result<()> {
        self.call("unmap")?.unmap(range)
    }
}

impl Order for Faulty {
    fn create_stream(&self) -> Result<StreamId> {
        self.call("create_stream")?.create_stream()
    }
    fn destroy_stream(&self, stream: StreamId) -> Result<()> {
        self.call("destroy_stream")?.destroy_stream(stream)
    }
    fn create_event(&self) -> Result<EventId> {
        self.call("create_event")?.create_event()
    }
    fn destroy_event(&self, event: EventId) -> Result<()> {
        self.call("destroy_event")?.destroy_event(event)
    }
    fn record(&self, event: EventId, stream: StreamId) -> Result<()> {
        self.call("record")?.record(event, stream)
    }
    fn is_done(&self, event: EventId) -> Result<bool> {
        self.call("is_done")?.is_done(event)
    }
    fn wait(&self, event: EventId) -> Result<()> {
        self.call("wait")?.wait(event)
    }
    fn synchronize_stream(&self, stream: StreamId) -> Result<()> {
        self.call("synchronize_stream")?.synchronize_stream(stream)
    }
    fn stream_wait(&self, stream: StreamId, event: EventId) -> Result<()> {
        self.call("stream_wait")?.stream_wait(stream, event)
    }
    fn is_capturing(&self, stream: StreamId) -> Result<bool> {
        self.call("is_capturing")?.is_capturing(stream)
    }
}

impl Transfer for Faulty {
    unsafe fn upload(
        &self,
        to: Address,
        from: *const u8,
        size: Bytes,
        stream: StreamId,
    ) -> Result<()> {
        let host = self.call("upload")?;
        // SAFETY: the caller promises what the same method wants.
        unsafe { host.upload(to, from, size, stream) }
    }
    unsafe fn download(
        &self,
        to: *mut u8,
        from: Address,
        size: Bytes,
        stream: StreamId,
    ) -> Result<()> {
        let host = self.call("download")?;
        // SAFETY: the caller promises what the same method wants.
        unsafe { host.download(to, from, size, stream) }
    }
    unsafe fn copy(&self, to: Address, from: Address, size: Bytes, stream: StreamId) -> Result<()> {
        let host = self.call("copy")?;
        // SAFETY: the caller promises what the same method wants.
        unsafe { host.copy(to, from, size, stream) }
    }
    unsafe fn fill(&self, range: AddressRange, pattern: Pattern, stream: StreamId) -> Result<()> {
        let host = self.call("fill")?;
        // SAFETY: the caller promises what the same method wants.
        unsafe { host.fill(range, pattern, stream) }
    }
    fn pin(&self, size: Bytes) -> Result<NonNull<u8>> {
        let host = self.call("pin")?;
        let limit = self.plan.limit.load(SeqCst);
        if limit != 0 && (self.pinned_bytes() + size).get() > limit {
            return Err(DeviceError::OutOfMemory { call: "pin", size });
        }
        let start = host.pin(size)?;
        self.plan.pinned.lock().insert(start.addr().get(), size);
        Ok(start)
    }
    unsafe fn unpin(&self, start: NonNull<u8>) -> Result<()> {
        let host = self.call("unpin")?;
        // SAFETY: the caller promises what the same method wants.
        unsafe { host.unpin(start) }?;
        self.plan.pinned.lock().remove(&start.addr().get());
        Ok(())
    }
}
