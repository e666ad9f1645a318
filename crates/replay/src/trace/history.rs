//! A snapshot's history as a trace: the run that failed, to be run again under any policy.

use std::collections::{HashMap, HashSet};

use freeboard_snapshot::timeline::Step;
use freeboard_snapshot::{Action, Event, PoolId, Snapshot, Timeline};
use freeboard_units::{Bytes, DeviceId, StreamId};

use super::{Id, Op, OpKind, Trace, TraceBuilder};

/// Functions that make what stays: parameters, buffers, optimizer states.
const MAKES_WHAT_STAYS: &[&str] = &[
    "__init__",
    "reset_parameters",
    "_apply",
    "to",
    "cuda",
    "to_empty",
    "load_state_dict",
    "_init_group",
    "from_pretrained",
];

/// A recorded run as a trace, up to a failed request if there was one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recorded {
    /// The run; a failed request is its last allocation.
    pub trace: Trace,
    /// The bytes of the failed request.
    pub failed: Option<Bytes>,
    /// Bytes that were live before the history began; the trace starts by allocating them.
    pub before: Bytes,
    /// Whether each allocation's size depends on the batch, by slot.
    varies: Vec<bool>,
}

/// One allocation, while it is looked at.
struct Life {
    size: Bytes,
    born_in_step: usize,
    /// The step it was freed in, if it was.
    died_in_step: Option<usize>,
    maker: Maker,
    existed_before: bool,
}

/// What a stack tells of the call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Maker {
    /// It makes what stays.
    Stays,
    /// It is part of a forward pass.
    Forward,
    Unknown,
}

impl Recorded {
    /// The history of one device, up to its last failed request, or to its end.
    ///
    /// Blocks that lived before the history began are allocated first, in address order. Memory of
    /// a private pool goes to a stream of its own, because it serves nobody else; a block that waited
    /// for other streams is freed when it had waited. `None` where there is no history.
    #[must_use]
    pub fn of(snapshot: &Snapshot, device: DeviceId, name: &str) -> Option<Self> {
        let timeline = Timeline::new(snapshot, device);
        if timeline.events().is_empty() {
            return None;
        }
        let events = || (0..).zip(timeline.events());
        let failure = events().filter(|(_, event)| event.action == Action::Oom).last();
        let until = failure.map_or(u32::MAX, |(number, _)| number);
        let mut writer = Writer::new(&timeline);
        writer.before();
        let before = writer.lives.iter().map(|life| life.size).sum();
        for (number, event) in events().take_while(|&(number, _)| number < until) {
            writer.event(number, event);
        }
        let failed = failure.map(|(_, event)| {
            let maker = writer.maker(event);
            writer.allocate(event, maker);
            event.size
        });
        if writer.lives.is_empty() {
            return None;
        }
        let varies = varies(&writer.lives, writer.step);
        Some(Self { trace: writer.trace.finish(name), failed, before, varies })
    }

    /// Bytes live at the end whose size depends on the batch, the failed request left aside.
    #[must_use]
    pub fn transient(&self) -> Bytes {
        let failed = self.failed.filter(|_| self.varies.last() == Some(&true)).unwrap_or_default();
        self.transients().last().copied().unwrap_or_default().saturating_sub(failed)
    }

    /// Bytes whose size depends on the batch, after each operation.
    fn transients(&self) -> Vec<Bytes> {
        let mut sizes = vec![Bytes::ZERO; self.varies.len()];
        let mut live = Bytes::ZERO;
        let after = self.trace.ops.iter().map(|op| {
            match op.kind {
                OpKind::Allocate { slot, size, .. } if self.varies[slot as usize] => {
                    sizes[slot as usize] = size;
                    live = live.saturating_add(size);
                }
                OpKind::Free { slot } => {
                    live = live.saturating_sub(std::mem::take(&mut sizes[slot as usize]));
                }
                _ => {}
            }
            live
        });
        after.collect()
    }

    /// How many times the step's part that was run would have been needed in the rest of the step,
    /// from the step before it: 1 where the failure came after the peak. `None` where no step was
    /// seen whole.
    #[must_use]
    pub fn whole_step(&self) -> Option<f64> {
        let [.., (before, start)] = &*self.step_ranges() else { return None };
        let transients = self.transients();
        let done = transients.len() - start;
        let whole = &transients[before.clone()];
        let peak = whole.iter().max()?;
        let there = whole[..done.min(whole.len())].iter().max()?;
        Some(peak.as_f64() / there.as_f64().max(1.0))
    }

    /// Bytes that would have been live at the peak of the step that failed, going by the step before
    /// it; `None` where no step was seen whole, or nothing failed.
    #[must_use]
    pub fn step_needs(&self) -> Option<Bytes> {
        self.failed?;
        let rest = scaled(self.transient(), (self.whole_step()? - 1.0).max(0.0));
        let live = self.trace.ops.iter().scan(vec![Bytes::ZERO; self.varies.len()], |sizes, op| {
            Some(match op.kind {
                OpKind::Allocate { slot, size, .. } => {
                    sizes[slot as usize] = size;
                    i128::from(size.get())
                }
                OpKind::Free { slot } => -i128::from(sizes[slot as usize].get()),
                _ => 0,
            })
        });
        let live = u64::try_from(live.sum::<i128>()).unwrap_or(u64::MAX);
        Some(Bytes::new(live).saturating_add(rest))
    }

    /// The operations of every whole step, each with the beginning of the next.
    fn step_ranges(&self) -> Vec<(std::ops::Range<usize>, usize)> {
        let marks: Vec<usize> = self.trace.steps.iter().map(|step| step.op_index).collect();
        let starts = [0].into_iter().chain(marks.iter().copied());
        starts.zip(marks.iter().copied()).map(|(start, end)| (start..end, end)).collect()
    }

    /// The same run with a batch of `part` of this one's: what depends on the batch is smaller, and
    /// what the rest of the step would have needed, `whole` times what it had taken, comes on top.
    ///
    /// An estimate: sizes that parameters have too (gradients, optimizer states), and what
    /// outlives a step, stay as they are.
    #[must_use]
    pub fn with_batch(&self, part: f64, whole: f64) -> Trace {
        let mut trace = self.trace.clone();
        let [mut live, mut peak] = [0_u64; 2];
        let mut sizes = vec![0; self.varies.len()];
        for op in &mut trace.ops {
            match &mut op.kind {
                OpKind::Allocate { slot, size, .. } => {
                    if self.varies[*slot as usize] {
                        *size = scaled(*size, part);
                    }
                    sizes[*slot as usize] = size.get();
                    live = live.saturating_add(size.get());
                    peak = peak.max(live);
                }
                OpKind::Free { slot } => live = live.saturating_sub(sizes[*slot as usize]),
                _ => {}
            }
        }
        let rest = scaled(self.transient(), part * (whole - 1.0).max(0.0));
        if !rest.is_zero() {
            let last = trace.ops.last().map_or(0, |op| op.line);
            let kind = OpKind::Allocate { slot: trace.slots, size: rest, stream: 0 };
            trace.ops.push(Op { kind, line: last });
            trace.slots += 1;
            trace.allocs += 1;
            peak = peak.max(live.saturating_add(rest.get()));
        }
        trace.peak_requested = Bytes::new(peak);
        trace
    }

    /// Whether anything depends on the batch.
    #[must_use]
    pub fn has_batch(&self) -> bool {
        self.varies.iter().any(|&varies| varies)
    }
}

fn scaled(size: Bytes, part: f64) -> Bytes {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of it")]
    Bytes::new((size.as_f64() * part).ceil() as u64)
}

/// Which allocations depend on the batch: those that end in the step they began in, unless
/// something that stays has the same size, as gradients do. Before the first step has ended, only
/// the stack tells them from what stays.
fn varies(lives: &[Life], last_step: usize) -> Vec<bool> {
    let has_steps = last_step > 0;
    let stays = |life: &Life| {
        life.existed_before
            || life.maker == Maker::Stays
            || (has_steps && life.died_in_step.unwrap_or(last_step) > life.born_in_step)
    };
    let fixed: HashSet<Bytes> =
        lives.iter().filter(|life| stays(life)).map(|life| life.size).collect();
    let varies = |life: &Life| match life.maker {
        Maker::Stays => false,
        // An activation may have the size of a parameter by chance.
        Maker::Forward => !stays(life),
        Maker::Unknown => has_steps && !fixed.contains(&life.size),
    };
    lives.iter().map(varies).collect()
}

struct Writer<'t> {
    timeline: &'t Timeline<'t>,
    trace: TraceBuilder,
    lives: Vec<Life>,
    live: HashMap<u64, Id>,
    streams: HashMap<(PoolId, StreamId), u16>,
    /// The steps that have not ended yet.
    steps_left: std::iter::Peekable<std::vec::IntoIter<Step>>,
    step: usize,
}

impl<'t> Writer<'t> {
    fn new(timeline: &'t Timeline<'t>) -> Self {
        // The default stream keeps its number.
        let streams = HashMap::from([((PoolId::SHARED, StreamId::DEFAULT), 0)]);
        Self {
            timeline,
            trace: TraceBuilder::default(),
            lives: Vec::new(),
            live: HashMap::new(),
            streams,
            steps_left: timeline.steps().into_iter().peekable(),
            step: 0,
        }
    }

    /// Allocates what lived before the first event.
    fn before(&mut self) {
        let mut older: Vec<_> = self.timeline.live_after(None).collect();
        older.sort_by_key(|life| life.address);
        for life in older {
            let stream = self.stream(life.pool, life.stream);
            let size = sane(life.requested);
            let id = self.trace.alloc(size, stream);
            self.live.insert(life.address, id);
            self.lives.push(Life {
                size,
                born_in_step: 0,
                died_in_step: None,
                maker: Maker::Unknown,
                existed_before: true,
            });
        }
    }

    fn event(&mut self, number: u32, event: &Event) {
        while self.steps_left.next_if(|step| step.is_complete && step.end <= number).is_some() {
            self.step += 1;
            self.trace.step(&self.step.to_string());
        }
        match event.action {
            Action::Alloc => {
                let maker = self.maker(event);
                let id = self.allocate(event, maker);
                if let Some(lost) = self.live.insert(event.address, id) {
                    self.free(lost); // its free was not recorded
                }
            }
            Action::FreeCompleted => {
                if let Some(id) = self.live.remove(&event.address) {
                    self.free(id);
                }
            }
            _ => {}
        }
    }

    fn allocate(&mut self, event: &Event, maker: Maker) -> Id {
        let stream = self.stream(self.timeline.snapshot().pool(event.pool), event.stream);
        let size = sane(event.size);
        self.lives.push(Life {
            size,
            born_in_step: self.step,
            died_in_step: None,
            maker,
            existed_before: false,
        });
        self.trace.alloc(size, stream)
    }

    fn free(&mut self, id: Id) {
        self.trace.free(id);
        self.lives[id.get() as usize].died_in_step = Some(self.step);
    }

    fn maker(&self, event: &Event) -> Maker {
        let snapshot = self.timeline.snapshot();
        let frames = snapshot.stacks.get(event.stack);
        for name in frames.map(|frame| snapshot.names.get(frame.function)) {
            if MAKES_WHAT_STAYS.contains(&name) {
                return Maker::Stays;
            }
            if name == "forward" {
                return Maker::Forward;
            }
        }
        Maker::Unknown
    }

    /// The number of a stream; once there are more than a trace can name, they share the last.
    fn stream(&mut self, pool: PoolId, stream: StreamId) -> u16 {
        let next = u16::try_from(self.streams.len()).unwrap_or(u16::MAX);
        *self.streams.entry((pool, stream)).or_insert(next)
    }
}

/// A size that a trace can hold: files may say anything.
fn sane(size: Bytes) -> Bytes {
    size.min(Bytes::new(i64::MAX.unsigned_abs()))
}
