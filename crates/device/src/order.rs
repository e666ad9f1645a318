//! [`Order`]: streams, events, and waiting for them.

use std::sync::Arc;

use freeboard_units::{EventId, StreamId};

use crate::Result;

/// What happens before what: streams of work and the events on them.
pub trait Order {
    /// A new stream, ordered against no other (`cuStreamCreate`, non-blocking).
    ///
    /// # Errors
    /// When the driver has none left.
    fn create_stream(&self) -> Result<StreamId>;

    /// Gives a stream up (`cuStreamDestroy`). Work that is on it is still done.
    ///
    /// # Errors
    /// When there is no such stream, or it is the default one, or one that somebody else made.
    fn destroy_stream(&self, stream: StreamId) -> Result<()>;

    /// A new event, recorded nowhere yet (`cudaEventCreate` without timing).
    ///
    /// # Errors
    /// When the driver has none left.
    fn create_event(&self) -> Result<EventId>;

    /// Gives an event up (`cudaEventDestroy`).
    ///
    /// # Errors
    /// When there is no such event.
    fn destroy_event(&self, event: EventId) -> Result<()>;

    /// Marks the work put on `stream` so far (`cudaEventRecord`).
    ///
    /// # Errors
    /// When there is no such event or stream.
    fn record(&self, event: EventId, stream: StreamId) -> Result<()>;

    /// Whether the work before the mark is done (`cudaEventQuery`).
    ///
    /// # Errors
    /// When there is no such event, or the work before it failed.
    fn is_done(&self, event: EventId) -> Result<bool>;

    /// Waits until the work before the mark is done (`cudaEventSynchronize`).
    ///
    /// # Errors
    /// When there is no such event, or the work before it failed.
    fn wait(&self, event: EventId) -> Result<()>;

    /// Waits until `stream` is empty (`cudaStreamSynchronize`).
    ///
    /// # Errors
    /// When there is no such stream, or its work failed: then it is over, too, and what was put on
    /// the stream touches no memory any more.
    fn synchronize_stream(&self, stream: StreamId) -> Result<()>;

    /// Makes what is put on `stream` from now on wait, on the device, until the work before the mark
    /// is done (`cuStreamWaitEvent`). Returns at once. An event recorded nowhere holds nothing up.
    ///
    /// # Errors
    /// When there is no such event or stream.
    fn stream_wait(&self, stream: StreamId, event: EventId) -> Result<()>;

    /// Whether work put on `stream` is being captured into a graph instead of done
    /// (`cuStreamIsCapturing`).
    ///
    /// # Errors
    /// When there is no such stream.
    fn is_capturing(&self, stream: StreamId) -> Result<bool>;
}

macro_rules! forward {
    ($($pointer:tt)*) => {
        impl<D: Order + ?Sized> Order for $($pointer)* {
            fn create_stream(&self) -> Result<StreamId> {
                (**self).create_stream()
            }
            fn destroy_stream(&self, stream: StreamId) -> Result<()> {
                (**self).destroy_stream(stream)
            }
            fn create_event(&self) -> Result<EventId> {
                (**self).create_event()
            }
            fn destroy_event(&self, event: EventId) -> Result<()> {
                (**self).destroy_event(event)
            }
            fn record(&self, event: EventId, stream: StreamId) -> Result<()> {
                (**self).record(event, stream)
            }
            fn is_done(&self, event: EventId) -> Result<bool> {
                (**self).is_done(event)
            }
            fn wait(&self, event: EventId) -> Result<()> {
                (**self).wait(event)
            }
            fn synchronize_stream(&self, stream: StreamId) -> Result<()> {
                (**self).synchronize_stream(stream)
            }
            fn stream_wait(&self, stream: StreamId, event: EventId) -> Result<()> {
                (**self).stream_wait(stream, event)
            }
            fn is_capturing(&self, stream: StreamId) -> Result<bool> {
                (**self).is_capturing(stream)
            }
        }
    };
}

forward!(&D);
forward!(Arc<D>);
