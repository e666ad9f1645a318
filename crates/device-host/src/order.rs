//! Streams and events.

use std::sync::Arc;

use freeboard_device::{DeviceError, Order, Result};
use freeboard_units::{EventId, StreamId};

use crate::HostDevice;
use crate::stream::Stream;
use crate::work::Work;

/// Where an event was recorded last: a stream and a ticket. `None`: nowhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mark(Option<(Arc<Stream>, u64)>);

impl Mark {
    fn is_done(&self) -> bool {
        self.0.as_ref().is_none_or(|(stream, ticket)| stream.is_done(*ticket))
    }

    fn wait(&self) {
        if let Some((stream, ticket)) = &self.0 {
            stream.wait(*ticket);
        }
    }
}

impl HostDevice {
    fn mark(&self, call: &'static str, event: EventId) -> Result<Mark> {
        self.0.ground.failure.check()?;
        let reason = || format!("{event} does not exist, or no longer");
        let mark = self.0.events.lock().get(&event).cloned();
        mark.ok_or_else(|| DeviceError::InvalidCall { call, reason: reason() })
    }
}

impl Order for HostDevice {
    fn create_stream(&self) -> Result<StreamId> {
        self.0.ground.failure.check()?;
        self.books().create_stream()?; // counted, and made to fail on demand, there
        let id = self.0.new_stream_id();
        self.0.start(id)?;
        Ok(id)
    }

    fn destroy_stream(&self, stream: StreamId) -> Result<()> {
        self.0.destroy("cuStreamDestroy", stream)
    }

    fn create_event(&self) -> Result<EventId> {
        self.0.ground.failure.check()?;
        let event = self.books().create_event()?;
        self.0.events.lock().insert(event, Mark::default());
        Ok(event)
    }

    fn destroy_event(&self, event: EventId) -> Result<()> {
        self.books().destroy_event(event)?;
        self.0.events.lock().remove(&event);
        Ok(())
    }

    fn record(&self, event: EventId, stream: StreamId) -> Result<()> {
        self.mark("cuEventRecord", event)?;
        let lane = self.0.stream("cuEventRecord", stream)?;
        self.books().record(event, stream)?;
        let ticket = lane.mark();
        self.0.events.lock().insert(event, Mark(Some((lane, ticket))));
        Ok(())
    }

    fn is_done(&self, event: EventId) -> Result<bool> {
        let mark = self.mark("cuEventQuery", event)?;
        self.books().is_done(event)?;
        let done = mark.is_done();
        self.0.ground.failure.check()?;
        Ok(done)
    }

    fn wait(&self, event: EventId) -> Result<()> {
        let mark = self.mark("cuEventSynchronize", event)?;
        self.books().wait(event)?;
        mark.wait();
        self.0.ground.failure.check()
    }

    fn synchronize_stream(&self, stream: StreamId) -> Result<()> {
        let lane = self.0.stream("cuStreamSynchronize", stream)?;
        self.books().synchronize_stream(stream)?;
        lane.drain();
        self.0.ground.failure.check()
    }

    fn stream_wait(&self, stream: StreamId, event: EventId) -> Result<()> {
        let mark = self.mark("cuStreamWaitEvent", event)?;
        let lane = self.0.stream("cuStreamWaitEvent", stream)?;
        self.books().stream_wait(stream, event)?;
        if let Some((stream, ticket)) = mark.0.filter(|(other, _)| !Arc::ptr_eq(other, &lane)) {
            self.0.give(&lane, Work::Wait { stream, ticket });
        }
        Ok(())
    }

    /// Nothing is ever captured here.
    fn is_capturing(&self, stream: StreamId) -> Result<bool> {
        self.0.stream("cuStreamIsCapturing", stream)?;
        self.books().is_capturing(stream)
    }
}
