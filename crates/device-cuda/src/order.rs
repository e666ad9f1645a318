//! [`Order`] of a GPU: streams and events.

use std::sync::Arc;

use freeboard_device::{DeviceError, Order, Result};
use freeboard_units::{EventId, StreamId};
use rustc_hash::FxHashMap;

use crate::CudaDevice;
use crate::abi::DISABLE_TIMING;
use crate::code::NOT_READY;
use crate::device::Inner;

/// The events known by number. A number is never used again.
#[derive(Debug, Default)]
pub(crate) struct Events {
    known: FxHashMap<EventId, Arc<usize>>,
    numbers: u64,
}

impl Inner {
    /// An event with these flags.
    pub(crate) fn create_event(&self, flags: u32) -> Result<EventId> {
        let driver = self.driver();
        let _context = self.context.enter_relaxed()?;
        let mut handle = 0;
        // SAFETY: `handle` may be written.
        let code = unsafe { (driver.event_create)(&raw mut handle, flags) };
        driver.check("cuEventCreate", code)?;
        let mut events = self.events.write();
        events.numbers += 1;
        let number = EventId::new(events.numbers);
        events.known.insert(number, Arc::new(handle));
        Ok(number)
    }

    /// The handle of an event, which stays alive while the answer does.
    pub(crate) fn event(&self, call: &'static str, event: EventId) -> Result<Arc<usize>> {
        let found = self.events.read().known.get(&event).cloned();
        found.ok_or_else(|| DeviceError::InvalidCall {
            call,
            reason: format!("there is no {event}"),
        })
    }

    pub(crate) fn destroy_event(&self, event: EventId) -> Result<()> {
        const CALL: &str = "cuEventDestroy";
        let refused =
            |why| DeviceError::InvalidCall { call: CALL, reason: format!("{event} {why}") };
        let _context = self.context.enter_relaxed()?;
        // Locked until it is gone, so that nobody looks it up meanwhile.
        let mut events = self.events.write();
        let found = events.known.get(&event).ok_or_else(|| refused("does not exist"))?;
        if Arc::strong_count(found) > 1 {
            return Err(refused("is in use by another thread"));
        }
        self.destroy_event_handle(**found)?;
        events.known.remove(&event);
        Ok(())
    }

    fn destroy_event_handle(&self, handle: usize) -> Result<()> {
        let driver = self.driver();
        // SAFETY: the caller found the event alive and used by nobody.
        let code = unsafe { (driver.event_destroy)(handle) };
        driver.check_given("cuEventDestroy", code)
    }

    /// What nobody destroyed, when the device goes.
    pub(crate) fn destroy_events(&mut self) {
        for handle in std::mem::take(&mut self.events.get_mut().known).into_values() {
            if let Err(error) = self.destroy_event_handle(*handle) {
                tracing::warn!(%error, "a CUDA event is left behind");
            }
        }
    }
}

impl Order for CudaDevice {
    fn create_stream(&self) -> Result<StreamId> {
        self.inner.create_stream()
    }

    fn destroy_stream(&self, stream: StreamId) -> Result<()> {
        self.inner.destroy_stream(stream)
    }

    fn create_event(&self) -> Result<EventId> {
        self.inner.create_event(DISABLE_TIMING)
    }

    fn destroy_event(&self, event: EventId) -> Result<()> {
        self.inner.destroy_event(event)
    }

    fn record(&self, event: EventId, stream: StreamId) -> Result<()> {
        const CALL: &str = "cuEventRecord";
        let driver = self.driver();
        let (event, stream) = (self.inner.event(CALL, event)?, self.inner.stream(CALL, stream)?);
        let _context = self.inner.context.enter()?;
        // SAFETY: both are alive while they are held here.
        let code = unsafe { (driver.event_record)(*event, stream.handle) };
        driver.check_given(CALL, code)
    }

    fn is_done(&self, event: EventId) -> Result<bool> {
        const CALL: &str = "cuEventQuery";
        let driver = self.driver();
        let event = self.inner.event(CALL, event)?;
        let _context = self.inner.context.enter_relaxed()?;
        // SAFETY: the event is alive while it is held here.
        match unsafe { (driver.event_query)(*event) } {
            NOT_READY => Ok(false),
            code => driver.check_given(CALL, code).map(|()| true),
        }
    }

    fn wait(&self, event: EventId) -> Result<()> {
        const CALL: &str = "cuEventSynchronize";
        let driver = self.driver();
        let event = self.inner.event(CALL, event)?;
        let _context = self.inner.context.enter_relaxed()?;
        // SAFETY: the event is alive while it is held here.
        let code = unsafe { (driver.event_synchronize)(*event) };
        driver.check_given(CALL, code)
    }

    fn synchronize_stream(&self, stream: StreamId) -> Result<()> {
        const CALL: &str = "cuStreamSynchronize";
        let driver = self.driver();
        let stream = self.inner.stream(CALL, stream)?;
        let _context = self.inner.context.enter()?;
        // SAFETY: the stream is alive while it is held here.
        let code = unsafe { (driver.stream_synchronize)(stream.handle) };
        driver.check_given(CALL, code)
    }

    fn stream_wait(&self, stream: StreamId, event: EventId) -> Result<()> {
        const CALL: &str = "cuStreamWaitEvent";
        let driver = self.driver();
        let (event, stream) = (self.inner.event(CALL, event)?, self.inner.stream(CALL, stream)?);
        let _context = self.inner.context.enter()?;
        // SAFETY: both are alive while they are held here; zero is the only flag there is.
        let code = unsafe { (driver.stream_wait)(stream.handle, *event, 0) };
        driver.check_given(CALL, code)
    }

    fn is_capturing(&self, stream: StreamId) -> Result<bool> {
        const CALL: &str = "cuStreamIsCapturing";
        let driver = self.driver();
        let stream = self.inner.stream(CALL, stream)?;
        let _context = self.inner.context.enter()?;
        let mut status = 0;
        // SAFETY: the stream is alive while it is held here, and `status` may be written.
        let code = unsafe { (driver.stream_capturing)(stream.handle, &raw mut status) };
        driver.check_given(CALL, code)?;
        Ok(status != 0) // 1: captured; 2: captured, and spoilt
    }
}
