//! [`Pass`]: the operations of a plan, one by one, on what a step stores.

use super::error::{Place, RunError, Tensor};
use super::script::{Script, Step};
use super::state::{Moves, Slot, State, stored};
use super::{Check, Fingerprint, Segment};
use crate::{Operation, Random, Stored};

/// How a plan runs: what it may read besides its own state, and what it keeps.
pub(super) struct Pass<'p, S: Segment, O: Moves<S>> {
    pub(super) script: &'p Script,
    pub(super) state: &'p mut State<S, O>,
    /// What an earlier pass stored and others still need: read, never forgotten.
    pub(super) base: Option<&'p State<S, O>>,
    /// a(0), where somebody else keeps it.
    pub(super) input: Option<&'p S::Value>,
    /// The gradient of a(n), where somebody else keeps it.
    pub(super) gradient: Option<&'p S::Value>,
    pub(super) random: Random,
    pub(super) check: Check,
    /// Whether a backward pass keeps what it needed for another one.
    pub(super) retains: bool,
    /// Whether forward passes that no backward pass depends on are left out.
    pub(super) skips: bool,
    /// Whether nobody but backward passes reads a(n).
    pub(super) is_output_unread: bool,
}

type Outcome<S> = Result<(), RunError<<S as Segment>::Error>>;

impl<S: Segment, O: Moves<S>> Pass<'_, S, O> {
    /// Runs up to where a(n) and saved(n) are there.
    pub(super) fn first_half(&mut self, segments: &[S], offload: &mut O) -> Outcome<S> {
        let script = self.script;
        for (number, &step) in script.steps[..script.turn].iter().enumerate() {
            self.other(segments, number, step, offload)?;
        }
        Ok(())
    }

    /// Runs from there to the end, with gradients of a(n) in the state or beside it; returns the
    /// last gradient of a(0), and leaves those before it in the state.
    ///
    /// With `is_kept`, an earlier pass has kept all that the backward passes need, and only they
    /// run.
    pub(super) fn second_half(
        &mut self,
        segments: &mut [S],
        offload: &mut O,
        is_kept: bool,
    ) -> Result<S::Value, RunError<S::Error>> {
        let script = self.script;
        for (number, &step) in script.steps.iter().enumerate().skip(script.turn) {
            if let Operation::Backward { layer } = step.operation {
                self.backward(segments, number, layer)?;
            } else if !is_kept {
                self.other(segments, number, step, offload)?;
            }
        }
        let last = self.state.gradients.pop().filter(|_| self.state.at == 0);
        last.ok_or_else(|| self.missing(segments, script.turn, Tensor::Gradient(0)))
    }

    /// Any operation but a backward pass.
    fn other(&mut self, segments: &[S], number: usize, step: Step, offload: &mut O) -> Outcome<S> {
        if step.operation.is_forward() {
            self.forward(segments, number, step)
        } else {
            self.transfer(segments, number, step.operation, offload)
        }
    }

    fn forward(&mut self, segments: &[S], number: usize, step: Step) -> Outcome<S> {
        let layer = step.operation.layer();
        if step.is_needed || !self.skips {
            self.make(segments, number, step)?;
        }
        let is_needed_again = self.retains && layer > self.state.at;
        if matches!(step.operation, Operation::ForwardDrop { .. }) && !is_needed_again {
            self.state.plain[layer - 1].take();
        }
        Ok(())
    }

    fn make(&mut self, segments: &[S], number: usize, step: Step) -> Outcome<S> {
        let layer = step.operation.layer();
        let segment = &segments[layer - 1];
        let random = self.random.fork(layer as u64);
        let input = activation(self.state, self.base, self.input, segments, layer - 1)
            .ok_or_else(|| self.missing(segments, number, Tensor::Activation(layer - 1)))?;
        let failed = |source| self.failed(segments, number, source);
        let print = if let Operation::ForwardSave { .. } = step.operation {
            let is_first_output = number + 1 == self.script.turn && !self.is_output_unread;
            let saved = if step.is_output_read || is_first_output {
                segment.forward_saving(input, random)
            } else {
                segment.forward_for_backward(input, random)
            };
            let saved = saved.map_err(failed)?;
            let print = segment.output(&saved).and_then(|output| self.fingerprint(segment, output));
            self.state.saved[layer] = Slot::Here(saved);
            print
        } else {
            let output = segment.forward(input, random).map_err(failed)?;
            let print = self.fingerprint(segment, &output);
            self.state.plain[layer] = Slot::Here(output);
            print
        };
        let compared = print.map_or(Ok(()), |print| self.state.compare(layer, print));
        compared.map_err(|fingerprints| RunError::Differs {
            place: self.place(segments, number).into(),
            what: Tensor::Activation(layer),
            fingerprints,
        })?;
        self.state.runs[layer] = self.state.runs[layer].saturating_add(1);
        Ok(())
    }

    fn fingerprint(&self, segment: &S, output: &S::Value) -> Option<Fingerprint> {
        match self.check {
            Check::Nothing => None,
            check => segment.fingerprint(output, check == Check::Values),
        }
    }

    fn backward(&mut self, segments: &mut [S], number: usize, layer: usize) -> Outcome<S> {
        let random = self.random.fork(layer as u64);
        let is_first = layer == self.script.layers;
        let owned = self.state.gradients.pop().map(Given::Owned);
        let gradient = owned.or(self.gradient.filter(|_| is_first).map(Given::Borrowed));
        let Some(gradient) = gradient else {
            return Err(self.missing(segments, number, Tensor::Gradient(layer)));
        };
        let own = if self.retains { None } else { self.state.saved[layer].take() };
        let made = self.differentiate(segments, layer, (own, gradient), random);
        let last = made.map_err(|fault| match fault {
            Fault::Missing(what) => self.missing(segments, number, what),
            Fault::Segment(source) => self.failed(segments, number, source),
        })?;
        let state = &mut *self.state;
        state.gradients.push(last);
        state.at = layer - 1;
        if !self.retains {
            state.plain[layer - 1].take();
        }
        Ok(())
    }

    /// Takes all gradients of a(i) but the last, and it, to those of a(i-1); returns the last one.
    fn differentiate(
        &mut self,
        segments: &mut [S],
        layer: usize,
        (own, last): (Option<S::Saved>, Given<'_, S::Value>),
        random: Random,
    ) -> Result<S::Value, Fault<S::Error>> {
        let mut gradients = std::mem::take(&mut self.state.gradients);
        let (before, rest) = segments.split_at_mut(layer - 1);
        let input = activation(self.state, self.base, self.input, before, layer - 1)
            .ok_or(Fault::Missing(Tensor::Activation(layer - 1)))?;
        let saved = if let Some(saved) = own {
            Given::Owned(saved)
        } else {
            let base = self.base.and_then(|base| base.saved[layer].get());
            let kept = self.state.saved[layer].get().or(base);
            Given::Borrowed(kept.ok_or(Fault::Missing(Tensor::Saved(layer)))?)
        };
        let segment = &mut rest[0];
        for gradient in &mut gradients {
            *gradient =
                segment.backward(input, saved.get(), gradient, random).map_err(Fault::Segment)?;
        }
        let made = match (saved, last) {
            (Given::Owned(saved), Given::Owned(last)) => {
                segment.backward_last(input, saved, last, random)
            }
            (saved, last) => segment.backward(input, saved.get(), last.get(), random),
        };
        self.state.gradients = gradients;
        made.map_err(Fault::Segment)
    }

    fn transfer(
        &mut self,
        segments: &[S],
        number: usize,
        operation: Operation,
        offload: &mut O,
    ) -> Outcome<S> {
        match self.state.transfer(operation, offload) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let what = match stored(operation) {
                    Stored::Input => Tensor::Activation(operation.layer() - 1),
                    Stored::Saved => Tensor::Saved(operation.layer()),
                };
                Err(self.missing(segments, number, what))
            }
            Err(source) => Err(self.failed(segments, number, source)),
        }
    }

    fn place(&self, segments: &[S], number: usize) -> Place {
        let operation = self.script.steps[number].operation;
        let layer = operation.layer();
        let again = operation.is_forward() && self.state.runs[layer] > 0;
        Place { number: Some(number), again, ..Place::new(&segments[layer - 1], operation) }
    }

    fn failed(&self, segments: &[S], number: usize, source: S::Error) -> RunError<S::Error> {
        RunError::Segment { place: self.place(segments, number).into(), source }
    }

    fn missing(&self, segments: &[S], number: usize, what: Tensor) -> RunError<S::Error> {
        RunError::Missing { place: self.place(segments, number).into(), what }
    }
}

/// What a backward pass may use up, or only read.
enum Given<'g, T> {
    Owned(T),
    Borrowed(&'g T),
}

impl<T> Given<'_, T> {
    const fn get(&self) -> &T {
        match self {
            Self::Owned(value) => value,
            Self::Borrowed(value) => value,
        }
    }
}

enum Fault<E> {
    Missing(Tensor),
    Segment(E),
}

/// a(`index`), wherever it can be read: from the pass's own state, from what it builds on, or from
/// whoever keeps the input.
fn activation<'a, S: Segment, O: Moves<S>>(
    state: &'a State<S, O>,
    base: Option<&'a State<S, O>>,
    input: Option<&'a S::Value>,
    segments: &[S],
    index: usize,
) -> Option<&'a S::Value> {
    let below = || base.and_then(|base| base.activation(segments, index));
    let first = || input.filter(|_| index == 0);
    state.activation(segments, index).or_else(below).or_else(first)
}
