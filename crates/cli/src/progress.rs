//! Signs of life on standard error, where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const REDRAWN: Duration = Duration::from_millis(120);

/// A bar that fills up; it is gone when dropped.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar for this many runs.
    pub(crate) fn bar(runs: usize) -> Self {
        Self::show(ProgressBar::new(runs as u64), "{bar:40} {pos} of {len} {elapsed}")
    }

    /// A bar for this many bytes.
    pub(crate) fn bytes(total: u64) -> Self {
        Self::show(ProgressBar::new(total), "{bar:40} {bytes} of {total_bytes} {elapsed}")
    }

    /// Something that turns, with what is being done.
    pub(crate) fn spinner(what: impl Into<String>) -> Self {
        let spinner = ProgressBar::new_spinner().with_message(what.into());
        Self::show(spinner, "{spinner} {msg} {elapsed}")
    }

    /// Says what is being done now.
    pub(crate) fn say(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    fn show(bar: ProgressBar, template: &str) -> Self {
        // The templates are those above; a wrong one would only look plain.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(REDRAWN);
        Self(bar)
    }

    /// Fills the bar up to here.
    pub(crate) fn set(&self, done: usize) {
        self.0.set_position(done as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
