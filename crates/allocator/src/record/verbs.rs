//! The public verbs.

use freeboard_device::Device;
use freeboard_snapshot::Snapshot;

use crate::allocator::CachingAllocator;

/// Snapshots.
impl<D: Device> CachingAllocator<D> {
    /// What memory looks like now: every segment and block, the settings, and what the device says
    /// of itself.
    ///
    /// Other threads wait only while blocks are copied.
    ///
    /// ```
    /// use freeboard_allocator::{CachingAllocator, Config};
    /// use freeboard_device_sim::SimDevice;
    /// use freeboard_units::{Bytes, StreamId};
    ///
    /// let allocator = CachingAllocator::new(SimDevice::new(Bytes::gib(1)), Config::pytorch())?;
    /// let tensor = allocator.allocate(Bytes::mib(3), StreamId::DEFAULT)?;
    /// let snapshot = allocator.snapshot();
    /// assert_eq!(snapshot.segments[0].size, Bytes::mib(20));
    /// assert_eq!(snapshot.segments[0].allocated(), tensor.size());
    /// # Ok::<(), freeboard_allocator::Error>(())
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        let mut state = self.state.lock();
        let copy = self.state.slowly(&mut state, |state| state.copy());
        drop(state);
        let free = self.device().info().ok().map(|info| info.free);
        copy.into_snapshot(free)
    }
}
