//! [`Script`]: a plan that is known to run, with what the runtime wants to know beforehand.

use freeboard_units::Bytes;

use super::{RunError, RunnerError};
use crate::{Chain, Layer, Link, Operation, Plan, Segment, Stored, check};

/// One operation and what becomes of what it makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) operation: Operation,
    /// Of a `ForwardSave`: whether anyone reads a(i) inside saved(i).
    pub(super) is_output_read: bool,
    /// Whether a backward pass depends on it, directly or through others.
    pub(super) is_needed: bool,
}

/// The operations of a plan that is valid for so many layers.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) steps: Vec<Step>,
    /// The first operation after a(n) and saved(n) are first there.
    pub(super) turn: usize,
    pub(super) layers: usize,
}

/// What stands for no operation.
const NOBODY: usize = usize::MAX;

impl Script {
    pub(super) fn new<S: Segment>(segments: &[S], plan: &Plan) -> Result<Self, RunnerError> {
        let layers = segments.len();
        let described = segments.iter().map(|one| Layer::new(one.name(), 0.0, 0.0)).collect();
        // Of layers that take no memory and no time, only the order is checked.
        let chain = Chain::new(Bytes::ZERO, described).map_err(|_| RunnerError::Empty)?;
        check(&chain, &plan.operations, Link::NONE)
            .map_err(|source| RunnerError::Plan { segments: layers, source })?;
        backward_in_order(layers, &plan.operations)?;
        let is_last =
            |operation: &Operation| *operation == Operation::ForwardSave { layer: layers };
        let turn = plan.operations.iter().position(is_last).map_or(0, |number| number + 1);
        Ok(Self { steps: Reads::new(layers).follow(&plan.operations), turn, layers })
    }

    /// That there are as many segments as layers.
    pub(super) fn expect<S: Segment>(&self, segments: &[S]) -> Result<(), RunError<S::Error>> {
        let (expected, found) = (self.layers, segments.len());
        if found == expected { Ok(()) } else { Err(RunError::Segments { expected, found }) }
    }

    /// The first operation that moves something to the host.
    pub(super) fn first_transfer(&self) -> Option<RunnerError> {
        let mut operations = self.steps.iter().map(|step| step.operation).enumerate();
        let is_transfer = |operation: Operation| {
            !operation.is_forward() && !matches!(operation, Operation::Backward { .. })
        };
        let (number, operation) = operations.find(|&(_, operation)| is_transfer(operation))?;
        Some(RunnerError::Offloads { number, operation })
    }
}

fn backward_in_order(layers: usize, operations: &[Operation]) -> Result<(), RunnerError> {
    let mut expected = layers;
    for (number, &operation) in operations.iter().enumerate() {
        if let Operation::Backward { layer } = operation {
            if layer != expected {
                return Err(RunnerError::Order { number, layer, expected });
            }
            expected -= 1;
        }
    }
    Ok(())
}

/// Which operation made what is stored, while the plan is gone through. What comes back from the
/// host counts as made by nobody: whoever might be read in its place counts as read.
struct Reads {
    /// Which made the plain a(i) on the device, at i.
    plain: Vec<usize>,
    /// Which made saved(i), at i.
    saved: Vec<usize>,
}

impl Reads {
    fn new(layers: usize) -> Self {
        let nobody = vec![NOBODY; layers + 1];
        Self { plain: nobody.clone(), saved: nobody }
    }

    fn follow(mut self, operations: &[Operation]) -> Vec<Step> {
        let mut steps: Vec<Step> = operations
            .iter()
            .map(|&operation| Step { operation, is_output_read: false, is_needed: false })
            .collect();
        // Who made the input of each operation, and the first input is nobody's.
        let mut makers = Vec::with_capacity(steps.len());
        for (number, &operation) in operations.iter().enumerate() {
            makers.push(self.step(number, operation, &mut steps));
        }
        // A maker comes before those that read what it made.
        for number in (0..steps.len()).rev() {
            let step = steps[number];
            let is_needed = step.is_needed || !step.operation.is_forward();
            steps[number].is_needed = is_needed;
            if let Some(maker) = steps.get_mut(makers[number]).filter(|_| is_needed) {
                maker.is_needed = true;
            }
        }
        steps
    }

    /// The operation that made what this one reads as input.
    fn step(&mut self, number: usize, operation: Operation, steps: &mut [Step]) -> usize {
        let layer = operation.layer();
        let input = layer - 1;
        match operation {
            Operation::Release { what: Stored::Input, .. } => {
                self.plain[input] = NOBODY;
                return NOBODY;
            }
            _ if operation.is_forward() || matches!(operation, Operation::Backward { .. }) => {}
            _ => return NOBODY,
        }
        let mut maker = self.plain[input];
        if maker == NOBODY {
            maker = self.saved[input];
            if let Some(saving) = steps.get_mut(maker) {
                saving.is_output_read = true;
            }
        }
        match operation {
            Operation::ForwardSave { .. } => self.saved[layer] = number,
            Operation::Backward { .. } => {
                if let Some(saving) = steps.get_mut(self.saved[layer]) {
                    saving.is_needed = true;
                }
                self.saved[layer] = NOBODY;
            }
            _ => self.plain[layer] = number,
        }
        if matches!(operation, Operation::ForwardDrop { .. } | Operation::Backward { .. }) {
            self.plain[input] = NOBODY;
        }
        maker
    }
}
