//! [`Options`]: how hard a plan is packed.

/// How hard a plan is packed. None of it reads a clock: the same record gives the same plan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Steps of the search in each part of time that needs one; 2,000 take some tenths of a second
    /// at most [default: 2,000].
    pub effort: u64,
    /// How far above the peak of what is live is low enough, in thousandths of it [default: 5].
    pub slack: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { effort: 2_000, slack: 5 }
    }
}

impl Options {
    /// With this many steps of the search.
    #[must_use]
    pub fn effort(mut self, steps: u64) -> Self {
        self.effort = steps;
        self
    }

    /// With this many thousandths above the peak of what is live.
    #[must_use]
    pub fn slack(mut self, thousandths: u64) -> Self {
        self.slack = thousandths;
        self
    }
}
