//! Counters under `PyTorch`'s names and with its meanings.
//!
//! `current` and `peak` are now and the most since the last reset; `allocated` and `freed` are the
//! sums of all increases and decreases since the last reset. Names that end in `bytes` count
//! bytes, the others count things. The definitions are those of `torch.cuda.memory_stats`.

mod pytorch;
mod window;

use freeboard_units::Bytes;
use serde::{Deserialize, Serialize};

/// One counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// The value now.
    pub current: i64,
    /// The largest value since the last reset of peaks.
    pub peak: i64,
    /// The sum of all increases since the last reset of sums.
    pub allocated: i64,
    /// The sum of all decreases since the last reset of sums.
    pub freed: i64,
}

/// One counter for everything, and for the small and the large pools apart. Where memory is
/// stitched, that is where a block lies: a small one may lie in a large pool, as those of a plan do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatByPool {
    /// Both together.
    pub all: Stat,
    /// Requests of up to 1 MiB and the segments that serve them.
    pub small: Stat,
    /// Requests above 1 MiB and the segments that serve them.
    pub large: Stat,
}

/// Everything that is counted, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Bytes as callers asked for them, before rounding, in allocated and pending blocks.
    pub requested_bytes: StatByPool,
    /// Bytes in blocks handed out.
    pub allocated_bytes: StatByPool,
    /// Bytes in blocks handed out or still used by another stream.
    pub active_bytes: StatByPool,
    /// Bytes held from the device.
    pub reserved_bytes: StatByPool,
    /// Free bytes in segments of fixed size that are partly in use: they cannot be given back.
    pub inactive_split_bytes: StatByPool,
    /// Blocks handed out.
    pub allocation: StatByPool,
    /// Segments of fixed size held from the device.
    pub segment: StatByPool,
    /// Blocks handed out or still used by another stream.
    pub active: StatByPool,
    /// Free blocks in segments of fixed size that are partly in use.
    pub inactive_split: StatByPool,
    /// Blocks handed out of at least the maximum split size.
    pub oversize_allocations: Stat,
    /// Segments of at least the maximum split size.
    pub oversize_segments: Stat,
    /// Requests that were tried again after everything cached had been given back.
    pub num_alloc_retries: i64,
    /// Requests that ended out of memory.
    pub num_ooms: i64,
    /// Times the allocator waited for all pending blocks.
    pub num_sync_all_streams: i64,
    /// Times memory was taken from the device.
    pub num_device_alloc: i64,
    /// Times memory was given back to the device.
    pub num_device_free: i64,
    /// Requests refused before the device was asked, by `throw_on_cudamalloc_oom`.
    pub num_oom_rejections: i64,
    /// Times work waited for the whole device: a flush, or `cudaFree`. `PyTorch` counts none.
    pub stalls: i64,
    /// Blocks of at least this many bytes are not split; −1 where there is no such limit.
    pub max_split_size: i64,
}

/// A counter whose increases are not stored: they are the decreases and what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counter {
    current: i64,
    peak: i64,
    downs: i64,
    /// Increases and decreases when sums were last reset.
    base: (i64, i64),
}

impl Counter {
    #[inline]
    pub(crate) fn up(&mut self, amount: i64) {
        self.current += amount;
        // A new peak is rare: a branch costs less than a store.
        if self.current > self.peak {
            self.peak = self.current;
        }
    }

    #[inline]
    pub(crate) fn down(&mut self, amount: i64) {
        self.current -= amount;
        self.downs += amount;
        debug_assert!(self.current >= 0, "a counter fell below zero");
    }

    fn reset_peak(&mut self) {
        self.peak = self.current;
    }

    fn reset_sums(&mut self) {
        self.base = (self.current + self.downs, self.downs);
    }

    fn stat(&self) -> Stat {
        Stat {
            current: self.current,
            peak: self.peak,
            allocated: self.current + self.downs - self.base.0,
            freed: self.downs - self.base.1,
        }
    }
}

/// A counter by pool: the total's sums follow from the parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    parts: [Counter; 2],
    current: i64,
    peak: i64,
}

impl Counters {
    #[inline]
    pub(crate) fn up(&mut self, class: Class, amount: i64) {
        self.parts[class as usize].up(amount);
        self.current += amount;
        if self.current > self.peak {
            self.peak = self.current;
        }
    }

    #[inline]
    pub(crate) fn down(&mut self, class: Class, amount: i64) {
        self.parts[class as usize].down(amount);
        self.current -= amount;
    }

    /// One increase or decrease, as `PyTorch` books a net change.
    #[inline]
    pub(crate) fn by(&mut self, class: Class, amount: i64) {
        if amount > 0 {
            self.up(class, amount);
        } else {
            self.down(class, -amount);
        }
    }

    fn stat(&self) -> StatByPool {
        total(self.parts.map(|part| part.stat()), self.peak)
    }

    fn reset_peaks(&mut self) {
        self.parts.iter_mut().for_each(Counter::reset_peak);
        self.peak = self.current;
    }

    fn reset_sums(&mut self) {
        self.parts.iter_mut().for_each(Counter::reset_sums);
    }
}

fn as_bytes(count: i64) -> Bytes {
    Bytes::new(count.unsigned_abs())
}

fn total([small, large]: [Stat; 2], peak: i64) -> StatByPool {
    let all = Stat {
        current: small.current + large.current,
        peak,
        allocated: small.allocated + large.allocated,
        freed: small.freed + large.freed,
    };
    StatByPool { all, small, large }
}

/// What is active beyond what is allocated: blocks given back that other streams still use.
///
/// Active things grow exactly when allocated ones do, so counting them apart would double the work
/// of every allocation. Their peak is that of the allocated ones, or one seen while something was
/// pending, which is rare and noted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    parts: [i64; 2],
    /// Peaks of allocated and pending together, while anything was pending.
    peaks: [i64; 2],
    peak: i64,
    /// The current active values when sums were last reset.
    base: [i64; 2],
}

impl Pending {
    fn active(&self, allocated: &Counters) -> [i64; 2] {
        [0, 1].map(|part| self.parts[part] + allocated.parts[part].current)
    }

    fn note_peaks(&mut self, allocated: &Counters) {
        let active = self.active(allocated);
        for (peak, active) in self.peaks.iter_mut().zip(active) {
            *peak = active.max(*peak);
        }
        self.peak = self.peak.max(active[0] + active[1]);
    }

    fn reset_peaks(&mut self, allocated: &Counters) {
        self.peaks = self.active(allocated);
        self.peak = self.peaks[0] + self.peaks[1];
    }

    fn stat(&self, allocated: &Counters) -> StatByPool {
        let active = self.active(allocated);
        let parts = [0, 1].map(|part| {
            let stat = allocated.parts[part].stat();
            Stat {
                current: active[part],
                peak: stat.peak.max(self.peaks[part]),
                allocated: stat.allocated,
                freed: stat.allocated - (active[part] - self.base[part]),
            }
        });
        total(parts, allocated.peak.max(self.peak))
    }
}

/// Which of the two kinds of pool a block belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Small = 0,
    Large = 1,
}

/// The counters as they are kept; [`Ledger::stats`] makes [`Stats`] of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) requested_bytes: Counters,
    pub(crate) allocated_bytes: Counters,
    pub(crate) reserved_bytes: Counters,
    pub(crate) inactive_split_bytes: Counters,
    pub(crate) allocation: Counters,
    pub(crate) segment: Counters,
    pub(crate) inactive_split: Counters,
    pending_blocks: Pending,
    pending_bytes: Pending,
    pub(crate) oversize_allocations: Counter,
    pub(crate) oversize_segments: Counter,
    pub(crate) num_alloc_retries: i64,
    pub(crate) num_ooms: i64,
    pub(crate) num_sync_all_streams: i64,
    pub(crate) num_device_alloc: i64,
    pub(crate) num_device_free: i64,
    pub(crate) num_oom_rejections: i64,
    pub(crate) stalls: i64,
    /// Peaks from before they were last taken; see `window.rs`.
    earlier: Option<Box<Stats>>,
}

impl Ledger {
    /// A block was handed out.
    #[expect(clippy::inline_always, reason = "part of the hot path")]
    #[inline(always)]
    pub(crate) fn allocated(&mut self, class: Class, size: Bytes, requested: Bytes) {
        self.allocation.up(class, 1);
        self.allocated_bytes.up(class, size.as_i64());
        self.requested_bytes.up(class, requested.as_i64());
        if self.pending_blocks.parts != [0, 0] {
            self.pending_blocks.note_peaks(&self.allocation);
            self.pending_bytes.note_peaks(&self.allocated_bytes);
        }
    }

    /// A block was given back by its owner and is used by nobody else.
    #[expect(clippy::inline_always, reason = "part of the hot path")]
    #[inline(always)]
    pub(crate) fn freed(&mut self, class: Class, size: Bytes, requested: Bytes) {
        self.allocation.down(class, 1);
        self.allocated_bytes.down(class, size.as_i64());
        self.requested_bytes.down(class, requested.as_i64());
    }

    /// A block was given back by its owner, but other streams may still use it.
    pub(crate) fn pending(&mut self, class: Class, size: Bytes) {
        self.allocation.down(class, 1);
        self.allocated_bytes.down(class, size.as_i64());
        self.pending_blocks.parts[class as usize] += 1;
        self.pending_bytes.parts[class as usize] += size.as_i64();
    }

    /// A pending block is used by no stream any more.
    pub(crate) fn completed(&mut self, class: Class, size: Bytes, requested: Bytes) {
        self.pending_blocks.parts[class as usize] -= 1;
        self.pending_bytes.parts[class as usize] -= size.as_i64();
        self.requested_bytes.down(class, requested.as_i64());
    }

    /// A free block of fixed size was taken, and `rest` bytes of it left behind.
    ///
    /// Free blocks of a segment that is partly in use cannot be given back; here one of them
    /// disappears, shrinks, or comes into being.
    #[expect(clippy::inline_always, reason = "part of the hot path")]
    #[inline(always)]
    pub(crate) fn took(&mut self, class: Class, was_split: bool, taken: Bytes, rest: Bytes) {
        match (was_split, rest.is_zero()) {
            (true, false) => self.inactive_split_bytes.down(class, taken.as_i64()),
            (true, true) => {
                self.inactive_split_bytes.down(class, taken.as_i64());
                self.inactive_split.down(class, 1);
            }
            (false, false) => {
                self.inactive_split_bytes.up(class, rest.as_i64());
                self.inactive_split.up(class, 1);
            }
            (false, true) => {}
        }
    }

    /// Bytes handed out or pending.
    pub(crate) fn live_bytes(&self) -> Bytes {
        as_bytes(self.allocated_bytes.current + self.pending_bytes.parts.iter().sum::<i64>())
    }

    /// The most bytes handed out or pending at once, since peaks were reset.
    pub(crate) fn peak_live_bytes(&self) -> Bytes {
        let earlier = self.earlier.as_ref().map_or(0, |stats| stats.active_bytes.all.peak);
        as_bytes(self.allocated_bytes.peak.max(self.pending_bytes.peak).max(earlier))
    }

    fn counters_mut(&mut self) -> [&mut Counters; 7] {
        [
            &mut self.requested_bytes,
            &mut self.allocated_bytes,
            &mut self.reserved_bytes,
            &mut self.inactive_split_bytes,
            &mut self.allocation,
            &mut self.segment,
            &mut self.inactive_split,
        ]
    }

    /// Starts all peaks anew at the current values.
    pub(crate) fn reset_peaks(&mut self) {
        self.earlier = None;
        self.counters_mut().into_iter().for_each(Counters::reset_peaks);
        self.pending_blocks.reset_peaks(&self.allocation);
        self.pending_bytes.reset_peaks(&self.allocated_bytes);
        self.oversize_allocations.reset_peak();
        self.oversize_segments.reset_peak();
    }

    /// Starts all sums and event counts anew at zero.
    pub(crate) fn reset_sums(&mut self) {
        self.counters_mut().into_iter().for_each(Counters::reset_sums);
        self.pending_blocks.base = self.pending_blocks.active(&self.allocation);
        self.pending_bytes.base = self.pending_bytes.active(&self.allocated_bytes);
        self.oversize_allocations.reset_sums();
        self.oversize_segments.reset_sums();
        self.num_alloc_retries = 0;
        self.num_ooms = 0;
        self.num_sync_all_streams = 0;
        self.num_device_alloc = 0;
        self.num_device_free = 0;
        self.num_oom_rejections = 0;
        self.stalls = 0;
    }

    /// All counters, but for peaks that were taken.
    fn recent(&self, max_split_size: Option<Bytes>) -> Stats {
        Stats {
            requested_bytes: self.requested_bytes.stat(),
            allocated_bytes: self.allocated_bytes.stat(),
            active_bytes: self.pending_bytes.stat(&self.allocated_bytes),
            reserved_bytes: self.reserved_bytes.stat(),
            inactive_split_bytes: self.inactive_split_bytes.stat(),
            allocation: self.allocation.stat(),
            segment: self.segment.stat(),
            active: self.pending_blocks.stat(&self.allocation),
            inactive_split: self.inactive_split.stat(),
            oversize_allocations: self.oversize_allocations.stat(),
            oversize_segments: self.oversize_segments.stat(),
            num_alloc_retries: self.num_alloc_retries,
            num_ooms: self.num_ooms,
            num_sync_all_streams: self.num_sync_all_streams,
            num_device_alloc: self.num_device_alloc,
            num_device_free: self.num_device_free,
            num_oom_rejections: self.num_oom_rejections,
            stalls: self.stalls,
            max_split_size: max_split_size.map_or(-1, Bytes::as_i64),
        }
    }
}
