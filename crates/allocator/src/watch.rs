//! What those who watch an allocator ask: nothing here changes what it does.

use freeboard_device::Device;
use freeboard_units::{Bytes, StreamId};

use crate::allocator::CachingAllocator;
use crate::error::Error;
use crate::stats::Stats;

impl<D: Device> CachingAllocator<D> {
    /// All counters, with the peaks since this was last called (or peaks were last reset). The peaks
    /// that [`stats`](Self::stats) tells are those of the whole run all the same.
    ///
    /// ```
    /// # use freeboard_allocator::{CachingAllocator, Config};
    /// # use freeboard_device_sim::SimDevice;
    /// # use freeboard_units::{Bytes, StreamId};
    /// let allocator = CachingAllocator::new(SimDevice::new(Bytes::gib(1)), Config::default())?;
    /// drop(allocator.allocate(Bytes::mib(64), StreamId::DEFAULT)?);
    /// assert_eq!(allocator.take_peaks().allocated_bytes.all.peak, 64 << 20);
    /// assert_eq!(allocator.take_peaks().allocated_bytes.all.peak, 0); // nothing since
    /// assert_eq!(allocator.stats().allocated_bytes.all.peak, 64 << 20);
    /// # Ok::<(), freeboard_allocator::Error>(())
    /// ```
    pub fn take_peaks(&self) -> Stats {
        let mut state = self.state.lock();
        let max_split_size = state.config.max_split_size;
        state.ledger.take_window(max_split_size)
    }

    /// The most bytes that may be held from the device, less [`context`](crate::Config::context):
    /// set by a memory fraction below 1.
    pub fn limit(&self) -> Option<Bytes> {
        self.state.lock().limit.allowed
    }

    /// As [`largest_servable`](Self::largest_servable), but what is set aside for a planned step
    /// stays so and counts as in use.
    ///
    /// # Errors
    /// When the device cannot tell how much is free.
    pub fn largest_servable_now(&self, stream: StreamId) -> Result<Bytes, Error> {
        self.state.lock().largest_servable(stream)
    }
}
