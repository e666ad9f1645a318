//! [`Outcome`], [`Replan`] and [`LoopError`]: what came of a step.

use std::fmt;
use std::sync::Arc;

use freeboard_checkpoint::{Plan, PlanError, ProfileError, Report, RunError, RunnerError};
use freeboard_units::Bytes;

/// A step that was done.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<V> {
    /// The gradient of the input.
    pub gradient: V,
    /// The peak that the plan predicted, and the one that was measured.
    pub report: Report,
    /// What was tried before; nothing, if memory was enough.
    pub replans: Vec<Replan>,
    /// The plan that the step ran by.
    pub plan: Arc<Plan>,
}

/// A step that ran out of memory, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replan {
    /// Where it ran out: the layer and the operation.
    pub at: String,
    /// The bytes that there was no memory for.
    pub requested: Bytes,
    /// How much the plan's peak is above what there was; none where that was enough, but in pieces, or
    /// where nobody knows.
    pub missing: Option<Bytes>,
    /// The budget.
    pub budget: Bytes,
    /// The predicted peak of the plan.
    pub from: Bytes,
    /// The predicted peak of the plan after it; none if there was no other.
    pub to: Option<Bytes>,
}

impl fmt::Display for Replan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, requested, missing, from, to, .. } = self;
        write!(f, "{at}: no memory for {requested}; the plan takes {from}")?;
        if let Some(missing) = missing {
            write!(f, ", {missing} more than there is")?;
        }
        to.map_or(Ok(()), |to| write!(f, "; the next one takes {to}"))
    }
}

/// Why a step was not done, or a loop could not be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LoopError<E> {
    /// A setting makes no sense.
    #[error(
        "{setting} of {value}: `tighten` is more than 0 and less than 1, `tolerance` 0 or more"
    )]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What it was to be.
        value: f64,
    },
    /// The segments could not be measured.
    #[error(transparent)]
    Profile(#[from] ProfileError<E>),
    /// No plan fits the budget.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The plan is not for these segments.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// The input could not be made.
    #[error("the input of the step: {0}")]
    Input(#[source] E),
    /// A step that failed half way could not be taken back: the gradients of parameters are unknown.
    #[error("taking back a step that failed: {0}; set the gradients of all parameters to zero")]
    Undo(#[source] E),
    /// A segment failed, and not for want of memory.
    #[error(transparent)]
    Run(RunError<E>),
    /// Memory ran out, whatever was planned.
    #[error(
        "out of memory{}; none takes less than {least}, or no more may be tried: free device memory, make \
         the batch smaller, or cut layers into smaller ones. Last: {source}", tried(.history)
    )]
    Exhausted {
        /// The predicted peak of the last plan.
        least: Bytes,
        /// All that was tried, first to last.
        history: Vec<Replan>,
        /// The last error.
        source: RunError<E>,
    },
}

fn tried(history: &[Replan]) -> String {
    let peaks: Vec<String> = history.iter().map(|replan| replan.from.to_string()).collect();
    format!(" with plans of {}", peaks.join(", "))
}
