//! [`Pass`]: a point on a stream that must be passed before a block is used again.

use std::sync::Arc;

use freeboard_allocator::CachingAllocator;
use freeboard_device::{DeviceError, Transfer};
use freeboard_units::{EventId, StreamId};

/// The point, with the event that marks it. Its drop gives the event back.
pub(crate) struct Pass<D: Transfer> {
    owner: Arc<CachingAllocator<D>>,
    stream: StreamId,
    event: EventId,
    /// Not so if the device refused; then it is tried again whenever somebody asks. A later mark is
    /// as safe as the right one.
    recorded: bool,
}

impl<D: Transfer> Pass<D> {
    /// A point on a stream of this allocator's device, not marked yet.
    pub(crate) fn new(
        owner: &Arc<CachingAllocator<D>>,
        stream: StreamId,
    ) -> Result<Self, DeviceError> {
        let event = owner.take_event()?;
        Ok(Self { owner: Arc::clone(owner), stream, event, recorded: false })
    }

    /// Marks the work that is on the stream now, unless that was done before.
    pub(crate) fn record(&mut self) -> Result<(), DeviceError> {
        if !self.recorded {
            self.owner.device().record(self.event, self.stream)?;
            self.recorded = true;
        }
        Ok(())
    }

    pub(crate) fn is_done(&mut self) -> Result<bool, DeviceError> {
        self.record()?;
        self.owner.device().is_done(self.event)
    }

    pub(crate) fn wait(&mut self) -> Result<(), DeviceError> {
        let waited = self.record().and_then(|()| self.owner.device().wait(self.event));
        waited.or_else(|_| self.owner.device().synchronize_stream(self.stream))
    }

    /// Whether one that was marked before the other is passed no later.
    pub(crate) fn is_on_stream_of(&self, other: &Self) -> bool {
        self.stream == other.stream && Arc::ptr_eq(&self.owner, &other.owner)
    }
}

impl<D: Transfer> Drop for Pass<D> {
    fn drop(&mut self) {
        self.owner.return_event(self.event);
    }
}
