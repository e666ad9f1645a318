//! [`Line`]: what one line of the log says.

use std::time::{SystemTime, UNIX_EPOCH};

use freeboard_allocator::{CachingAllocator, Fragmentation, Stat, Stats};
use freeboard_device::Device;
use freeboard_units::{Bytes, StreamId};
use serde::{Deserialize, Serialize};

/// What memory looked like after a step. Counts and peaks are those since the line before; for the first
/// line, since the allocator was made. Where somebody resets the allocator's sums meanwhile, counts may be
/// too low.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Line {
    /// The step that has ended.
    pub step: u64,
    /// When, in microseconds since 1970.
    pub time_us: i64,
    /// Bytes in blocks handed out.
    pub allocated: Level,
    /// Bytes held from the device.
    pub reserved: Level,
    /// Bytes in blocks handed out or still used by another stream.
    pub active: Level,
    /// Bytes asked for in those, before rounding.
    pub requested: Level,
    /// How scattered free memory is, as the log's stream sees it.
    pub fragmentation: Fragmentation,
    /// The part of the free bytes that the largest request from cache could not use, from 0 to 1.
    pub external_fragmentation: f64,
    /// The largest request the log's stream would have served, beside what is set aside for a planned
    /// step; `None` where the device could not tell what is free.
    pub largest_servable: Option<Bytes>,
    /// Requests that ended out of memory.
    pub num_ooms: u64,
    /// Requests that were tried again after everything cached had been given back.
    pub retries: u64,
    /// Times work had to wait for the whole device.
    pub stalls: u64,
    /// Times memory was taken from the device or given back, and calls that mapped pages, unmapped them
    /// or made them accessible.
    pub device_calls: u64,
}

/// A number of bytes now, and the most since the line before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Bytes now.
    pub now: Bytes,
    /// The most bytes since the line before.
    pub peak: Bytes,
}

impl From<Stat> for Level {
    fn from(stat: Stat) -> Self {
        let bytes = |count: i64| Bytes::new(u64::try_from(count).unwrap_or(0));
        Self { now: bytes(stat.current), peak: bytes(stat.peak) }
    }
}

/// Counts that only grow, until somebody resets them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    ooms: u64,
    retries: u64,
    stalls: u64,
    device_calls: u64,
}

impl Counts {
    fn of<D: Device>(stats: &Stats, allocator: &CachingAllocator<D>) -> Self {
        let stitching = allocator.stitching();
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        let mapping = stitching.map_calls + stitching.unmap_calls + stitching.access_calls;
        Self {
            ooms: count(stats.num_ooms),
            retries: count(stats.num_alloc_retries),
            stalls: count(stats.stalls),
            device_calls: count(stats.num_device_alloc) + count(stats.num_device_free) + mapping,
        }
    }

    /// What was added since; all of it where the counts were reset meanwhile.
    fn since(self, earlier: Self) -> Self {
        let added = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now);
        Self {
            ooms: added(self.ooms, earlier.ooms),
            retries: added(self.retries, earlier.retries),
            stalls: added(self.stalls, earlier.stalls),
            device_calls: added(self.device_calls, earlier.device_calls),
        }
    }
}

/// Measures; `counts` are those of the line before.
pub(super) fn measure<D: Device>(
    allocator: &CachingAllocator<D>,
    step: u64,
    stream: Option<StreamId>,
    counts: &mut Counts,
) -> Line {
    let stream = stream.or_else(|| allocator.streams().first().copied()).unwrap_or_default();
    let stats = allocator.take_peaks();
    let now = Counts::of(&stats, allocator);
    let Counts { ooms, retries, stalls, device_calls } = now.since(*counts);
    *counts = now;
    let fragmentation = allocator.fragmentation(stream);
    Line {
        step,
        time_us: now_us(),
        allocated: stats.allocated_bytes.all.into(),
        reserved: stats.reserved_bytes.all.into(),
        active: stats.active_bytes.all.into(),
        requested: stats.requested_bytes.all.into(),
        fragmentation,
        external_fragmentation: fragmentation.external(),
        largest_servable: allocator.largest_servable_now(stream).ok(),
        num_ooms: ooms,
        retries,
        stalls,
        device_calls,
    }
}

/// The time, in microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
