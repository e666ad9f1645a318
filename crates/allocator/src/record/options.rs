//! [`HistoryOptions`]: what is recorded.

use serde::{Deserialize, Serialize};

/// What [`record_history`](crate::CachingAllocator::record_history) records.
///
/// | backtraces | time an event, about | memory |
/// |---|---|---|
/// | none | 0.1 µs | 56 bytes an event, 8 a block |
/// | with | 10 µs a backtrace | the same, and once per different stack some 8 bytes a frame |
///
/// Backtraces are taken while the allocator is locked: other threads wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryOptions {
    /// How many events are kept; older ones are dropped. Default: 100,000, which take 5.6 MB.
    pub events: usize,
    /// Whose backtraces are taken. Default: nobody's.
    pub backtraces: Backtraces,
}

/// Whose backtraces are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Backtraces {
    /// Nobody's.
    #[default]
    None,
    /// Those of calls that get memory, so that live blocks and segments have one.
    Live,
    /// Those of calls that give memory back, too.
    All,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self { events: 100_000, backtraces: Backtraces::None }
    }
}

impl HistoryOptions {
    /// Keeping this many events. Without any, only the tags and stacks of live blocks are known.
    #[must_use]
    pub const fn with_events(mut self, events: usize) -> Self {
        self.events = events;
        self
    }

    /// With these backtraces.
    #[must_use]
    pub const fn with_backtraces(mut self, backtraces: Backtraces) -> Self {
        self.backtraces = backtraces;
        self
    }
}
