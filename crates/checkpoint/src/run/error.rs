//! What can go wrong while a plan runs, and what is wrong with one that cannot.

use crate::{InvalidPlan, Operation};

use super::{Fingerprint, Segment};

/// Why a plan cannot run on these segments. Nothing has run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunnerError {
    /// There are no segments.
    #[error("there are no segments to run; give at least one")]
    Empty,
    /// The plan breaks a rule, or is for another number of layers.
    #[error("the plan cannot run on {segments} segments: {source}; make a plan for these segments")]
    Plan {
        /// How many segments there are.
        segments: usize,
        /// What is missing.
        source: InvalidPlan,
    },
    /// A layer runs backward a second time, or in another place than after the one above it.
    #[error(
        "operation {number}: layer {layer} runs backward where layer {expected} is next; each runs \
         backward once, the last one first"
    )]
    Order {
        /// Which operation, from 0.
        number: usize,
        /// Its layer, from 1.
        layer: usize,
        /// The layer that is next, from 1; 0 when all have run.
        expected: usize,
    },
    /// The plan moves values to the host, and nothing is there to move them.
    #[error(
        "operation {number} ({operation:?}) moves what is stored for a layer to the host; give the \
         runner something that moves it (`Runner::offloading`), or plan without a link"
    )]
    Offloads {
        /// Which operation, from 0.
        number: usize,
        /// The operation.
        operation: Operation,
    },
}

/// The operation that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("layer {layer} (`{name}`), {}{}", verb(*.operation, *.again), of_plan(*.number))]
pub struct Place {
    /// Its layer, from 1.
    pub layer: usize,
    /// The layer's name.
    pub name: String,
    /// Which operation of the plan, from 0; none where a whole chain runs forward for another plan.
    pub number: Option<usize>,
    /// The operation.
    pub operation: Operation,
    /// Whether it is a forward pass of a layer that had run forward in this step before.
    pub again: bool,
}

impl Place {
    /// An operation that is no plan's.
    pub(super) fn new<S: Segment>(segment: &S, operation: Operation) -> Self {
        let name = segment.name().to_owned();
        Self { layer: operation.layer(), name, number: None, operation, again: false }
    }
}

/// Why a step did not finish. All its values are dropped; the runner can be used again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError<E> {
    /// A segment, or a transfer of what is stored for it, failed.
    #[error("{place}: {source}")]
    Segment {
        /// Where.
        place: Box<Place>,
        /// Its own error.
        source: E,
    },
    /// The loss, or its gradient, could not be made.
    #[error("the gradient of the loss: {source}")]
    Loss {
        /// Its own error.
        source: E,
    },
    /// A recomputation made something else than the first run.
    #[error(
        "{place}: {what} is {}, and was {} in the first run; a layer must make the same again: \
         take random numbers from `Random`, and change nothing in a forward pass",
        .fingerprints[1],
        .fingerprints[0]
    )]
    Differs {
        /// Where.
        place: Box<Place>,
        /// What differs.
        what: Tensor,
        /// The first one, and the recomputed one.
        fingerprints: Box<[Fingerprint; 2]>,
    },
    /// Something is not there: a segment's `output` gave `None`, or an earlier pass over the same
    /// state failed.
    #[error(
        "{place}: {what} is not there; `Segment::output` must find a(i) in what `forward_saving` \
         made, and after an error the step has to start again"
    )]
    Missing {
        /// Where.
        place: Box<Place>,
        /// What is not there.
        what: Tensor,
    },
    /// The segments are not as many as the plan was made for.
    #[error(
        "{found} segments, and the plan is for {expected}; pass the ones the runner was made for"
    )]
    Segments {
        /// How many the plan is for.
        expected: usize,
        /// How many were given.
        found: usize,
    },
}

/// One of the things that a step stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Tensor {
    /// a(i), the output of layer i.
    #[error("a({0})")]
    Activation(usize),
    /// What layer i keeps for its backward pass.
    #[error("saved({0})")]
    Saved(usize),
    /// The gradient of a(i).
    #[error("the gradient of a({0})")]
    Gradient(usize),
}

impl<E> RunError<E> {
    /// Where it happened, if in an operation.
    #[must_use]
    pub const fn place(&self) -> Option<&Place> {
        match self {
            Self::Segment { place, .. }
            | Self::Differs { place, .. }
            | Self::Missing { place, .. } => Some(place),
            Self::Loss { .. } | Self::Segments { .. } => None,
        }
    }

    /// The program's own error, if it was one.
    #[must_use]
    pub const fn cause(&self) -> Option<&E> {
        match self {
            Self::Segment { source, .. } | Self::Loss { source } => Some(source),
            Self::Differs { .. } | Self::Missing { .. } | Self::Segments { .. } => None,
        }
    }

    /// Whether the program's own error is such a one: out of memory, for example.
    pub fn is_from(&self, is: impl FnOnce(&E) -> bool) -> bool {
        self.cause().is_some_and(is)
    }
}

const fn verb(operation: Operation, again: bool) -> &'static str {
    match operation {
        _ if operation.is_forward() && again => "recomputation",
        Operation::Backward { .. } => "backward",
        Operation::Offload { .. } => "offload",
        Operation::Release { .. } => "release",
        Operation::Fetch { .. } => "fetch",
        Operation::Await { .. } => "await",
        _ => "forward",
    }
}

fn of_plan(number: Option<usize>) -> String {
    number.map_or_else(String::new, |number| format!(" (operation {number} of the plan)"))
}
