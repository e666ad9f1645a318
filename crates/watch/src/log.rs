//! [`MemoryLog`]: a line about memory every so many steps.

mod line;
mod sink;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use freeboard_allocator::CachingAllocator;
use freeboard_device::Device;
use freeboard_units::{Bytes, StreamId};

use self::line::{Counts, measure};
use self::sink::{Rotating, Sink};
use crate::timeline::Timeline;

pub(crate) use self::line::now_us;
pub use self::line::{Level, Line};

/// Why a log cannot be opened, or what it could not write.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file cannot be opened.
    #[error("cannot open {} for the memory log: {error}; name a file in a folder that may be written to", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// Lines were lost; training went on.
    #[error(
        "the memory log lost {lost} of {lines} lines; the first: {first}; look whether the disk is full"
    )]
    Lost {
        /// How many lines could not be written.
        lost: u64,
        /// How many there were.
        lines: u64,
        /// What was wrong when the first was lost.
        first: String,
    },
    /// The last lines may not have arrived.
    #[error("the memory log cannot be flushed: {0}; its last lines may be lost")]
    Flush(io::Error),
}

/// How a [`MemoryLog`] is to be. Every setting has a default that works.
#[derive(Clone, Debug)]
pub struct LogOptions {
    every: u64,
    last_step: u64,
    stream: Option<StreamId>,
    rotate_at: Bytes,
    keep: u32,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { every: 10, last_step: 0, stream: None, rotate_at: Bytes::mib(64), keep: 3 }
    }
}

impl LogOptions {
    /// A line every so many steps; 10. Zero counts as one.
    #[must_use]
    pub fn every(mut self, steps: u64) -> Self {
        self.every = steps.max(1);
        self
    }

    /// The step that ended last, where a run is resumed; 0. The first call of
    /// [`MemoryLog::step`] ends the one after it.
    #[must_use]
    pub fn resumed_after(mut self, step: u64) -> Self {
        self.last_step = step;
        self
    }

    /// The stream whose view of free memory is told; the first that the allocator has seen.
    #[must_use]
    pub fn stream(mut self, stream: StreamId) -> Self {
        self.stream = Some(stream);
        self
    }

    /// When a file is put aside under a number, and how many of these are kept; 64 MiB and 3. More
    /// than `(keep + 1) * size` bytes are never written.
    #[must_use]
    pub fn rotate(mut self, size: Bytes, keep: u32) -> Self {
        self.rotate_at = size;
        self.keep = keep;
        self
    }

    /// A log into a file; lines are added to those it has.
    ///
    /// # Errors
    /// When the file cannot be opened. Later failures do not stop training.
    pub fn open(self, path: impl AsRef<Path>) -> Result<MemoryLog, LogError> {
        let path = path.as_ref();
        match Rotating::open(path, self.rotate_at, self.keep) {
            Ok(file) => Ok(MemoryLog::new(self, Sink::File(file))),
            Err(error) => Err(LogError::Open { path: path.to_owned(), error }),
        }
    }

    /// A log to whatever takes bytes: each line in one call of [`Write::write_all`].
    #[must_use]
    pub fn write_to(self, writer: impl Write + Send + 'static) -> MemoryLog {
        MemoryLog::new(self, Sink::Writer(Box::new(writer)))
    }

    /// A log without lines: only the events of `tracing`.
    #[must_use]
    pub fn events_only(self) -> MemoryLog {
        MemoryLog::new(self, Sink::Nowhere)
    }
}

/// Writes, every 10 steps, what memory looks like: one line of JSON (a [`Line`]), and one event of
/// `tracing` (target `freeboard::memory`, level info).
///
/// A disk that fails does not stop training: it is reported once as an event (level error), every lost
/// line is counted, and [`finish`](Self::finish) tells. The log begins a new window of peaks with every line
/// ([`CachingAllocator::take_peaks`]), so an allocator should have one log; the peaks in its
/// [`stats`](CachingAllocator::stats) stay those of the whole run. A line costs one call to the device (what
/// is free) and a walk over all blocks.
///
/// ```
/// use freeboard_allocator::{CachingAllocator, Config};
/// use freeboard_device_sim::SimDevice;
/// use freeboard_units::{Bytes, StreamId};
/// use freeboard_watch::MemoryLog;
///
/// let allocator = CachingAllocator::new(SimDevice::new(Bytes::gib(1)), Config::default())?;
/// # let folder = std::env::temp_dir().join(format!("freeboard-log-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("memory.jsonl");
/// let mut log = MemoryLog::open(&path)?;
/// for _ in 0..20 {
///     let activations = allocator.allocate(Bytes::mib(100), StreamId::DEFAULT)?;
///     drop(activations);
///     log.step(&allocator);
/// }
/// log.finish()?;
/// assert_eq!(std::fs::read_to_string(&path)?.lines().count(), 2);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MemoryLog {
    options: LogOptions,
    sink: Sink,
    step: u64,
    counts: Counts,
    timeline: Timeline,
    lines: u64,
    lost: u64,
    first: Option<String>,
}

impl MemoryLog {
    fn new(options: LogOptions, sink: Sink) -> Self {
        Self {
            step: options.last_step,
            options,
            sink,
            counts: Counts::default(),
            timeline: Timeline::default(),
            lines: 0,
            lost: 0,
            first: None,
        }
    }

    /// A log into a file, with the default options.
    ///
    /// # Errors
    /// When the file cannot be opened. Later failures do not stop training.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LogError> {
        LogOptions::default().open(path)
    }

    /// Ends a step: the one line a training loop needs.
    pub fn step<D: Device>(&mut self, allocator: &CachingAllocator<D>) {
        self.step += 1;
        self.timeline.set_step(self.step);
        if self.step.is_multiple_of(self.options.every) {
            self.note(allocator);
        }
    }

    /// Writes a line now, whatever the step.
    pub fn note<D: Device>(&mut self, allocator: &CachingAllocator<D>) {
        let line = measure(allocator, self.step, self.options.stream, &mut self.counts);
        tracing::info!(
            target: "freeboard::memory",
            step = line.step,
            allocated = line.allocated.now.get(),
            allocated_peak = line.allocated.peak.get(),
            reserved = line.reserved.now.get(),
            reserved_peak = line.reserved.peak.get(),
            active = line.active.now.get(),
            active_peak = line.active.peak.get(),
            requested = line.requested.now.get(),
            requested_peak = line.requested.peak.get(),
            external_fragmentation = line.external_fragmentation,
            largest_servable = line.largest_servable.map(Bytes::get),
            ooms = line.num_ooms,
            retries = line.retries,
            stalls = line.stalls,
            device_calls = line.device_calls,
            "memory"
        );
        self.lines += 1;
        let outcome = serde_json::to_string(&line).map_err(io::Error::from).and_then(|text| {
            self.timeline.push(&text);
            self.sink.write(&text)
        });
        if let Err(error) = outcome {
            self.lost += 1;
            if self.first.is_none() {
                tracing::error!(%error, step = self.step, "the memory log lost a line; training goes on");
                self.first = Some(error.to_string());
            }
        }
    }

    /// The last step that has ended.
    #[must_use]
    pub fn last_step(&self) -> u64 {
        self.step
    }

    /// How many lines could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The step and the last lines, for whoever reports an out-of-memory error.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        self.timeline.clone()
    }

    /// Passes on what the writer holds back.
    ///
    /// # Errors
    /// When lines were lost, or the writer cannot pass them on.
    pub fn flush(&mut self) -> Result<(), LogError> {
        let flushed = self.sink.flush();
        if let Some(first) = &self.first {
            let (lost, lines, first) = (self.lost, self.lines, first.clone());
            return Err(LogError::Lost { lost, lines, first });
        }
        flushed.map_err(LogError::Flush)
    }

    /// Ends the log.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn finish(mut self) -> Result<(), LogError> {
        self.flush()
    }
}
