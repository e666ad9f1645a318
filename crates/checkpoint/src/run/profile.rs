//! [`Profiler`]: a [`Chain`] measured from segments that run.

use std::sync::OnceLock;
use std::time::Instant;

use freeboard_units::Bytes;

use super::error::Place;
use super::{Meter, RunError, Segment};
use crate::{Chain, ChainError, Layer, Operation, Random};

/// Measures the bytes and times of segments, one after the other.
///
/// Each layer runs forward, forward again saving, and backward, in as much memory as that takes: a
/// model that does not fit can be profiled. Its own output stands in for the gradient, so gradients
/// of parameters are nonsense afterwards: set them to zero. Every layer first runs once unmeasured,
/// so that what it allocates once and keeps does not count.
#[derive(Clone, Debug)]
pub struct Profiler<M, C = fn() -> f64> {
    meter: M,
    clock: C,
    rounds: usize,
}

/// Why segments could not be measured.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError<E> {
    /// A segment failed.
    #[error("profiling: {0}")]
    Run(#[source] RunError<E>),
    /// The input could not be made.
    #[error("profiling: the input: {0}")]
    Input(#[source] E),
    /// What was measured is no chain: there are no segments, or the clock runs backward.
    #[error("what was measured cannot be planned for: {0}")]
    Chain(#[from] ChainError),
}

/// Seconds since the first call.
fn seconds() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

impl<M: Meter> Profiler<M> {
    /// Measures memory with `meter` and time with the system's clock, in three rounds.
    pub fn new(meter: M) -> Self {
        Self { meter, clock: seconds, rounds: 3 }
    }
}

impl<M: Meter, C: FnMut() -> f64> Profiler<M, C> {
    /// With another clock: seconds since any fixed moment. On a device that works asynchronously it
    /// waits for the compute stream first.
    #[must_use]
    pub fn clock<D: FnMut() -> f64>(self, clock: D) -> Profiler<M, D> {
        Profiler { meter: self.meter, clock, rounds: self.rounds }
    }

    /// How often each layer is measured, at least once; times are medians, sizes the largest.
    /// Default: 3.
    #[must_use]
    pub fn rounds(self, rounds: usize) -> Self {
        Self { rounds: rounds.max(1), ..self }
    }

    /// Measures the chain of these segments on the input that `input` makes.
    ///
    /// # Errors
    /// [`ProfileError`] names the layer that failed, or the measure that is no number.
    pub fn profile<S: Segment>(
        &mut self,
        segments: &mut [S],
        random: Random,
        input: impl FnOnce() -> Result<S::Value, S::Error>,
    ) -> Result<Chain, ProfileError<S::Error>> {
        let before = self.meter.in_use();
        let mut input = input().map_err(ProfileError::Input)?;
        let input_bytes = self.meter.in_use().saturating_sub(before);
        let mut bytes = input_bytes;
        let mut layers = Vec::with_capacity(segments.len());
        for (segment, layer) in segments.iter_mut().zip(1..) {
            let place = (&input, random.fork(layer as u64), layer);
            self.round(segment, place, &mut Measures::default())?;
            let mut measures = Measures::default();
            for _ in 0..self.rounds {
                self.round(segment, place, &mut measures)?;
            }
            let output = segment.forward(&input, random.fork(layer as u64));
            input = output.map_err(failed(segment, Operation::ForwardDrop { layer }))?;
            layers.push(measures.layer(segment.name(), bytes));
            bytes = measures.output;
        }
        Ok(Chain::new(input_bytes, layers)?)
    }

    /// Runs a layer once: forward, forward saving, backward.
    fn round<S: Segment>(
        &mut self,
        segment: &mut S,
        (input, random, layer): (&S::Value, Random, usize),
        measures: &mut Measures,
    ) -> Result<(), ProfileError<S::Error>> {
        let (output, forward) = self
            .sample(|| segment.forward(input, random))
            .map_err(failed(segment, Operation::ForwardDrop { layer }))?;
        let (saved, saving) = self
            .sample(|| segment.forward_saving(input, random))
            .map_err(failed(segment, Operation::ForwardSave { layer }))?;
        let (_, backward) = self
            .sample(|| segment.backward_last(input, saved, output, random))
            .map_err(failed(segment, Operation::Backward { layer }))?;
        measures.output = measures.output.max(forward.kept);
        measures.saved = measures.saved.max(saving.kept);
        for forward in [forward, saving] {
            let extra = forward.most.saturating_sub(forward.kept);
            measures.forward_extra = measures.forward_extra.max(extra);
        }
        measures.backward_most = measures.backward_most.max(backward.most);
        let times = [forward.time, saving.time, backward.time];
        measures.times.iter_mut().zip(times).for_each(|(all, time)| all.push(time));
        Ok(())
    }

    fn sample<T, E>(&mut self, work: impl FnOnce() -> Result<T, E>) -> Result<(T, Sample), E> {
        self.meter.reset_peak();
        let before = self.meter.in_use();
        let start = (self.clock)();
        let made = work()?;
        let time = (self.clock)() - start;
        let kept = self.meter.in_use().saturating_sub(before);
        let most = self.meter.peak().saturating_sub(before);
        Ok((made, Sample { time, kept, most }))
    }
}

fn failed<S: Segment>(
    segment: &S,
    operation: Operation,
) -> impl FnOnce(S::Error) -> ProfileError<S::Error> {
    move |source| {
        let place = Place::new(segment, operation).into();
        ProfileError::Run(RunError::Segment { place, source })
    }
}

/// One pass of one layer.
#[derive(Clone, Copy)]
struct Sample {
    time: f64,
    /// What is in use after it, above what was before.
    kept: Bytes,
    /// The most that was in use during it, above what was before.
    most: Bytes,
}

/// All rounds of one layer.
#[derive(Default)]
struct Measures {
    /// Of the forward passes, those that save, and the backward passes.
    times: [Vec<f64>; 3],
    output: Bytes,
    saved: Bytes,
    forward_extra: Bytes,
    backward_most: Bytes,
}

impl Measures {
    fn layer(&self, name: &str, input: Bytes) -> Layer {
        let [forward, saving, backward] = self.times.each_ref().map(|times| median(times));
        Layer {
            output_bytes: self.output,
            saved_bytes: self.saved,
            forward_extra_bytes: self.forward_extra,
            // The gradient of the input is as large as the input, and counted as such.
            backward_extra_bytes: self.backward_most.saturating_sub(input),
            ..Layer::new(name, forward.max(saving), backward)
        }
    }
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}
