//! Events lent to owners of memory, so that they need not make their own.

use freeboard_device::{Device, DeviceError};
use freeboard_units::{EventId, StreamId};

use crate::allocator::CachingAllocator;

impl<D: Device> CachingAllocator<D> {
    /// An event that nobody uses: a spare one, or else a new one. It may be recorded somewhere.
    /// Give it back with [`return_event`](Self::return_event).
    ///
    /// # Errors
    /// When there is no spare one and the device has none left.
    pub fn take_event(&self) -> Result<EventId, DeviceError> {
        let spare = self.state.lock().spare_events.pop();
        spare.map_or_else(|| self.device().create_event(), Ok)
    }

    /// Takes an event of this device that nobody uses any more; others will use it again.
    pub fn return_event(&self, event: EventId) {
        self.state.lock().spare_events.push(event);
    }

    /// Makes what is put on `later` from now on wait, on the device, for all that is on `earlier`
    /// now. Returns at once. Nothing happens where both are the same stream.
    ///
    /// # Errors
    /// When the device fails.
    pub fn order(&self, earlier: StreamId, later: StreamId) -> Result<(), DeviceError> {
        if earlier == later {
            return Ok(());
        }
        let event = self.take_event()?;
        let device = self.device();
        let outcome = device.record(event, earlier).and_then(|()| device.stream_wait(later, event));
        self.return_event(event); // the wait is for this mark, whatever the event marks next
        outcome
    }
}
