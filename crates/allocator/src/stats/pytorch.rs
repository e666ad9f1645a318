//! Counters as `PyTorch`'s own summary shows them.

use freeboard_snapshot::summary::{Counter, PoolCounters, PytorchStats, pytorch};
use freeboard_units::DeviceId;

use super::{Stat, StatByPool, Stats};

impl Stats {
    /// The text that `torch.cuda.memory_summary` gives for these counters, character by character;
    /// `abbreviated` leaves out the rows of small and large pools.
    ///
    /// ```
    /// use freeboard_allocator::Stats;
    /// use freeboard_units::DeviceId;
    ///
    /// let text = Stats::default().pytorch_summary(DeviceId::new(0), false);
    /// assert!(text.contains("| GPU reserved memory   |      0 B   |"));
    /// ```
    #[must_use]
    pub fn pytorch_summary(&self, device: DeviceId, abbreviated: bool) -> String {
        pytorch(&self.into(), device, abbreviated)
    }
}

impl From<&Stats> for PytorchStats {
    fn from(stats: &Stats) -> Self {
        Self {
            allocated_bytes: stats.allocated_bytes.into(),
            active_bytes: stats.active_bytes.into(),
            requested_bytes: stats.requested_bytes.into(),
            reserved_bytes: stats.reserved_bytes.into(),
            inactive_split_bytes: stats.inactive_split_bytes.into(),
            allocation: stats.allocation.into(),
            active: stats.active.into(),
            segment: stats.segment.into(),
            inactive_split: stats.inactive_split.into(),
            oversize_allocations: stats.oversize_allocations.into(),
            oversize_segments: stats.oversize_segments.into(),
            num_ooms: stats.num_ooms,
            num_alloc_retries: stats.num_alloc_retries,
        }
    }
}

impl From<StatByPool> for PoolCounters {
    fn from(StatByPool { all, small, large }: StatByPool) -> Self {
        Self { all: all.into(), small_pool: small.into(), large_pool: large.into() }
    }
}

impl From<Stat> for Counter {
    fn from(Stat { current, peak, allocated, freed }: Stat) -> Self {
        Self { current, peak, allocated, freed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_that_pytorch_shows_keeps_its_name() {
        // Each number is another one.
        let mut stats = serde_json::to_string(&Stats::default()).expect("plain data");
        for number in 1.. {
            let Some(at) = stats.find(":0") else { break };
            stats.replace_range(at..at + 2, &format!(":{number}"));
        }
        let counters: Stats = serde_json::from_str(&stats).expect("what it was");
        let names = stats.replace("\"small\"", "\"small_pool\"");
        let names = names.replace("\"large\"", "\"large_pool\"");
        let expected: PytorchStats = serde_json::from_str(&names).expect("the same names");
        assert_ne!(expected, PytorchStats::default());
        assert_eq!(PytorchStats::from(&counters), expected);
    }
}
