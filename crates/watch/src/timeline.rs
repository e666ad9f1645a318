//! [`Timeline`]: the step a run is at and the last lines of its log, shared with whoever reports.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Lines kept for a report; some 300 KB of host memory.
const KEPT: usize = 512;
/// No step was told yet.
const UNKNOWN: u64 = u64::MAX;

/// The step a run is at, and the last 512 lines of its [`MemoryLog`](crate::MemoryLog). Clones are one
/// and the same.
#[derive(Clone, Debug)]
pub struct Timeline(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    step: AtomicU64,
    lines: Mutex<VecDeque<Arc<str>>>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self(Arc::new(Inner { step: AtomicU64::new(UNKNOWN), lines: Mutex::default() }))
    }
}

impl Timeline {
    /// The step that was told last.
    #[must_use]
    pub fn step(&self) -> Option<u64> {
        Some(self.0.step.load(Ordering::Relaxed)).filter(|&step| step != UNKNOWN)
    }

    /// Tells the step.
    pub fn set_step(&self, step: u64) {
        self.0.step.store(step, Ordering::Relaxed);
    }

    /// The last lines, oldest first, without the ends of lines.
    #[must_use]
    pub fn lines(&self) -> Vec<Arc<str>> {
        self.0.lines.lock().iter().cloned().collect()
    }

    pub(crate) fn push(&self, line: &str) {
        let mut lines = self.0.lines.lock();
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line.into());
    }
}
