//! [`Clock`]: moments, numbered.

/// A point in the history: 0 is before it, n is right after tick n − 1.
pub(super) type Moment = u32;

/// Counts ticks. Every event is one; what an event implies and nobody recorded (a free that was
/// dropped, say) is one of its own, so that a tick changes one block at most.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// When each tick was, in microseconds since 1970; never backwards.
    pub(super) times: Vec<i64>,
}

impl Clock {
    /// The next tick, and the moment after it. A clock that was set back stands still.
    pub(super) fn tick(&mut self, time_us: i64) -> Moment {
        let latest = self.times.last().map_or(time_us, |&last| last.max(time_us));
        self.times.push(latest);
        self.now()
    }

    /// A tick at the time of the last one.
    pub(super) fn tick_again(&mut self) -> Moment {
        self.tick(i64::MIN)
    }

    /// The moment after the last tick.
    pub(super) fn now(&self) -> Moment {
        u32::try_from(self.times.len()).unwrap_or(u32::MAX)
    }

    /// The last tick at this time or before it; the first where there is none.
    pub(super) fn tick_at(&self, time_us: i64) -> Moment {
        let later = self.times.partition_point(|&time| time <= time_us);
        u32::try_from(later.saturating_sub(1)).unwrap_or(u32::MAX)
    }
}
