//! One trace, one policy, one device: what came of it.

use std::collections::BTreeMap;

use freeboard_allocator::{
    Borrowed, CachingAllocator, Config, Error, HistoryOptions, Planning, Stats, Stitching,
};
use freeboard_device_sim::{SimConfig, SimDevice};
use freeboard_snapshot::Snapshot;
use freeboard_units::{Bytes, StreamId};
use serde::Serialize;

use crate::trace::{OpKind, Trace};

/// How a trace is run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunOptions {
    /// The allocator's settings.
    pub config: Config,
    /// The device's memory.
    pub capacity: Bytes,
    /// The part of the device's memory the allocator may hold, set after it was made, as
    /// `set_per_process_memory_fraction` does. Default: what the settings say.
    pub fraction: Option<f64>,
    /// How many operations later a recorded event is done. Default: 0, at once.
    pub event_lag: u64,
    /// Whether the trace goes on after a request ran out of memory, without that request's memory.
    pub keep_going: bool,
    /// How many points of the course of memory over time to keep; 0 for none.
    pub samples: usize,
    /// Whether a snapshot with the whole history is taken when the trace first runs out of memory.
    pub snapshot: bool,
}

impl RunOptions {
    /// A run under `config` on a device of `capacity`.
    #[must_use]
    pub const fn new(config: Config, capacity: Bytes) -> Self {
        let (fraction, keep_going, snapshot) = (None, false, false);
        Self { config, capacity, fraction, event_lag: 0, keep_going, samples: 0, snapshot }
    }

    /// With a limit set after the allocator was made.
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

    /// Going on after requests that ran out of memory.
    #[must_use]
    pub const fn keep_going(mut self, keep_going: bool) -> Self {
        self.keep_going = keep_going;
        self
    }

    /// Taking a snapshot when the trace first runs out of memory.
    #[must_use]
    pub const fn snapshot(mut self, snapshot: bool) -> Self {
        self.snapshot = snapshot;
        self
    }

    /// Keeping up to `samples` points of the course of memory over time.
    #[must_use]
    pub const fn samples(mut self, samples: usize) -> Self {
        self.samples = samples;
        self
    }
}

/// What came of a run. Field names are those of the JSON form.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Run {
    /// Whether every request was served.
    pub survived: bool,
    /// The device's memory.
    pub capacity: Bytes,
    /// The most bytes asked for and live at one time.
    pub peak_requested: Bytes,
    /// The most bytes in blocks handed out.
    pub peak_allocated: Bytes,
    /// The most bytes in blocks handed out or still used by another stream.
    pub peak_active: Bytes,
    /// The most bytes held from the device.
    pub peak_reserved: Bytes,
    /// Bytes in blocks handed out at the end.
    pub current_allocated: Bytes,
    /// Bytes held from the device at the end.
    pub current_reserved: Bytes,
    /// The most physical bytes the device had given out.
    pub device_peak_used: Bytes,
    /// Requests tried again after everything cached had been given back.
    pub num_alloc_retries: i64,
    /// Requests that ran out of memory after everything had been tried.
    pub num_ooms: i64,
    /// Requests that ran out of memory for any reason, early refusals included.
    pub oom_events: usize,
    /// The first twenty of them.
    pub ooms: Vec<Oom>,
    /// Times the whole device had to be waited for.
    pub stalls: i64,
    /// Time that driver calls would take, by the simulated device's cost model.
    pub driver_time_ns: u64,
    /// All counters.
    pub stats: Stats,
    /// What stitching did; all zero where memory is not stitched.
    pub stitching: Stitching,
    /// What planning did; all zero where steps are not planned.
    pub planning: Planning,
    /// Driver calls by name.
    pub calls: BTreeMap<&'static str, u64>,
    /// The course of memory over time, if asked for.
    #[serde(skip)]
    pub samples: Vec<Sample>,
    /// Memory and its whole history when it first ran out, if asked for.
    #[serde(skip)]
    pub snapshot: Option<Box<Snapshot>>,
}

/// A request that ran out of memory.
#[derive(Clone, Debug, Serialize)]
pub struct Oom {
    /// Its line in the trace.
    pub line: u32,
    /// Bytes asked for.
    pub size: Bytes,
    /// The allocator's report, as text.
    pub message: String,
}

/// Memory at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How many operations had been run.
    pub op: usize,
    /// Bytes in blocks handed out.
    pub allocated: Bytes,
    /// Bytes held from the device.
    pub reserved: Bytes,
}

/// Why a trace could not be run at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The allocator failed for another reason than memory.
    #[error("{}: {error}", place(*line))]
    Allocator {
        /// The line of the operation; 0 before the first one.
        line: u32,
        /// What it said.
        error: Error,
    },
    /// No capacity up to this one lets the trace survive.
    #[error("the trace does not survive on {tried}: raise --capacity, or look at the settings")]
    NeverSurvives {
        /// The largest capacity tried.
        tried: Bytes,
    },
}

fn place(line: u32) -> String {
    if line == 0 { "before the first line".to_owned() } else { format!("line {line}") }
}

/// Out-of-memory reports kept in a result.
const OOMS_KEPT: usize = 20;

/// Runs a trace.
///
/// Every operation moves the simulated device's clock by one tick.
///
/// # Errors
/// When the settings exclude each other or the allocator fails for another reason than memory.
pub fn run(trace: &Trace, options: &RunOptions) -> Result<Run, RunError> {
    let device = SimDevice::with_config(SimConfig {
        event_lag_ticks: options.event_lag,
        ..SimConfig::new(options.capacity)
    });
    let allocator = CachingAllocator::new(&device, options.config.clone())
        .map_err(|error| RunError::Allocator { line: 0, error })?;
    if let Some(fraction) = options.fraction {
        allocator
            .set_memory_fraction(fraction)
            .map_err(|error| RunError::Allocator { line: 0, error: error.into() })?;
    }
    if options.snapshot {
        // Each operation makes a handful of events at the most, but for segments, which are few.
        let events = trace.ops.len().saturating_mul(4).max(10_000);
        allocator.record_history(HistoryOptions::default().with_events(events));
    }
    let mut failure = None;
    let mut replay = Replay {
        allocator: &allocator,
        held: std::iter::repeat_with(|| None).take(trace.slots as usize).collect(),
        ooms: Vec::new(),
        oom_events: 0,
        samples: Vec::new(),
    };
    let every = trace.ops.len().div_ceil(options.samples.max(1)).max(1);
    let mut marks = trace.steps.iter().peekable();
    for (index, op) in trace.ops.iter().enumerate() {
        while let Some(mark) = marks.next_if(|mark| mark.op_index <= index) {
            allocator.step();
            if options.snapshot {
                allocator.annotate(format!("step {}", mark.text));
            }
        }
        match replay.step(op.kind) {
            Ok(()) => {}
            Err(Error::OutOfMemory(report)) => {
                replay.oom_events += 1;
                if options.snapshot && failure.is_none() {
                    failure = Some(Box::new(allocator.snapshot()));
                }
                if replay.ooms.len() < OOMS_KEPT {
                    let (size, message) = (report.requested, report.to_string());
                    replay.ooms.push(Oom { line: op.line, size, message });
                }
                if !options.keep_going {
                    break;
                }
            }
            Err(error) => return Err(RunError::Allocator { line: op.line, error }),
        }
        device.advance(1);
        if options.samples > 0 && index % every == 0 {
            replay.sample(index + 1);
        }
    }
    let Replay { ooms, oom_events, samples, held, .. } = replay;
    let result = Run {
        stitching: by_the_model(allocator.stitching(), &device),
        planning: allocator.planning(),
        ..summarize(&allocator.stats(), &device)
    };
    drop(held);
    Ok(Run { survived: oom_events == 0, oom_events, ooms, samples, snapshot: failure, ..result })
}

/// Time on a simulated device is what its cost model says, not what the simulation took.
fn by_the_model(mut stitching: Stitching, device: &SimDevice) -> Stitching {
    stitching.driver_time_ns = if stitching.handles > 0 { device.driver_time_ns() } else { 0 };
    stitching
}

fn summarize(stats: &Stats, device: &SimDevice) -> Run {
    let bytes = |value: i64| Bytes::new(u64::try_from(value).unwrap_or(0));
    Run {
        survived: true,
        capacity: device.capacity(),
        peak_requested: bytes(stats.requested_bytes.all.peak),
        peak_allocated: bytes(stats.allocated_bytes.all.peak),
        peak_active: bytes(stats.active_bytes.all.peak),
        peak_reserved: bytes(stats.reserved_bytes.all.peak),
        current_allocated: bytes(stats.allocated_bytes.all.current),
        current_reserved: bytes(stats.reserved_bytes.all.current),
        device_peak_used: device.peak_used(),
        num_alloc_retries: stats.num_alloc_retries,
        num_ooms: stats.num_ooms,
        oom_events: 0,
        ooms: Vec::new(),
        stalls: stats.stalls,
        driver_time_ns: device.driver_time_ns(),
        stats: stats.clone(),
        stitching: Stitching::default(),
        planning: Planning::default(),
        calls: device.calls(),
        samples: Vec::new(),
        snapshot: None,
    }
}

/// A run in progress.
struct Replay<'a, 'd> {
    allocator: &'a CachingAllocator<&'d SimDevice>,
    /// What each slot holds; nothing after a request that ran out of memory.
    held: Vec<Option<Borrowed<'a, &'d SimDevice>>>,
    ooms: Vec<Oom>,
    oom_events: usize,
    samples: Vec<Sample>,
}

impl Replay<'_, '_> {
    fn step(&mut self, kind: OpKind) -> Result<(), Error> {
        match kind {
            OpKind::Allocate { slot, size, stream } => {
                let held = &mut self.held[slot as usize];
                *held = Some(self.allocator.allocate(size, StreamId::new(stream.into()))?);
            }
            OpKind::Free { slot } => self.held[slot as usize] = None,
            OpKind::RecordUse { slot, stream } => {
                if let Some(held) = &self.held[slot as usize] {
                    held.record_use(StreamId::new(stream.into()))?;
                }
            }
            OpKind::EmptyCache => self.allocator.empty_cache()?,
        }
        Ok(())
    }

    fn sample(&mut self, op: usize) {
        let stats = self.allocator.stats();
        let bytes = |value: i64| Bytes::new(u64::try_from(value).unwrap_or(0));
        self.samples.push(Sample {
            op,
            allocated: bytes(stats.allocated_bytes.all.current),
            reserved: bytes(stats.reserved_bytes.all.current),
        });
    }
}
