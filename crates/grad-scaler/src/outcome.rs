//! [`Outcome`]: what became of a step, and why.

use std::fmt;

use freeboard_units::DeviceId;

pub use crate::kernels::list::Bad;

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome<R> {
    /// The optimizer ran; this is what it returned.
    Stepped(R),
    /// A gradient was not finite: the optimizer did not run, and the next update lowers the scale.
    Skipped(Skip),
    /// The same, but the scale is at the [floor](crate::ScalerConfig::floor) and cannot be lowered.
    /// Repeated, that is no accident: training has diverged, or its numbers do not fit the type.
    AtFloor(Skip),
}

impl<R> Outcome<R> {
    /// What the optimizer returned, if it ran.
    pub fn stepped(self) -> Option<R> {
        match self {
            Self::Stepped(returned) => Some(returned),
            Self::Skipped(_) | Self::AtFloor(_) => None,
        }
    }

    /// Why the optimizer did not run, if it did not.
    #[must_use]
    pub const fn skip(&self) -> Option<&Skip> {
        match self {
            Self::Stepped(_) => None,
            Self::Skipped(skip) | Self::AtFloor(skip) => Some(skip),
        }
    }
}

/// Why a step was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The device that found a number that is not finite; the first one, if several did.
    pub device: DeviceId,
    /// The first such number there. Unknown only if the optimizer lists other gradients now than
    /// when they were unscaled.
    pub first: Option<FirstBad>,
}

/// The first number that was not finite, in the order of the list of gradients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstBad {
    /// The tensor's name.
    pub tensor: String,
    /// The element's place in it.
    pub index: u64,
    /// What it was.
    pub what: Bad,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Infinite => "infinite",
            Self::NotANumber => "not a number",
            Self::Overflow => "infinite once unscaled",
        })
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.first {
            Some(FirstBad { tensor, index, what }) => {
                write!(f, "{tensor}[{index}] on {} is {what}", self.device)
            }
            None => write!(f, "a gradient on {} is not finite", self.device),
        }
    }
}
