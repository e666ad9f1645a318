//! [`AllocatorMeter`]: what a caching allocator has handed out.

use std::fmt;
use std::sync::Arc;

use freeboard_allocator::CachingAllocator;
use freeboard_checkpoint::Meter;
use freeboard_device::Device;
use freeboard_units::Bytes;

/// Bytes in blocks that an allocator has handed out, rounded up as it rounds: to 512 bytes at least.
///
/// Under `Config::default()` a block has the rounded size of its request. Under `PyTorch`'s policy
/// without expandable segments, a block of more than 1 MiB may be up to 1 MiB larger, which one depends
/// on what was free; a profile and a step may differ by that.
///
/// [`reset_peak`](Meter::reset_peak) starts all peaks of the allocator's statistics anew.
pub struct AllocatorMeter<D: Device>(Arc<CachingAllocator<D>>);

impl<D: Device> AllocatorMeter<D> {
    /// A meter of this allocator.
    #[must_use]
    pub fn new(allocator: &Arc<CachingAllocator<D>>) -> Self {
        Self(Arc::clone(allocator))
    }
}

impl<D: Device> Clone for AllocatorMeter<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

fn bytes(count: i64) -> Bytes {
    Bytes::new(count.max(0).unsigned_abs())
}

impl<D: Device> Meter for AllocatorMeter<D> {
    fn in_use(&self) -> Bytes {
        bytes(self.0.stats().allocated_bytes.all.current)
    }

    fn peak(&self) -> Bytes {
        bytes(self.0.stats().allocated_bytes.all.peak)
    }

    fn reset_peak(&self) {
        self.0.reset_peak_stats();
    }
}

impl<D: Device> fmt::Debug for AllocatorMeter<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AllocatorMeter").field(&self.0).finish()
    }
}
