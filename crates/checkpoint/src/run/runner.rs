//! [`Runner`]: a plan made ready to run, and [`Held`], a step between its two halves.

use std::{fmt, mem};

use super::pass::Pass;
use super::script::Script;
use super::state::{Moves, Slot, State};
use super::{Place, RunError, RunnerError, Segment, Stay, Tensor};
use crate::{Operation, Plan, Random};

/// How a recomputed tensor is compared with the first one, by the segments' fingerprints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Check {
    /// Not at all.
    Nothing,
    /// Size, shape and type. The default.
    #[default]
    Metadata,
    /// And a hash of some of its values, which may cost a copy from the device each.
    Values,
}

/// Runs training steps by a [`Plan`]: its operations, in its order; what it forgets is dropped at
/// once.
///
/// Made once per plan and used for every step; a step allocates nothing of its own. After an error
/// or a panic in a segment all values of the step are dropped, and the next step can run.
///
/// ```
/// use std::convert::Infallible;
///
/// use freeboard_checkpoint::{Chain, Layer, Random, Runner, Segment, optimal};
/// use freeboard_units::Bytes;
///
/// /// Multiplies by its weight.
/// struct Scale {
///     weight: f32,
///     gradient: f32,
/// }
///
/// impl Segment for Scale {
///     type Value = f32; // a tensor, in earnest
///     type Saved = f32; // nothing but the output
///     type Error = Infallible;
///
///     fn name(&self) -> &str {
///         "scale"
///     }
///     fn forward(&self, input: &f32, _: Random) -> Result<f32, Infallible> {
///         Ok(input * self.weight)
///     }
///     fn forward_saving(&self, input: &f32, _: Random) -> Result<f32, Infallible> {
///         Ok(input * self.weight)
///     }
///     fn output<'saved>(&self, saved: &'saved f32) -> Option<&'saved f32> {
///         Some(saved)
///     }
///     fn backward(
///         &mut self,
///         input: &f32,
///         _: &f32,
///         gradient: &f32,
///         _: Random,
///     ) -> Result<f32, Infallible> {
///         self.gradient += input * gradient;
///         Ok(self.weight * gradient)
///     }
/// }
///
/// let layer = Layer {
///     output_bytes: Bytes::new(4),
///     saved_bytes: Bytes::new(4),
///     ..Layer::new("scale", 1.0, 2.0)
/// };
/// let chain = Chain::new(Bytes::new(4), vec![layer; 8])?; // or `Profiler::profile`
/// let plan = optimal(&chain, Bytes::new(28))?; // keeping all takes 44 bytes
/// let mut segments: Vec<_> = (0..8).map(|_| Scale { weight: 2.0, gradient: 0.0 }).collect();
/// let mut runner = Runner::new(&segments, &plan)?;
/// let gradient = runner.run(&mut segments, 1.0, Random::new(1), |output| Ok(*output))?;
/// assert_eq!(gradient, 65536.0);
/// assert_eq!(segments[7].gradient, 32768.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Runner<S: Segment, O: Moves<S> = Stay> {
    script: Script,
    plan: Plan,
    state: State<S, O>,
    offload: O,
    check: Check,
}

impl<S: Segment> Runner<S> {
    /// Makes ready to run `plan` on segments like these, without offloading.
    ///
    /// # Errors
    /// [`RunnerError`] names the operation, its layer and what is missing.
    pub fn new(segments: &[S], plan: &Plan) -> Result<Self, RunnerError> {
        let runner = Self::offloading(segments, plan, Stay)?;
        match runner.script.first_transfer() {
            Some(error) => Err(error),
            None => Ok(runner),
        }
    }
}

impl<S: Segment, O: Moves<S>> Runner<S, O> {
    /// The same with `offload` to move stored values to the host and back.
    ///
    /// # Errors
    /// [`RunnerError`] names the operation, its layer and what is missing.
    pub fn offloading(segments: &[S], plan: &Plan, offload: O) -> Result<Self, RunnerError> {
        let script = Script::new(segments, plan)?;
        let state = State::new(segments.len());
        Ok(Self { script, plan: plan.clone(), state, offload, check: Check::default() })
    }

    /// How recomputed tensors are compared with the first ones.
    #[must_use]
    pub const fn checking(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What moves stored values.
    #[must_use]
    pub const fn offload(&self) -> &O {
        &self.offload
    }

    /// The same, to change it between two steps.
    pub const fn offload_mut(&mut self) -> &mut O {
        &mut self.offload
    }

    /// Runs one step and returns the gradient of the input.
    ///
    /// `loss` is given a(n) once, as soon as it is made, and makes the gradient of the loss with
    /// respect to it. Layer i, from 1, draws from `random.fork(i)`, each time it runs. The segments
    /// are as many as the runner was made for; their parameters may have changed since the last
    /// step.
    ///
    /// # Errors
    /// [`RunError`] names the layer and the operation.
    pub fn run(
        &mut self,
        segments: &mut [S],
        input: S::Value,
        random: Random,
        loss: impl FnOnce(&S::Value) -> Result<S::Value, S::Error>,
    ) -> Result<S::Value, RunError<S::Error>> {
        let held = self.forward(segments, input, random)?;
        let gradient = loss(held.output(segments)?).map_err(|source| RunError::Loss { source })?;
        held.backward_last(segments, gradient)
    }

    /// Runs one step for several gradients of a(n), with one recomputation for all of them.
    ///
    /// Each layer runs backward for all of them, in their order, before what it saved is forgotten;
    /// that takes the memory of as many gradients. The results, and what adds up in the segments,
    /// are those of separate steps.
    ///
    /// # Errors
    /// [`RunError`] names the layer and the operation.
    pub fn run_many(
        &mut self,
        segments: &mut [S],
        input: S::Value,
        random: Random,
        losses: impl FnOnce(&S::Value) -> Result<Vec<S::Value>, S::Error>,
    ) -> Result<Vec<S::Value>, RunError<S::Error>> {
        let held = self.forward(segments, input, random)?;
        let gradients =
            losses(held.output(segments)?).map_err(|source| RunError::Loss { source })?;
        held.backward_many(segments, gradients)
    }

    /// Runs the plan up to where a(n) is made, and holds the step there.
    ///
    /// # Errors
    /// [`RunError`] names the layer and the operation.
    pub fn forward<'r>(
        &'r mut self,
        segments: &[S],
        input: S::Value,
        random: Random,
    ) -> Result<Held<'r, S, O>, RunError<S::Error>> {
        self.script.expect(segments)?;
        self.state.clear();
        self.state.plain[0] = Slot::Here(input);
        let mut held = Held { runner: self, random, is_retained: false };
        let (mut pass, offload) = held.pass(None, false);
        pass.first_half(segments, offload)?;
        Ok(held)
    }
}

impl<S: Segment, O: Moves<S>> fmt::Debug for Runner<S, O> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Runner").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// A step whose forward half is done: what its plan keeps until then is in memory.
///
/// Dropping it drops all its values.
pub struct Held<'r, S: Segment, O: Moves<S> = Stay> {
    runner: &'r mut Runner<S, O>,
    random: Random,
    /// Whether an earlier backward pass has kept all that another one needs.
    is_retained: bool,
}

impl<S: Segment, O: Moves<S>> Held<'_, S, O> {
    /// a(n), with the segments the step was begun with.
    ///
    /// # Errors
    /// [`RunError::Missing`] after an error in [`backward`](Self::backward).
    pub fn output(&self, segments: &[S]) -> Result<&S::Value, RunError<S::Error>> {
        let Runner { script, state, .. } = &*self.runner;
        script.expect(segments)?;
        let layer = script.layers;
        let saved = state.saved[layer].get();
        saved.and_then(|saved| segments[layer - 1].output(saved)).ok_or_else(|| {
            let place = Place::new(&segments[layer - 1], Operation::ForwardSave { layer });
            let number = Some(script.turn - 1);
            let place = Place { number, ..place }.into();
            RunError::Missing { place, what: Tensor::Activation(layer) }
        })
    }

    /// Runs backward for one gradient of a(n) and keeps all that another backward pass needs.
    ///
    /// From the first such pass on that is what a plan that recomputes nothing keeps; nothing is
    /// recomputed a second time. End with [`backward_last`](Self::backward_last). To have many
    /// gradients in little memory, use [`Runner::run_many`].
    ///
    /// # Errors
    /// [`RunError`] names the layer and the operation; all values of the step are dropped.
    pub fn backward(
        &mut self,
        segments: &mut [S],
        gradient: &S::Value,
    ) -> Result<S::Value, RunError<S::Error>> {
        self.runner.script.expect(segments)?;
        let is_kept = self.is_retained;
        let mut unfinished = Unfinished { held: self, is_done: false };
        let held = &mut *unfinished.held;
        held.runner.state.rewind();
        let (mut pass, offload) = held.pass(Some(gradient), true);
        let made = pass.second_half(segments, offload, is_kept)?;
        held.is_retained = true;
        unfinished.is_done = true;
        Ok(made)
    }

    /// Runs backward for the last gradient of a(n), and forgets as the plan says.
    ///
    /// # Errors
    /// [`RunError`] names the layer and the operation.
    pub fn backward_last(
        mut self,
        segments: &mut [S],
        gradient: S::Value,
    ) -> Result<S::Value, RunError<S::Error>> {
        self.runner.script.expect(segments)?;
        self.finish(segments, |gradients| gradients.push(gradient))
    }

    /// The same for several gradients at once, as [`Runner::run_many`] does.
    ///
    /// # Errors
    /// [`RunError`] names the layer and the operation.
    pub fn backward_many(
        mut self,
        segments: &mut [S],
        gradients: Vec<S::Value>,
    ) -> Result<Vec<S::Value>, RunError<S::Error>> {
        self.runner.script.expect(segments)?;
        if gradients.is_empty() {
            return Ok(gradients);
        }
        let last = self.finish(segments, |own| *own = gradients)?;
        let mut made = mem::take(&mut self.runner.state.gradients);
        made.push(last);
        Ok(made)
    }

    fn finish(
        &mut self,
        segments: &mut [S],
        give: impl FnOnce(&mut Vec<S::Value>),
    ) -> Result<S::Value, RunError<S::Error>> {
        let is_kept = self.is_retained;
        self.runner.state.rewind();
        give(&mut self.runner.state.gradients);
        let (mut pass, offload) = self.pass(None, false);
        pass.second_half(segments, offload, is_kept)
    }

    fn pass<'h>(
        &'h mut self,
        gradient: Option<&'h S::Value>,
        retains: bool,
    ) -> (Pass<'h, S, O>, &'h mut O) {
        let Runner { script, state, offload, check, .. } = &mut *self.runner;
        let pass = Pass {
            script,
            state,
            base: None,
            input: None,
            gradient,
            random: self.random,
            check: *check,
            retains,
            skips: false,
            is_output_unread: false,
        };
        (pass, offload)
    }
}

impl<S: Segment, O: Moves<S>> Drop for Held<'_, S, O> {
    fn drop(&mut self) {
        self.runner.state.clear();
    }
}

impl<S: Segment, O: Moves<S>> fmt::Debug for Held<'_, S, O> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Held").field("runner", &self.runner).finish_non_exhaustive()
    }
}

/// Drops what a step stores unless the pass ended well.
struct Unfinished<'u, 'r, S: Segment, O: Moves<S>> {
    held: &'u mut Held<'r, S, O>,
    is_done: bool,
}

impl<S: Segment, O: Moves<S>> Drop for Unfinished<'_, '_, S, O> {
    fn drop(&mut self) {
        if !self.is_done {
            self.held.runner.state.clear();
            self.held.is_retained = false;
        }
    }
}
