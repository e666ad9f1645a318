//! [`measure_link`]: how fast a device and this machine copy to each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use freeboard_allocator::CachingAllocator;
use freeboard_buffer::{BufferError, DeviceBuffer, PinnedAllocator};
use freeboard_checkpoint::Link;
use freeboard_device::Transfer;
use freeboard_units::{Bytes, StreamId};

use crate::OffloadError;

/// Copies are repeated this often; the fastest one counts.
const ROUNDS: usize = 5;

/// The link in bytes per second, by copies of `size` bytes on a stream; 64 MiB show what it can do. Waits for the stream.
/// Takes device memory and pinned memory of this size for as long.
///
/// # Errors
/// When there is no memory for it, or the device fails.
pub fn measure_link<D: Transfer + Send + Sync + 'static>(
    allocator: &Arc<CachingAllocator<D>>,
    stream: StreamId,
    size: Bytes,
) -> Result<Link, OffloadError> {
    let measured = || -> Result<Link, BufferError> {
        let len = usize::try_from(size.get()).unwrap_or(usize::MAX).max(1);
        let mut buffer = DeviceBuffer::<u8, D>::zeroed(allocator, len, stream)?;
        let mut pinned = PinnedAllocator::new(allocator)?.allocate::<u8>(len)?;
        let mut best = [Duration::MAX; 2];
        for _ in 0..ROUNDS {
            let began = Instant::now();
            pinned = buffer.upload(pinned)?.wait()?;
            let between = Instant::now();
            pinned = buffer.download(pinned)?.wait()?;
            let took = [between.elapsed(), between - began];
            for (best, took) in best.iter_mut().zip(took) {
                *best = took.min(*best);
            }
        }
        // A copy that no clock can tell from nothing took a nanosecond.
        let rate = |took: Duration| buffer.size().as_f64() / took.as_secs_f64().max(1e-9);
        Ok(Link { to_host: rate(best[0]), to_device: rate(best[1]) })
    };
    measured().map_err(OffloadError::buffer("the test copy", "measuring the link"))
}
