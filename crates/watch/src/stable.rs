//! [`Stable`]: whether live memory grows from step to step.

mod holders;
mod rule;

use std::fmt;

use freeboard_allocator::CachingAllocator;
use freeboard_device::Device;
use freeboard_units::Bytes;

use self::holders::Table;
use self::rule::{Rise, Series};
use crate::headroom::Room;

pub use self::holders::Grower;

/// The fewest steps that are looked at.
const FEWEST: u64 = 20;
/// Tables kept of who holds what.
const TABLES: usize = 3;

/// Runs so many steps and checks that live memory does not grow over them: a test of a training loop in one
/// line. The first three are left out, and at least 20 more are needed.
///
/// ```should_panic
/// # use freeboard_allocator::{CachingAllocator, Config};
/// # use freeboard_device_sim::SimDevice;
/// # use freeboard_units::{Bytes, StreamId};
/// # let allocator = CachingAllocator::new(SimDevice::new(Bytes::gib(8)), Config::default()).unwrap();
/// let mut losses = Vec::new();
/// let train = |_step| losses.push(allocator.allocate(Bytes::mib(2), StreamId::DEFAULT));
/// freeboard_watch::check_stable(&allocator, 30, train).unwrap(); // panics: 2 MiB more every step
/// ```
///
/// # Errors
/// As [`Stable::step`] and [`Stable::check`], whose rule it is.
pub fn check_stable<D: Device>(
    allocator: &CachingAllocator<D>,
    steps: u64,
    mut train: impl FnMut(u64),
) -> Result<(), StableError> {
    let mut watch = Stable::new(allocator);
    for step in 0..steps {
        train(step);
        watch.step()?;
    }
    watch.check()
}

/// Watches whether live memory grows over steps that should all be alike.
///
/// **The rule.** The bytes handed out at the ends of steps, those of the warm-up left out, are divided into
/// four windows of equal length. Memory grows where the least of every window is above the median of the one
/// before, the last rise is at least half of the average one, and all rises together exceed the
/// tolerance. So these are not growth: a workspace that is created late, or two (the windows before and after
/// are flat); a cache that fills ever more slowly; noise; a sawtooth of changing shapes whose period is at
/// most three quarters of the steps seen, from 15 steps on. Growth under noise or a sawtooth is called once
/// it exceeds half their height within a window.
///
/// [`step`](Self::step) looks after 20 steps and whenever there are a quarter more; [`check`](Self::check)
/// looks now. Who grows is told by scope while [history](CachingAllocator::record_history) is recorded, and by the
/// size of blocks otherwise. A step costs a copy of the counters, a look at most a [`Snapshot`](freeboard_snapshot::Snapshot).
///
/// ```
/// use freeboard_allocator::{CachingAllocator, Config};
/// use freeboard_device_sim::SimDevice;
/// use freeboard_units::{Bytes, StreamId};
/// use freeboard_watch::Stable;
///
/// let allocator = CachingAllocator::new(SimDevice::new(Bytes::gib(8)), Config::default())?;
/// let mut losses = Vec::new();
/// let mut watch = Stable::new(&allocator).warm_up(3).tolerance(Bytes::mib(1));
/// let outcome = (0..100).try_for_each(|_| {
///     losses.push(allocator.allocate(Bytes::mib(2), StreamId::DEFAULT).expect("fits"));
///     watch.step()
/// });
/// println!("{}", outcome.unwrap_err()); // 2 MiB a step; who holds them; when memory runs out
/// # Ok::<(), freeboard_allocator::Error>(())
/// ```
#[derive(Debug)]
pub struct Stable<'a, D: Device> {
    allocator: &'a CachingAllocator<D>,
    warm_up: u64,
    tolerance: Bytes,
    step: u64,
    series: Series,
    /// Who held what at the end of the warm-up and when it was looked last.
    tables: Vec<Table>,
    next_look: u64,
}

impl<'a, D: Device> Stable<'a, D> {
    /// Watches this allocator: after 3 steps of warm-up, growth of more than 1 MiB in all.
    #[must_use]
    pub fn new(allocator: &'a CachingAllocator<D>) -> Self {
        Self {
            allocator,
            warm_up: 3,
            tolerance: Bytes::mib(1),
            step: 0,
            series: Series::default(),
            tables: Vec::new(),
            next_look: FEWEST,
        }
    }

    /// Leaves out the first so many steps, in which what lasts is created.
    #[must_use]
    pub fn warm_up(mut self, steps: u64) -> Self {
        self.warm_up = steps;
        self
    }

    /// Lets growth pass of up to so many bytes in all.
    #[must_use]
    pub fn tolerance(mut self, bytes: Bytes) -> Self {
        self.tolerance = bytes;
        self
    }

    /// Ends a step.
    ///
    /// # Errors
    /// [`StableError::Grows`] where it is time to look, and memory grows. Going on is fine: growth is called
    /// again at the next look, if it is still there.
    pub fn step(&mut self) -> Result<(), StableError> {
        self.step += 1;
        let Some(seen) = self.step.checked_sub(self.warm_up).filter(|&seen| seen > 0) else {
            return Ok(());
        };
        self.series.push(live(self.allocator));
        if seen == 1 || seen == FEWEST / 2 {
            self.take_table();
        }
        if seen < self.next_look {
            return Ok(());
        }
        self.next_look = seen.saturating_mul(5) / 4;
        self.look()
    }

    /// Looks now; for the end of a run.
    ///
    /// # Errors
    /// [`StableError::Grows`] where memory grows; [`StableError::TooFewSteps`] after fewer than 20 steps
    /// since the warm-up.
    pub fn check(&mut self) -> Result<(), StableError> {
        let seen = self.step.saturating_sub(self.warm_up);
        if seen < FEWEST {
            return Err(StableError::TooFewSteps { seen, needed: FEWEST });
        }
        self.look()
    }

    fn look(&mut self) -> Result<(), StableError> {
        self.take_table();
        let rise = self.series.rise().filter(|rise| rise.bytes > self.tolerance.get());
        rise.map_or(Ok(()), |rise| Err(StableError::Grows(Box::new(self.growth(rise)))))
    }

    fn take_table(&mut self) {
        if self.tables.last().is_some_and(|table| table.step == self.step) {
            return;
        }
        if self.tables.len() == TABLES {
            self.tables.remove(0);
        }
        self.tables.push(Table::of(&self.allocator.snapshot(), self.step));
    }

    fn growth(&self, rise: Rise) -> Growth {
        let per_step = rise.per_step().max(1);
        let peak = u64::try_from(self.allocator.stats().active_bytes.all.peak).unwrap_or(0);
        let room =
            Room::of(self.allocator).ok().map(|room| room.capacity.get().saturating_sub(peak));
        Growth {
            step: self.step,
            live: Bytes::new(live(self.allocator)),
            bytes: Bytes::new(rise.bytes),
            steps: rise.steps,
            per_step: Bytes::new(per_step),
            growers: Table::growers(&self.tables),
            by_scope: self.tables.last().is_some_and(|table| table.is_tagged),
            runs_out_at: room
                .map(|room| self.step.saturating_add(room / per_step).saturating_add(1)),
        }
    }
}

/// Bytes handed out.
fn live<D: Device>(allocator: &CachingAllocator<D>) -> u64 {
    u64::try_from(allocator.stats().allocated_bytes.all.current).unwrap_or(0)
}

/// What a [`Stable`] has to say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StableError {
    /// Memory grows.
    #[error("{0}")]
    Grows(Box<Growth>),
    /// There were too few steps to tell.
    #[error(
        "{seen} steps since the warm-up are too few to tell whether memory grows: run {needed}"
    )]
    TooFewSteps {
        /// Steps since the warm-up.
        seen: u64,
        /// How many it takes.
        needed: u64,
    },
}

/// How memory grows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Growth {
    /// The step after which it was called.
    pub step: u64,
    /// Bytes handed out at its end.
    pub live: Bytes,
    /// Bytes it grew by in `steps` steps.
    pub bytes: Bytes,
    /// How many steps that took.
    pub steps: u64,
    /// Bytes it grows by in a step.
    pub per_step: Bytes,
    /// What grows, the fastest first: scopes where they are recorded, otherwise sizes of blocks.
    pub growers: Vec<Grower>,
    /// Whether `growers` are scopes.
    pub by_scope: bool,
    /// The step in which memory runs out, at this pace; `None` where the device cannot tell how much it
    /// has.
    pub runs_out_at: Option<u64>,
}

/// The lines of the table that are shown.
const SHOWN: usize = 10;

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, live, bytes, steps, per_step, growers, .. } = self;
        write!(
            f,
            "memory grows by {per_step} a step ({bytes} in {steps} steps): {live} are live at the "
        )?;
        write!(f, "end of step {step}")?;
        if let Some(end) = self.runs_out_at {
            write!(f, ", and memory runs out in about step {end}")?;
        }
        f.write_str(". Look for what is kept of every step: losses, metrics, lists of outputs.")?;
        if !growers.is_empty() {
            let what = if self.by_scope { "scope" } else { "size (record history to see scopes)" };
            write!(f, "\n  {:>12}  {:>12}  {:>7}  {what}", "a step", "live", "blocks")?;
        }
        for Grower { name, per_step, bytes, blocks } in growers.iter().take(SHOWN) {
            write!(f, "\n  {per_step:>12}  {bytes:>12}  {blocks:>7}  {name}")?;
        }
        if let Some(more) = growers.len().checked_sub(SHOWN).filter(|&more| more > 0) {
            write!(f, "\n  and {more} more")?;
        }
        Ok(())
    }
}
