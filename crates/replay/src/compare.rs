//! Many traces under many policies, and who does best.

mod summary;
mod tight;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use freeboard_allocator::Config;
use freeboard_units::Bytes;
use parking_lot::Mutex;
use serde::Serialize;

pub use summary::{Summary, best, summarize};
pub use tight::{Tight, TightSummary};

use crate::least::least;
use crate::picture;
use crate::run::{RunError, RunOptions, Sample, run};
use crate::trace::Trace;

/// A device that is ample for any program of one device: 512 GiB.
pub const AMPLE: Bytes = Bytes::gib(512);

/// A policy that takes part.
#[derive(Clone, Debug, PartialEq)]
pub struct Contender {
    /// What to call it in reports.
    pub name: String,
    /// Its settings.
    pub config: Config,
}

impl Contender {
    /// A contender of this name.
    pub fn new(name: impl Into<String>, config: Config) -> Self {
        Self { name: name.into(), config }
    }

    /// `PyTorch`'s policy as it comes.
    #[must_use]
    pub fn pytorch() -> Self {
        Self::new("pytorch", Config::pytorch())
    }

    /// `PyTorch`'s policy with segments that grow.
    #[must_use]
    pub fn pytorch_expandable() -> Self {
        let config = Config::pytorch().with_expandable_segments(true);
        Self::new("pytorch expandable_segments:True", config)
    }

    /// Our policy as it comes.
    #[must_use]
    pub fn freeboard() -> Self {
        Self::new("freeboard", Config::default())
    }
}

/// How a comparison is run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CompareOptions {
    /// The memory of the device everyone runs on. Default: [`AMPLE`].
    pub capacity: Bytes,
    /// The part of the device's memory the allocator may hold. Default: what the settings say.
    pub fraction: Option<f64>,
    /// How many operations later a recorded event is done. Default: 0, at once.
    pub event_lag: u64,
    /// Whether the smallest surviving device is looked for, some ten runs each. Default: it is.
    pub search: bool,
    /// Devices this many times as large as the live peak on which each trace is run as well;
    /// default: none.
    pub tight: Vec<f64>,
    /// How many stretches of the course of memory over time to keep, of up to six points each;
    /// default: none.
    pub stretches: usize,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            capacity: AMPLE,
            fraction: None,
            event_lag: 0,
            search: true,
            tight: Vec::new(),
            stretches: 0,
        }
    }
}

impl CompareOptions {
    /// With runs on a device of `capacity`.
    #[must_use]
    pub const fn capacity(mut self, capacity: Bytes) -> Self {
        self.capacity = capacity;
        self
    }

    /// With a limit set after each allocator was made.
    #[must_use]
    pub const fn fraction(mut self, fraction: Option<f64>) -> Self {
        self.fraction = fraction;
        self
    }

    /// With recorded events done `operations` later.
    #[must_use]
    pub const fn event_lag(mut self, operations: u64) -> Self {
        self.event_lag = operations;
        self
    }

    /// With or without looking for the smallest surviving device.
    #[must_use]
    pub const fn search(mut self, search: bool) -> Self {
        self.search = search;
        self
    }

    /// With runs on devices this many times as large as the live peak.
    #[must_use]
    pub fn tight(mut self, factors: &[f64]) -> Self {
        self.tight = factors.to_vec();
        self
    }

    /// Keeping the course of memory over time, for a picture of `stretches` columns.
    #[must_use]
    pub const fn stretches(mut self, stretches: usize) -> Self {
        self.stretches = stretches;
        self
    }
}

/// What came of one trace under one policy. Field names are those of the JSON form.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Row {
    /// The trace.
    pub trace: String,
    /// The policy.
    pub contender: String,
    /// Whether every request was served, on the device given.
    pub survived: bool,
    /// The trace's most bytes asked for and live at one time: no device can be smaller.
    pub peak_requested: Bytes,
    /// The most bytes in blocks handed out, up to the end of the trace or of its memory.
    pub peak_allocated: Bytes,
    /// The most bytes held from the device.
    pub peak_reserved: Bytes,
    /// Held from the device divided by handed out, peak by peak; none where nothing was.
    pub reserved_ratio: Option<f64>,
    /// The smallest surviving device; none where it was not looked for or no device survives.
    pub min_capacity: Option<Bytes>,
    /// The smallest surviving device divided by `peak_requested`.
    pub capacity_ratio: Option<f64>,
    /// Driver calls of any kind.
    pub driver_calls: u64,
    /// Time that they would take, by the simulated device's cost model.
    pub driver_time_ns: u64,
    /// Times the whole device had to be waited for.
    pub stalls: i64,
    /// Requests tried again after everything cached had been given back.
    pub retries: i64,
    /// Requests that ran out of memory: 0, or 1 at which the run ended.
    pub oom_events: usize,
    /// What came of it on devices little larger than the live peak, where that was asked for.
    pub tight: Vec<Tight>,
    /// Why it could not be run at all; counts as not surviving.
    pub error: Option<String>,
    /// The course of memory over time, if asked for.
    #[serde(skip)]
    pub samples: Vec<Sample>,
}

/// Every trace under every policy, and the sums. Field names are those of the JSON form.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Comparison {
    /// Trace by trace, and in each the contenders in the order given.
    pub rows: Vec<Row>,
    /// One for each contender, in the order given.
    pub summary: Vec<Summary>,
    /// Who does best; none where several do exactly as well.
    pub winner: Option<String>,
}

impl Comparison {
    /// The sums of these rows.
    #[must_use]
    pub fn of(rows: Vec<Row>) -> Self {
        let summary = summarize(&rows);
        let winner = match best(&summary)[..] {
            [only] => Some(only.contender.clone()),
            _ => None,
        };
        Self { rows, summary, winner }
    }
}

/// Runs every trace under every contender, on all processors.
///
/// A contender that fails on a trace has a row that says so; the others go on. `progress` is told
/// how many rows are done and how many there will be, from one thread at a time.
///
/// # Examples
/// ```
/// use freeboard_replay::compare::{CompareOptions, Contender, compare};
/// use freeboard_replay::workload;
///
/// let traces = [workload::find("h15-fifo").expect("a scenario of this crate").trace(0)];
/// let contenders = [Contender::pytorch(), Contender::freeboard()];
/// let options = CompareOptions::default().search(false);
/// let comparison = compare(&traces, &contenders, &options, &|_, _| {});
/// assert!(comparison.rows.iter().all(|row| row.survived));
/// ```
pub fn compare(
    traces: &[Trace],
    contenders: &[Contender],
    options: &CompareOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Comparison {
    let mut jobs: Vec<(&Trace, &Contender)> = Vec::new();
    for trace in traces {
        jobs.extend(contenders.iter().map(|contender| (trace, contender)));
    }
    // The longest first, so that none is left for the end while other threads idle.
    let mut queue: Vec<usize> = (0..jobs.len()).collect();
    queue.sort_by_key(|&job| Reverse(jobs[job].0.ops.len()));
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(jobs.len()));
    let work = || {
        // Any order will do: the number only has to be drawn once.
        while let Some(&job) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (trace, contender) = jobs[job];
            let row = measure(trace, contender, options);
            let mut done = done.lock();
            done.push((job, row));
            progress(done.len(), jobs.len());
        }
    };
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    thread::scope(|scope| {
        for _ in 0..processors.min(jobs.len()) {
            scope.spawn(work);
        }
    });
    let mut rows = done.into_inner();
    rows.sort_by_key(|(job, _)| *job);
    Comparison::of(rows.into_iter().map(|(_, row)| row).collect())
}

/// Points of a run that are looked at before they are thinned out.
const SAMPLES_MAX: usize = 1 << 20;

fn measure(trace: &Trace, contender: &Contender, options: &CompareOptions) -> Row {
    let mut row = Row {
        trace: trace.name.clone(),
        contender: contender.name.clone(),
        peak_requested: trace.peak_requested,
        ..Row::default()
    };
    let on_it = RunOptions::new(contender.config.clone(), options.capacity)
        .fraction(options.fraction)
        .event_lag(options.event_lag)
        .samples(if options.stretches > 0 { SAMPLES_MAX } else { 0 });
    if let Err(error) = row.run(trace, &on_it, options) {
        row.survived = false;
        row.error = Some(error.to_string());
    }
    row
}

impl Row {
    fn run(
        &mut self,
        trace: &Trace,
        on_it: &RunOptions,
        options: &CompareOptions,
    ) -> Result<(), RunError> {
        let run = run(trace, on_it)?;
        self.survived = run.survived;
        self.peak_allocated = run.peak_allocated;
        self.peak_reserved = run.peak_reserved;
        self.reserved_ratio = ratio(run.peak_reserved, run.peak_allocated);
        self.driver_calls = run.calls.values().sum();
        self.driver_time_ns = run.driver_time_ns;
        self.stalls = run.stalls;
        self.retries = run.num_alloc_retries;
        self.oom_events = run.oom_events;
        self.samples = picture::thin(&run.samples, options.stretches);
        for &factor in &options.tight {
            self.tight.push(Tight::run(trace, factor, on_it)?);
        }
        if options.search {
            // Who did not survive here may on a larger device.
            let start = if run.survived { on_it.capacity } else { on_it.capacity.max(AMPLE) };
            match least(trace, &RunOptions { capacity: start, ..on_it.clone() }) {
                Ok(least) => {
                    self.min_capacity = Some(least.min_capacity);
                    self.capacity_ratio = ratio(least.min_capacity, trace.peak_requested);
                }
                Err(RunError::NeverSurvives { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn ratio(part: Bytes, of: Bytes) -> Option<f64> {
    (!of.is_zero()).then(|| part.as_f64() / of.as_f64())
}
