//! [`Options`]: what to aim for, and how long to try.

use std::time::{Duration, Instant};

use freeboard_units::Bytes;

/// What to aim for, and how long to try.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Offsets are multiples of this, and so is the room each buffer takes up [default: 1 byte].
    pub alignment: Bytes,
    /// The height that is low enough [default: none, find the smallest].
    pub capacity: Option<Bytes>,
    /// Steps of the search in each part of time that needs one; a thousand buffers take some
    /// 10,000 steps a second, a hundred ten times as many [default: 1,000,000].
    pub effort: u64,
    /// When to stop all the same; with it the result depends on the machine [default: never].
    pub time_limit: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self { alignment: Bytes::new(1), capacity: None, effort: 1_000_000, time_limit: None }
    }
}

impl Options {
    /// With offsets that are multiples of this.
    #[must_use]
    pub fn alignment(mut self, alignment: Bytes) -> Self {
        self.alignment = alignment;
        self
    }

    /// With this height to be reached and no lower one.
    #[must_use]
    pub fn capacity(mut self, capacity: impl Into<Option<Bytes>>) -> Self {
        self.capacity = capacity.into();
        self
    }

    /// With this many steps of the search.
    #[must_use]
    pub fn effort(mut self, steps: u64) -> Self {
        self.effort = steps;
        self
    }

    /// With an end after this time; the greedy part, at least once through, is always done.
    #[must_use]
    pub fn time_limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.time_limit = limit.into();
        self
    }

    /// The end of a packing that begins now.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline(self.time_limit.and_then(|limit| Instant::now().checked_add(limit)))
    }
}

/// A moment to stop at, if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) fn has_passed(self) -> bool {
        self.0.is_some_and(|end| Instant::now() >= end)
    }
}
