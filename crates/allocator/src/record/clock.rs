//! The time of events: the only clock of recording.

use std::time::{Instant, SystemTime};

/// Microseconds since 1970 that never go back while it runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    begun: Instant,
    begun_us: i64,
}

impl Clock {
    pub(super) fn new() -> Self {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let begun_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        Self { begun: Instant::now(), begun_us }
    }

    pub(super) fn now(&self) -> i64 {
        let passed = self.begun.elapsed();
        let seconds = i64::try_from(passed.as_secs()).unwrap_or(i64::MAX);
        let passed_us = seconds.saturating_mul(1_000_000);
        self.begun_us.saturating_add(passed_us).saturating_add(passed.subsec_micros().into())
    }
}
