//! [`Report`]: what a plan said a step would take, and what it took.

use std::fmt;

use freeboard_units::Bytes;

use super::Meter;
use crate::Plan;

/// The deviation that is fine unless told otherwise: 1 %.
const TOLERANCE: f64 = 0.01;

/// Measures the peak of one step. Begun before the step's input is made, since the plan counts
/// that.
///
/// What is in use at the beginning (parameters, their gradients, optimizer state) does not count.
#[derive(Debug)]
pub struct PeakWatch<M: Meter> {
    meter: M,
    before: Bytes,
    tolerance: f64,
}

impl<M: Meter> PeakWatch<M> {
    /// Begins, from what is in use now. The meter's peak starts again.
    pub fn begin(meter: M) -> Self {
        meter.reset_peak();
        let before = meter.in_use();
        Self { meter, before, tolerance: TOLERANCE }
    }

    /// With another tolerance than 0.01, as a share of what was predicted.
    #[must_use]
    pub fn tolerating(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }

    /// Ends, and says how the peak since then compares with what `plan` says.
    ///
    /// Where they differ by more than the tolerance, it warns through `tracing`.
    pub fn end(self, plan: &Plan) -> Report {
        let measured = self.meter.peak().saturating_sub(self.before);
        let report = Report::new(plan.peak_bytes, measured).tolerating(self.tolerance);
        if report.verdict() != Verdict::Within {
            tracing::warn!(%report, "the plan's peak is not what the step took: profile again");
        }
        report
    }
}

/// A predicted peak beside the measured one.
///
/// ```
/// use freeboard_checkpoint::{Report, Verdict};
/// use freeboard_units::Bytes;
///
/// let report = Report::new(Bytes::new(1000), Bytes::new(1020));
/// assert_eq!(report.verdict(), Verdict::More);
/// assert_eq!(report.tolerating(0.03).verdict(), Verdict::Within);
/// assert_eq!(report.to_string(), "1000 bytes predicted, 1020 bytes measured (+2.00 %)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// What the plan says that activations and their gradients take at most.
    pub predicted: Bytes,
    /// What they took.
    pub measured: Bytes,
    /// The deviation that is fine, as a share of what was predicted; 0.01 by default.
    pub tolerance: f64,
}

/// Whether a step took what its plan said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// As much, within the tolerance.
    Within,
    /// Less.
    Less,
    /// More: a budget that just holds the plan may not hold the step.
    More,
}

impl Report {
    /// These two, with a tolerance of 1 %.
    #[must_use]
    pub const fn new(predicted: Bytes, measured: Bytes) -> Self {
        Self { predicted, measured, tolerance: TOLERANCE }
    }

    /// The same with another tolerance, as a share of what was predicted.
    #[must_use]
    pub const fn tolerating(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }

    /// How much more was measured than predicted, as a share of what was predicted; negative where
    /// less.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn deviation(self) -> f64 {
        let (predicted, measured) = (self.predicted.get(), self.measured.get());
        if predicted == measured { 0.0 } else { measured as f64 / predicted as f64 - 1.0 }
    }

    /// Whether that is within the tolerance.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self.deviation() {
            deviation if deviation > self.tolerance => Verdict::More,
            deviation if deviation < -self.tolerance => Verdict::Less,
            _ => Verdict::Within,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.deviation() * 100.0;
        let Self { predicted, measured, .. } = self;
        write!(formatter, "{predicted} predicted, {measured} measured ({percent:+.2} %)")
    }
}
