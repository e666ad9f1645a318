//! [`dump_on_oom`]: a folder with everything that is known, when a request runs out of memory.

mod folder;
mod name;
mod pieces;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use freeboard_allocator::{CachingAllocator, OutOfMemory};
use freeboard_device::Device;
use freeboard_units::Bytes;
use parking_lot::Mutex;

use self::folder::{Create, create_file};
use self::pieces::{Scene, Witness};
use crate::timeline::Timeline;

/// Told of a bundle.
type Callback = Box<dyn Fn(&Path) + Send + Sync>;

/// How bundles are written. Every setting has a default that works.
pub struct DumpOptions {
    folder: PathBuf,
    at_most: u32,
    max_bytes: Bytes,
    timeline: Timeline,
    rank: Option<u64>,
    on_written: Option<Callback>,
    create: Create,
}

impl fmt::Debug for DumpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DumpOptions")
            .field("folder", &self.folder)
            .field("at_most", &self.at_most)
            .field("max_bytes", &self.max_bytes)
            .field("rank", &self.rank)
            .finish_non_exhaustive()
    }
}

impl DumpOptions {
    /// Bundles in this folder, which is made where it is not there.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self {
            // Wherever the program goes meanwhile.
            folder: std::path::absolute(&folder).unwrap_or(folder),
            at_most: 3,
            max_bytes: Bytes::mib(512),
            timeline: Timeline::default(),
            rank: name::rank(|variable| std::env::var(variable).ok()),
            on_written: None,
            create: create_file,
        }
    }

    /// How often a bundle is tried to be written, failures included; 3. Later errors leave none: a program
    /// that lives with them does not fill the disk.
    #[must_use]
    pub fn at_most(mut self, bundles: u32) -> Self {
        self.at_most = bundles;
        self
    }

    /// The most bytes that all bundles together may have; 512 MiB.
    #[must_use]
    pub fn max_bytes(mut self, bytes: Bytes) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Takes the step and the last lines from a log:
    /// [`log.timeline()`](crate::MemoryLog::timeline).
    #[must_use]
    pub fn timeline(mut self, timeline: Timeline) -> Self {
        self.timeline = timeline;
        self
    }

    /// The rank of this process; by default the first of `RANK`, `SLURM_PROCID`,
    /// `OMPI_COMM_WORLD_RANK` and `PMI_RANK` that is a number.
    #[must_use]
    pub fn rank(mut self, rank: u64) -> Self {
        self.rank = Some(rank);
        self
    }

    /// Calls this with the path of every bundle that was written, on the thread whose request failed.
    #[must_use]
    pub fn on_written(mut self, callback: impl Fn(&Path) + Send + Sync + 'static) -> Self {
        self.on_written = Some(Box::new(callback));
        self
    }

    /// Begins to write bundles for this allocator, for as long as it lives.
    pub fn attach<D>(self, allocator: &Arc<CachingAllocator<D>>) -> OomDump
    where
        D: Device + Send + Sync + 'static,
    {
        let inner = Arc::new(Inner {
            left: AtomicU64::new(self.max_bytes.get()),
            options: self,
            tried: AtomicU32::new(0),
            skipped: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            written: Mutex::default(),
        });
        // An allocator that kept itself alive would never be dropped.
        let (dump, weak) = (Arc::clone(&inner), Arc::downgrade(allocator));
        allocator.on_out_of_memory(move |report| {
            if let Some(allocator) = weak.upgrade() {
                dump.hear(report, &*allocator);
            }
        });
        OomDump(inner)
    }
}

/// Writes a bundle whenever a request of this allocator runs out of memory: `folder/rank3-step120-<time>/`,
/// with the options that [`DumpOptions`] has by default. What it returns may be dropped.
///
/// | file | holds |
/// |---|---|
/// | `report.txt` | the report as the error prints it |
/// | `report.json` | its numbers: [`Facts`](freeboard_snapshot::Facts) and the allocator's own report |
/// | `snapshot.pickle` | segments, blocks and history, as `PyTorch`'s tools read them |
/// | `settings.json` | the allocator's settings |
/// | `timeline.jsonl` | the last lines of the log, where there is one |
/// | `devices.json` | what the GPUs say of themselves: processes, health, driver |
/// | `command.txt` | command line, folder, versions; of the environment the devices visible, the allocator's settings, and ranks |
/// | `manifest.json` | what is there, what is not, and why |
///
/// Every piece is for itself: one that fails leaves the others. Nothing panics, takes device memory, or
/// changes the error that the program gets. A bundle has its name only once it is complete. Values that a
/// command line gives to options named like secrets are left out. The observer runs without the allocator's
/// lock; while a bundle is written, other failing requests leave none.
///
/// ```
/// use std::sync::Arc;
/// use freeboard_allocator::{CachingAllocator, Config};
/// use freeboard_device_sim::SimDevice;
/// use freeboard_units::{Bytes, StreamId};
/// use freeboard_watch::{Bundle, dump_on_oom};
///
/// # let folder = std::env::temp_dir().join(format!("freeboard-dump-doc-{}", std::process::id()));
/// let allocator = Arc::new(CachingAllocator::new(SimDevice::new(Bytes::gib(1)), Config::default())?);
/// let dump = dump_on_oom(&allocator, &folder);
/// assert!(allocator.allocate(Bytes::gib(2), StreamId::DEFAULT).is_err());
///
/// let bundle = Bundle::open(&dump.written()[0])?;
/// println!("{}", bundle.report_text()?);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn dump_on_oom<D>(allocator: &Arc<CachingAllocator<D>>, folder: impl Into<PathBuf>) -> OomDump
where
    D: Device + Send + Sync + 'static,
{
    DumpOptions::new(folder).attach(allocator)
}

/// A hold on what [`dump_on_oom`] began. Dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct OomDump(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: DumpOptions,
    /// Bytes that bundles may still have.
    left: AtomicU64,
    tried: AtomicU32,
    skipped: AtomicU64,
    /// Whether a bundle is being written: by another thread, or further up on this one.
    busy: AtomicBool,
    stopped: AtomicBool,
    written: Mutex<Vec<PathBuf>>,
}

impl OomDump {
    /// Tells the step, where there is no [`MemoryLog`](crate::MemoryLog) that does.
    pub fn set_step(&self, step: u64) {
        self.0.options.timeline.set_step(step);
    }

    /// Writes no more bundles.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    /// The bundles that were written.
    #[must_use]
    pub fn written(&self) -> Vec<PathBuf> {
        self.0.written.lock().clone()
    }

    /// Requests that ran out of memory and left no bundle: too many, too large, stopped, or one was being
    /// written.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.0.skipped.load(Ordering::Relaxed)
    }
}

impl Inner {
    /// A request has failed. Whatever happens here, the program gets its error.
    fn hear(&self, report: &OutOfMemory, witness: &dyn Witness) {
        let may = !self.stopped.load(Ordering::Relaxed)
            && !self.busy.swap(true, Ordering::Acquire)
            && self.claim_attempt();
        if !may {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| self.write(report, witness)));
        self.busy.store(false, Ordering::Release);
        let error = match outcome {
            Ok(Ok(path)) => return self.tell(&path),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it panicked".to_owned(),
        };
        self.skipped.fetch_add(1, Ordering::Relaxed);
        let folder = self.options.folder.display();
        quietly(|| tracing::error!(%error, %folder, "no bundle about this out-of-memory error"));
    }

    /// Counts an attempt, if there is one left; if not, nothing is being written.
    fn claim_attempt(&self) -> bool {
        let next = |tried: u32| (tried < self.options.at_most).then_some(tried + 1);
        let claimed = self.tried.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok();
        if !claimed {
            self.busy.store(false, Ordering::Release);
        }
        claimed
    }

    fn write(&self, report: &OutOfMemory, witness: &dyn Witness) -> std::io::Result<PathBuf> {
        let options = &self.options;
        let scene = Scene {
            report,
            witness,
            rank: options.rank,
            step: options.timeline.step(),
            lines: options.timeline.lines(),
        };
        let mut left = self.left.load(Ordering::Relaxed);
        let outcome = folder::write(&options.folder, &scene, &mut left, options.create);
        self.left.store(left, Ordering::Relaxed);
        outcome
    }

    fn tell(&self, path: &Path) {
        self.written.lock().push(path.to_owned());
        quietly(|| tracing::warn!(bundle = %path.display(), "out of memory: see this bundle"));
        if let Some(callback) = &self.options.on_written {
            quietly(|| callback(path));
        }
    }
}

/// Runs what others wrote; a panic there is theirs and ends there.
fn quietly(work: impl FnOnce()) {
    drop(catch_unwind(AssertUnwindSafe(work)));
}

#[cfg(test)]
mod tests;
