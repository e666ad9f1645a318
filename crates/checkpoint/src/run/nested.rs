//! [`Nested`]: a whole checkpointed chain as one segment of another.

use std::fmt;
use std::marker::PhantomData;

use super::pass::Pass;
use super::script::Script;
use super::state::State;
use super::{Check, Fingerprint, Place, RunError, RunnerError, Segment, Stay};
use crate::{Operation, Plan, Random};

/// A chain with a plan of its own, as one segment.
///
/// Its forward pass keeps nothing of what its segments make; what it saves is what its plan keeps
/// until a(n) is made; its backward pass is the rest of the plan. The random numbers of its layer i
/// are those of `random.fork(i)`, within what the outer chain gives it. A plan that offloads cannot
/// be nested.
///
/// A chain of one segment makes it fit beside others: then all of a chain's segments are nested
/// ones. `E` is the error outside; it is made of a [`RunError`], which names the layer inside.
pub struct Nested<S: Segment, E = RunError<<S as Segment>::Error>> {
    name: String,
    segments: Vec<S>,
    script: Script,
    check: Check,
    error: PhantomData<fn() -> E>,
}

/// What a [`Nested`] chain keeps between its forward and its backward pass.
pub struct NestedState<S: Segment>(State<S, Stay>);

impl<S: Segment, E: From<RunError<S::Error>>> Nested<S, E> {
    /// These segments with their plan.
    ///
    /// # Errors
    /// [`RunnerError`] names the operation, its layer and what is missing.
    pub fn new(
        name: impl Into<String>,
        segments: Vec<S>,
        plan: &Plan,
    ) -> Result<Self, RunnerError> {
        let script = Script::new(&segments, plan)?;
        match script.first_transfer() {
            Some(error) => Err(error),
            None => Ok(Self {
                name: name.into(),
                segments,
                script,
                check: Check::default(),
                error: PhantomData,
            }),
        }
    }

    /// How what is recomputed inside is compared with what was first made.
    #[must_use]
    pub const fn checking(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    /// The segments inside.
    #[must_use]
    pub fn segments(&self) -> &[S] {
        &self.segments
    }

    /// The same, to change their parameters between two steps.
    pub fn segments_mut(&mut self) -> &mut [S] {
        &mut self.segments
    }

    fn first_half(
        &self,
        input: &S::Value,
        random: Random,
        is_output_unread: bool,
    ) -> Result<NestedState<S>, E> {
        let mut state = State::new(self.script.layers);
        let pass = pass(&self.script, self.check, &mut state, (input, random));
        Pass { is_output_unread, ..pass }.first_half(&self.segments, &mut Stay)?;
        Ok(NestedState(state))
    }

    /// That a chain as long as this one saved it.
    fn expect(&self, saved: &NestedState<S>) -> Result<(), RunError<S::Error>> {
        let (expected, found) = (self.script.layers, saved.0.runs.len() - 1);
        if found == expected { Ok(()) } else { Err(RunError::Segments { expected, found }) }
    }

    fn forward_one(&self, layer: usize, input: &S::Value, random: Random) -> Result<S::Value, E> {
        let segment = &self.segments[layer - 1];
        segment.forward(input, random.fork(layer as u64)).map_err(|source| {
            let place = Place::new(segment, Operation::ForwardDrop { layer });
            RunError::Segment { place: place.into(), source }.into()
        })
    }
}

fn pass<'p, S: Segment>(
    script: &'p Script,
    check: Check,
    state: &'p mut State<S, Stay>,
    (input, random): (&'p S::Value, Random),
) -> Pass<'p, S, Stay> {
    Pass {
        script,
        state,
        base: None,
        input: Some(input),
        gradient: None,
        random,
        check,
        retains: false,
        skips: true,
        is_output_unread: false,
    }
}

impl<S: Segment, E: From<RunError<S::Error>>> Segment for Nested<S, E> {
    type Value = S::Value;
    type Saved = NestedState<S>;
    type Error = E;

    fn name(&self) -> &str {
        &self.name
    }

    fn forward(&self, input: &S::Value, random: Random) -> Result<S::Value, E> {
        let first = self.forward_one(1, input, random)?;
        (2..=self.script.layers)
            .try_fold(first, |value, layer| self.forward_one(layer, &value, random))
    }

    fn forward_saving(&self, input: &S::Value, random: Random) -> Result<Self::Saved, E> {
        self.first_half(input, random, false)
    }

    fn forward_for_backward(&self, input: &S::Value, random: Random) -> Result<Self::Saved, E> {
        self.first_half(input, random, true)
    }

    fn output<'saved>(&self, saved: &'saved Self::Saved) -> Option<&'saved S::Value> {
        let last = self.segments.last()?;
        last.output(saved.0.saved.get(self.script.layers)?.get()?)
    }

    fn backward(
        &mut self,
        input: &S::Value,
        saved: &Self::Saved,
        gradient: &S::Value,
        random: Random,
    ) -> Result<S::Value, E> {
        self.expect(saved)?;
        let mut state = State::after(&saved.0);
        let pass = pass(&self.script, self.check, &mut state, (input, random));
        let mut pass = Pass { base: Some(&saved.0), gradient: Some(gradient), ..pass };
        Ok(pass.second_half(&mut self.segments, &mut Stay, false)?)
    }

    fn backward_last(
        &mut self,
        input: &S::Value,
        mut saved: Self::Saved,
        gradient: S::Value,
        random: Random,
    ) -> Result<S::Value, E> {
        self.expect(&saved)?;
        saved.0.gradients.push(gradient);
        let mut pass = pass(&self.script, self.check, &mut saved.0, (input, random));
        Ok(pass.second_half(&mut self.segments, &mut Stay, false)?)
    }

    fn fingerprint(&self, output: &S::Value, values: bool) -> Option<Fingerprint> {
        self.segments.last()?.fingerprint(output, values)
    }
}

impl<S: Segment, E> fmt::Debug for Nested<S, E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers = self.segments.len();
        let mut written = formatter.debug_struct("Nested");
        written.field("name", &self.name).field("layers", &layers).finish_non_exhaustive()
    }
}

impl<S: Segment> fmt::Debug for NestedState<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NestedState").finish_non_exhaustive()
    }
}
