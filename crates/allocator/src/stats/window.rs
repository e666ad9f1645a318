//! Peaks of a window of time, beside those of the whole run.
//!
//! A window begins by starting the peaks anew; what they were is kept aside, and whoever asks for the
//! peaks of the run gets the larger of both. So the counters on the hot path know nothing of it.

use freeboard_units::Bytes;

use super::{Ledger, Stat, StatByPool, Stats};

impl Stats {
    /// Raises every peak to that of `other`.
    fn raise_peaks(&mut self, other: &Self) {
        let raise = |stat: &mut Stat, other: &Stat| stat.peak = stat.peak.max(other.peak);
        let raise_all = |stat: &mut StatByPool, other: &StatByPool| {
            raise(&mut stat.all, &other.all);
            raise(&mut stat.small, &other.small);
            raise(&mut stat.large, &other.large);
        };
        raise_all(&mut self.requested_bytes, &other.requested_bytes);
        raise_all(&mut self.allocated_bytes, &other.allocated_bytes);
        raise_all(&mut self.active_bytes, &other.active_bytes);
        raise_all(&mut self.reserved_bytes, &other.reserved_bytes);
        raise_all(&mut self.inactive_split_bytes, &other.inactive_split_bytes);
        raise_all(&mut self.allocation, &other.allocation);
        raise_all(&mut self.segment, &other.segment);
        raise_all(&mut self.active, &other.active);
        raise_all(&mut self.inactive_split, &other.inactive_split);
        raise(&mut self.oversize_allocations, &other.oversize_allocations);
        raise(&mut self.oversize_segments, &other.oversize_segments);
    }
}

impl Ledger {
    /// All counters, with the peaks since they were last reset.
    pub(crate) fn stats(&self, max_split_size: Option<Bytes>) -> Stats {
        let mut stats = self.recent(max_split_size);
        if let Some(earlier) = &self.earlier {
            stats.raise_peaks(earlier);
        }
        stats
    }

    /// All counters, with the peaks since this was last asked; a new window begins.
    pub(crate) fn take_window(&mut self, max_split_size: Option<Bytes>) -> Stats {
        let (window, whole) = (self.recent(max_split_size), self.stats(max_split_size));
        self.reset_peaks();
        self.earlier = Some(Box::new(whole));
        window
    }
}
