//! [`ClosedLoop`]: measure, plan, run, compare, and plan again when memory runs out.

mod outcome;
mod planning;

use std::fmt;
use std::sync::Arc;

use freeboard_checkpoint::{
    Chain, Meter, Moves, PeakWatch, Plan, PlanError, Profiler, Random, RunError, Runner, Segment,
    Stay,
};
use freeboard_units::Bytes;

use crate::shortage::{Shortage, available};

pub use outcome::{LoopError, Outcome, Replan};
pub use planning::Planning;

/// What a loop does when memory runs out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoopConfig {
    /// How often a step is planned and run again, at most; 8. The last one has the least plan.
    pub most_replans: usize,
    /// What the next plan may take of the last one's peak where nobody knows how much was missing, or
    /// planning with that did not help; more than 0 and less than 1; 0.9.
    pub tighten: f64,
    /// How far the measured peak may be from the predicted one, as a share of it; 0.01.
    pub tolerance: f64,
}

impl Default for LoopConfig {
    fn default() -> Self {
        Self { most_replans: 8, tighten: 0.9, tolerance: 0.01 }
    }
}

/// What a step needs beside its segments. It may be asked for everything again.
pub trait Step<S: Segment> {
    /// Makes a(0), the same one every time.
    ///
    /// # Errors
    /// The program's own.
    fn input(&mut self) -> Result<S::Value, S::Error>;

    /// Makes the gradient of the loss with respect to the last layer's output.
    ///
    /// # Errors
    /// The program's own.
    fn loss_gradient(&mut self, output: &S::Value) -> Result<S::Value, S::Error>;

    /// Takes back what a step that failed half way has done to the segments: sets the gradients of
    /// their parameters to what they were before it, which is zero in most programs.
    ///
    /// # Errors
    /// The program's own; then the step is not run again.
    fn undo(&mut self, segments: &mut [S]) -> Result<(), S::Error>;
}

/// Runs training steps within a budget, and finds out what that takes.
///
/// Each step runs by a plan and is measured: its [`Outcome`] has the predicted and the measured peak.
/// A step that runs out of memory is taken back, planned again with less, and run again; its numbers
/// are those that it would have had, since a plan changes none. The tightened budget stays for the
/// steps after it.
///
/// ```
/// use std::sync::Arc;
///
/// use freeboard_allocator::{CachingAllocator, Config};
/// use freeboard_budget::{AllocatorMeter, Budget, ClosedLoop, Step};
/// use freeboard_buffer::{BufferError, DeviceBuffer};
/// use freeboard_checkpoint::{Profiler, Random, Segment};
/// use freeboard_device_host::HostDevice;
/// use freeboard_units::{Bytes, StreamId};
///
/// type Values = DeviceBuffer<f32, HostDevice>;
///
/// /// Doubles; saves the output and an equally large buffer.
/// struct Double;
///
/// impl Segment for Double {
///     type Value = Values;
///     type Saved = [Values; 2];
///     type Error = BufferError;
///
///     fn name(&self) -> &str {
///         "double"
///     }
///     fn forward(&self, input: &Values, _: Random) -> Result<Values, BufferError> {
///         let doubled: Vec<f32> = input.to_vec()?.iter().map(|value| 2.0 * value).collect();
///         DeviceBuffer::from_slice(input.allocator(), &doubled, input.stream())
///     }
///     fn forward_saving(&self, input: &Values, random: Random) -> Result<[Values; 2], BufferError> {
///         Ok([self.forward(input, random)?, input.try_clone()?])
///     }
///     fn output<'saved>(&self, saved: &'saved [Values; 2]) -> Option<&'saved Values> {
///         Some(&saved[0])
///     }
///     fn backward(
///         &mut self,
///         _: &Values,
///         _: &[Values; 2],
///         gradient: &Values,
///         random: Random,
///     ) -> Result<Values, BufferError> {
///         self.forward(gradient, random)
///     }
/// }
///
/// struct Ones<'a>(&'a Arc<CachingAllocator<HostDevice>>);
///
/// impl Step<Double> for Ones<'_> {
///     fn input(&mut self) -> Result<Values, BufferError> {
///         DeviceBuffer::filled(self.0, 100_000, 1.0, StreamId::DEFAULT)
///     }
///     fn loss_gradient(&mut self, output: &Values) -> Result<Values, BufferError> {
///         output.try_clone()
///     }
///     fn undo(&mut self, _: &mut [Double]) -> Result<(), BufferError> {
///         Ok(()) // no parameters, no gradients
///     }
/// }
///
/// let device = HostDevice::new(Bytes::mib(16))?;
/// let allocator = Arc::new(CachingAllocator::new(device, Config::default())?);
/// let mut layers: Vec<Double> = (0..16).map(|_| Double).collect();
/// let mut step = Ones(&allocator);
///
/// let meter = AllocatorMeter::new(&allocator);
/// let chain = Profiler::new(&meter).profile(&mut layers, Random::new(1), || step.input())?;
/// let budget = Budget::free(&allocator)?.share(0.5).get()?; // keeping all would take 14 MiB
/// let mut training = ClosedLoop::new(&layers, chain, budget, meter)?;
/// let outcome = training.step(&mut layers, &mut step, Random::new(7))?;
/// assert!(outcome.report.deviation().abs() < 0.01 && outcome.report.measured <= budget);
/// assert_eq!(outcome.gradient.slice(..1)?.to_vec()?, [65536.0 * 65536.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ClosedLoop<S: Segment, M: Meter, O: Moves<S> = Stay> {
    chain: Chain,
    budget: Bytes,
    meter: M,
    planning: Planning<O>,
    config: LoopConfig,
    plan: Arc<Plan>,
    runner: Runner<S, O>,
}

impl<S: Segment<Error: Shortage>, M: Meter> ClosedLoop<S, M> {
    /// A loop over segments that were measured, within a budget in bytes, with
    /// [`optimal`](Planning::optimal) plans.
    ///
    /// # Errors
    /// [`LoopError::Plan`] when no plan fits; [`LoopError::Runner`] when the chain is of other
    /// segments.
    pub fn new(
        segments: &[S],
        chain: Chain,
        budget: Bytes,
        meter: M,
    ) -> Result<Self, LoopError<S::Error>> {
        Self::with_planning(segments, chain, budget, meter, Planning::optimal())
    }
}

impl<S: Segment<Error: Shortage>, M: Meter, O: Moves<S> + Clone> ClosedLoop<S, M, O> {
    /// The same with other plans.
    ///
    /// # Errors
    /// As [`new`](ClosedLoop::new).
    pub fn with_planning(
        segments: &[S],
        chain: Chain,
        budget: Bytes,
        meter: M,
        mut planning: Planning<O>,
    ) -> Result<Self, LoopError<S::Error>> {
        let plan = (planning.planner)(&chain, budget)?;
        let runner = Runner::offloading(segments, &plan, planning.offload.clone())?;
        let (plan, config) = (Arc::new(plan), LoopConfig::default());
        Ok(Self { chain, budget, meter, planning, config, plan, runner })
    }

    /// With other settings.
    ///
    /// # Errors
    /// [`LoopError::Setting`] when one makes no sense.
    pub fn configured(self, config: LoopConfig) -> Result<Self, LoopError<S::Error>> {
        let allow = |is_fine: bool, setting, value| {
            if is_fine { Ok(()) } else { Err(LoopError::Setting { setting, value }) }
        };
        let LoopConfig { tighten, tolerance, .. } = config;
        allow(tighten > 0.0 && tighten < 1.0, "tighten", tighten)?;
        allow(tolerance >= 0.0, "tolerance", tolerance)?;
        Ok(Self { config, ..self })
    }

    /// Runs one step. Layer i draws from `random.fork(i)`, however often the step is run.
    ///
    /// # Errors
    /// [`LoopError::Exhausted`] with all that was tried, when memory runs out even so. Any other error
    /// of a segment is [`LoopError::Run`], and the step is not run again. What the step did to the
    /// segments is taken back in both cases.
    pub fn step(
        &mut self,
        segments: &mut [S],
        step: &mut impl Step<S>,
        random: Random,
    ) -> Result<Outcome<S::Value>, LoopError<S::Error>> {
        let mut replans = Vec::new();
        loop {
            let watch = PeakWatch::begin(&self.meter);
            let before = self.meter.in_use();
            let input = step.input().map_err(LoopError::Input)?;
            let ran = self.runner.run(segments, input, random, |output| step.loss_gradient(output));
            let source = match ran {
                Ok(gradient) => {
                    let report = watch.end(&self.plan).tolerating(self.config.tolerance);
                    let plan = Arc::clone(&self.plan);
                    return Ok(Outcome { gradient, report, replans, plan });
                }
                Err(error) => error,
            };
            step.undo(segments).map_err(LoopError::Undo)?;
            self.tighten(segments, source, before, &mut replans)?;
        }
    }

    /// Plans again with less, if memory ran out and there is less.
    fn tighten(
        &mut self,
        segments: &[S],
        source: RunError<S::Error>,
        before: Bytes,
        replans: &mut Vec<Replan>,
    ) -> Result<(), LoopError<S::Error>> {
        let Some(report) = source.cause().and_then(Shortage::out_of_memory) else {
            return Err(LoopError::Run(source));
        };
        let took = self.plan.peak_bytes;
        let missing = available(report, before).map(|there| took.saturating_sub(there));
        let missing = missing.filter(|missing| !missing.is_zero());
        let enough = took.saturating_sub(missing.unwrap_or_default());
        let next = match (missing, replans.len() + 1) {
            (_, count) if count == self.config.most_replans => Bytes::ZERO,
            (Some(_), 1) => enough,
            // What is there is not all that it takes: it is in pieces, or others take it.
            _ => enough.min(part(took, self.config.tighten)),
        };
        let mut replan = Replan {
            at: source.place().map_or_else(|| "the loss".to_owned(), ToString::to_string),
            requested: report.requested,
            missing,
            from: took,
            budget: self.budget,
            to: None,
        };
        let is_over = replans.len() >= self.config.most_replans;
        let plan = if is_over { None } else { self.smaller(next)? };
        let Some(plan) = plan else {
            replans.push(replan);
            let history = std::mem::take(replans);
            return Err(LoopError::Exhausted { least: took, history, source });
        };
        let budget = next.max(plan.peak_bytes);
        self.follow(segments, plan, budget)?;
        replan.to = Some(self.plan.peak_bytes);
        tracing::warn!(%replan, "out of memory: the step is planned and run again with less");
        replans.push(replan);
        Ok(())
    }

    /// A plan within a budget, or else the least one; none if that takes no less than the last one.
    fn smaller(&mut self, budget: Bytes) -> Result<Option<Plan>, PlanError> {
        let took = self.plan.peak_bytes;
        let plan = match (self.planning.planner)(&self.chain, budget) {
            Err(PlanError::BudgetBelowMinimum { minimum, .. }) if minimum < took => {
                (self.planning.planner)(&self.chain, minimum)?
            }
            Err(PlanError::BudgetBelowMinimum { .. }) => return Ok(None),
            plan => plan?,
        };
        Ok(Some(plan).filter(|plan| plan.peak_bytes < took))
    }

    /// Runs by a plan from the next step on.
    fn follow(
        &mut self,
        segments: &[S],
        plan: Plan,
        budget: Bytes,
    ) -> Result<(), LoopError<S::Error>> {
        self.runner = Runner::offloading(segments, &plan, self.planning.offload.clone())?;
        (self.plan, self.budget) = (Arc::new(plan), budget);
        Ok(())
    }

    /// Plans for another budget, from the next step on: after memory came free, or others need some.
    ///
    /// # Errors
    /// [`LoopError::Plan`] when no plan fits; the old plan stays.
    pub fn set_budget(&mut self, segments: &[S], budget: Bytes) -> Result<(), LoopError<S::Error>> {
        let plan = (self.planning.planner)(&self.chain, budget)?;
        self.follow(segments, plan, budget)
    }

    /// The budget of the next step.
    #[must_use]
    pub const fn budget(&self) -> Bytes {
        self.budget
    }

    /// The plan of the next step.
    #[must_use]
    pub const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// What was measured.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Measures the segments again, and plans for what they take now: after the sizes of tensors
    /// changed, or a step's report said that the prediction was off.
    ///
    /// # Errors
    /// [`LoopError::Profile`] when a segment fails, [`LoopError::Plan`] when no plan fits; the old plan
    /// stays.
    pub fn measure_again(
        &mut self,
        segments: &mut [S],
        step: &mut impl Step<S>,
        random: Random,
    ) -> Result<(), LoopError<S::Error>> {
        let measured = Profiler::new(&self.meter).profile(segments, random, || step.input());
        step.undo(segments).map_err(LoopError::Undo)?;
        let chain = measured?;
        let plan = (self.planning.planner)(&chain, self.budget)?;
        self.follow(segments, plan, self.budget)?;
        self.chain = chain;
        Ok(())
    }
}

fn part(of: Bytes, share: f64) -> Bytes {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a number of bytes"
    )]
    let part = (of.as_f64() * share) as u64;
    Bytes::new(part)
}

impl<S: Segment, M: Meter, O: Moves<S>> fmt::Debug for ClosedLoop<S, M, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClosedLoop")
            .field("budget", &self.budget)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}
