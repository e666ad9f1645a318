//! How long cached allocation takes: a trace replayed over and over on a warm device.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use freeboard_allocator::{Borrowed, CachingAllocator, Config, Error};
use freeboard_device::Device;
use freeboard_device_sim::SimDevice;
use freeboard_units::{Bytes, StreamId};
use serde::Serialize;

use crate::trace::{Op, OpKind, Trace};

/// Repeats of the whole measurement; the least is the machine at its quietest.
const REPEATS: usize = 7;

/// Nanoseconds per allocation and its free.
#[derive(Clone, Copy, Debug, Serialize)]
#[non_exhaustive]
pub struct Timing {
    /// The least of all repeats.
    pub ns_per_pair_min: f64,
    /// The median of all repeats.
    pub ns_per_pair_median: f64,
    /// What the replay loop itself takes, measured with an allocator that does nothing.
    pub loop_overhead_ns: f64,
    /// Allocations in one round of the trace.
    pub pairs_per_loop: u64,
    /// Rounds in one repeat.
    pub loops: u32,
    /// Threads that replay the trace at once, each for itself, on one allocator.
    pub threads: usize,
}

/// How often a trace is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Rounds in each of seven repeats.
    pub loops: u32,
    /// Threads that replay it at once, each for itself, on one allocator.
    pub threads: usize,
}

/// Replays a trace on a warm allocator, seven times over; empty-cache operations are left out, and
/// what the trace leaves allocated is freed after each round.
///
/// # Errors
/// When a request fails, for lack of memory too.
pub fn time(
    trace: &Trace,
    config: &Config,
    capacity: Bytes,
    repeat: Repeat,
) -> Result<Timing, Error> {
    let streams: Vec<_> = (0..trace.streams).map(|stream| StreamId::new(stream.into())).collect();
    time_on(SimDevice::new(capacity), &streams, trace, config, repeat)
}

/// As [`time`], on a device of yours. `streams` are its streams for those of the trace, in order;
/// what the trace has beyond them goes to the first.
///
/// # Errors
/// When a request fails, for lack of memory too.
///
/// # Panics
/// When there is no stream at all.
pub fn time_on<D: Device + Send + Sync>(
    device: D,
    streams: &[StreamId],
    trace: &Trace,
    config: &Config,
    repeat: Repeat,
) -> Result<Timing, Error> {
    let Repeat { loops, threads } = repeat;
    let allocator = CachingAllocator::new(device, config.clone())?;
    let streams: Vec<_> = (0..trace.streams)
        .map(|n| streams.get(n as usize).copied().unwrap_or(streams[0]))
        .collect();
    let leftovers = leftovers(trace);
    let real = Real { allocator: &allocator, streams: &streams };
    let round = |loops| replay(trace, &leftovers, &real, loops);
    let together = |loops| -> Result<f64, Error> {
        let start = Instant::now();
        if threads > 1 {
            thread::scope(|scope| {
                let workers: Vec<_> =
                    (0..threads).map(|_| scope.spawn(move || round(loops))).collect();
                workers.into_iter().try_for_each(|worker| {
                    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
            })?;
        } else {
            round(loops)?;
        }
        Ok(per_pair(start, trace, loops, threads))
    };
    together(2)?;
    let mut real = (0..REPEATS).map(|_| together(loops)).collect::<Result<Vec<_>, _>>()?;
    let mut nothing = (0..REPEATS)
        .map(|_| {
            let start = Instant::now();
            replay(trace, &leftovers, &Nothing, loops)?;
            Ok(per_pair(start, trace, loops, 1))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    real.sort_by(f64::total_cmp);
    nothing.sort_by(f64::total_cmp);
    Ok(Timing {
        ns_per_pair_min: real[0],
        ns_per_pair_median: real[REPEATS / 2],
        loop_overhead_ns: nothing[REPEATS / 2],
        pairs_per_loop: trace.allocs,
        loops,
        threads,
    })
}

#[expect(clippy::cast_precision_loss, reason = "an average")]
fn per_pair(start: Instant, trace: &Trace, loops: u32, threads: usize) -> f64 {
    let pairs = trace.allocs.max(1) as f64 * f64::from(loops) * threads as f64;
    start.elapsed().as_nanos() as f64 / pairs
}

/// Slots that are live at the end.
fn leftovers(trace: &Trace) -> Vec<u32> {
    let mut live = vec![false; trace.slots as usize];
    for op in &trace.ops {
        match op.kind {
            OpKind::Allocate { slot, .. } => live[slot as usize] = true,
            OpKind::Free { slot } => live[slot as usize] = false,
            OpKind::RecordUse { .. } | OpKind::EmptyCache => {}
        }
    }
    (0..trace.slots).filter(|slot| live[*slot as usize]).collect()
}

/// What is timed, so that the loop around it can be timed alone.
trait Subject {
    type Handle;
    fn allocate(&self, size: Bytes, stream: u16) -> Result<Self::Handle, Error>;
    fn record_use(&self, held: &Self::Handle, stream: u16) -> Result<(), Error>;
}

struct Real<'a, D: Device> {
    allocator: &'a CachingAllocator<D>,
    /// One for each stream of the trace.
    streams: &'a [StreamId],
}

impl<'a, D: Device> Subject for Real<'a, D> {
    type Handle = Borrowed<'a, D>;

    #[inline]
    fn allocate(&self, size: Bytes, stream: u16) -> Result<Self::Handle, Error> {
        self.allocator.allocate(size, self.streams[usize::from(stream)])
    }

    fn record_use(&self, held: &Self::Handle, stream: u16) -> Result<(), Error> {
        held.record_use(self.streams[usize::from(stream)])
    }
}

struct Nothing;

impl Subject for Nothing {
    type Handle = u64;

    #[inline(never)]
    fn allocate(&self, size: Bytes, _: u16) -> Result<u64, Error> {
        Ok(black_box(size.get()))
    }

    fn record_use(&self, _: &u64, _: u16) -> Result<(), Error> {
        Ok(())
    }
}

fn replay<S: Subject>(
    trace: &Trace,
    leftovers: &[u32],
    subject: &S,
    loops: u32,
) -> Result<(), Error> {
    let mut held: Vec<Option<S::Handle>> = Vec::new();
    held.resize_with(trace.slots as usize, || None);
    for _ in 0..loops {
        for Op { kind, .. } in &trace.ops {
            match *kind {
                OpKind::Allocate { slot, size, stream } => {
                    held[slot as usize] = Some(subject.allocate(size, stream)?);
                }
                OpKind::Free { slot } => held[slot as usize] = None,
                OpKind::RecordUse { slot, stream } => {
                    if let Some(held) = &held[slot as usize] {
                        subject.record_use(held, stream)?;
                    }
                }
                OpKind::EmptyCache => {}
            }
        }
        for &slot in leftovers {
            held[slot as usize] = None;
        }
    }
    black_box(&held);
    Ok(())
}
