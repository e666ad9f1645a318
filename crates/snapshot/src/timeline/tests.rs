//! Timelines of random programs, whose history may be cut anywhere, against what really was.

use std::collections::BTreeMap;

use freeboard_units::{Address, StreamId};
use proptest::prelude::*;

use super::*;
use crate::history::History;
use crate::model::{Annotation, Block, BlockState, Segment};
use crate::names::PoolIndex;
use crate::{growth, summary};

/// A program's memory, kept in the plainest way.
#[derive(Default)]
struct World {
    blocks: BTreeMap<u64, (Bytes, BlockState)>,
    held: Vec<u64>,
    events: Vec<Event>,
    /// What there was after each event: totals, and the addresses in use.
    after: Vec<(Totals, Vec<u64>)>,
}

const SEGMENT: u64 = 1 << 20;

impl World {
    fn tell(&mut self, action: Action, address: u64, size: Bytes) {
        self.events.push(Event {
            address,
            size,
            stream: StreamId::new(7),
            time_us: i64::try_from(self.events.len()).unwrap_or(0) * 10,
            action,
            pool: PoolIndex::default(),
            stack: StackId::default(),
            tag: NameId::default(),
            context: NameId::default(),
        });
        let of = |state| {
            let blocks = self.blocks.values().filter(move |(_, held)| *held == state);
            blocks.map(|(size, _)| size.align_up(Bytes::new(512))).sum::<Bytes>()
        };
        let totals = Totals {
            reserved: Bytes::new(self.held.len() as u64 * SEGMENT),
            allocated: of(BlockState::Allocated),
            pending: of(BlockState::Pending),
            requested: self.blocks.values().map(|(size, _)| *size).sum(),
        };
        self.after.push((totals, self.blocks.keys().copied().collect()));
    }

    /// One step of the program: what it does follows from two numbers.
    fn act(&mut self, what: u8, which: u16) {
        let chosen = self.blocks.keys().copied().nth(usize::from(which) % self.blocks.len().max(1));
        let size = Bytes::new(u64::from(which) + 1);
        match (what % 6, chosen) {
            (0..=2, _) => {
                let free = (0..).map(|n| 0x1000_0000 + n * SEGMENT);
                let address = free.into_iter().find(|at| !self.blocks.contains_key(at));
                let address = address.unwrap_or_default();
                if !self.held.contains(&address) {
                    self.held.push(address);
                    self.tell(Action::SegmentAlloc, address, Bytes::new(SEGMENT));
                }
                self.blocks.insert(address, (size, BlockState::Allocated));
                self.tell(Action::Alloc, address, size);
            }
            (3 | 4, Some(address)) => {
                let (size, state) = self.blocks[&address];
                if state == BlockState::Allocated {
                    self.blocks.insert(address, (size, BlockState::Pending));
                    self.tell(Action::FreeRequested, address, size);
                }
                if what % 6 == 4 || state == BlockState::Pending {
                    self.blocks.remove(&address);
                    self.tell(Action::FreeCompleted, address, size);
                }
            }
            (5, _) => {
                let idle = self.held.iter().position(|at| !self.blocks.contains_key(at));
                if let Some(idle) = idle {
                    let address = self.held.remove(idle);
                    self.tell(Action::SegmentFree, address, Bytes::new(SEGMENT));
                }
            }
            _ => {}
        }
    }

    /// The snapshot at the end, with the events from `cut` on.
    fn snapshot(&self, cut: usize) -> Snapshot {
        let segment = |address: &u64| {
            let block = |(size, state): (Bytes, BlockState)| Block {
                address: Address::new(*address),
                size: size.align_up(Bytes::new(512)),
                requested: size,
                state,
                stack: StackId::default(),
                tag: NameId::default(),
            };
            Segment {
                device: DeviceId::new(0),
                address: Address::new(*address),
                size: Bytes::new(SEGMENT),
                stream: StreamId::new(7),
                small: false,
                pool: PoolId::SHARED,
                expandable: false,
                stack: StackId::default(),
                blocks: self.blocks.get(address).copied().map(block).into_iter().collect(),
            }
        };
        let history = History { events: self.events[cut..].to_vec(), dropped: 0 };
        Snapshot {
            segments: self.held.iter().map(segment).collect(),
            histories: vec![history],
            ..Snapshot::default()
        }
    }
}

fn addresses(timeline: &Timeline<'_>, event: Option<u32>) -> Vec<u64> {
    let mut all: Vec<u64> = timeline.live_after(event).map(|life| life.address).collect();
    all.sort_unstable();
    all
}

proptest! {
    #[test]
    fn a_timeline_tells_what_there_was_wherever_the_history_is_cut(
        program in prop::collection::vec((any::<u8>(), any::<u16>()), 1..120),
        part in 0.0_f64..1.0,
    ) {
        let mut world = World::default();
        for (what, which) in program {
            world.act(what, which);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 240")]
        #[expect(clippy::cast_precision_loss, reason = "below 240")]
        let cut = (world.events.len() as f64 * part) as usize;
        let snapshot = world.snapshot(cut);
        let timeline = Timeline::new(&snapshot, DeviceId::new(0));
        prop_assert_eq!(timeline.untold_frees(), 0);
        let none = (Totals::default(), Vec::new());
        let (totals, live) = cut.checked_sub(1).map_or(&none, |last| &world.after[last]);
        prop_assert_eq!(timeline.before().totals, *totals);
        prop_assert_eq!(&addresses(&timeline, None), live);
        let moments: Vec<Moment> = timeline.moments().collect();
        prop_assert_eq!(moments.len(), world.events.len() - cut);
        for (moment, (totals, live)) in moments.iter().zip(&world.after[cut..]) {
            prop_assert_eq!(moment.totals, *totals);
            prop_assert_eq!(&addresses(&timeline, moment.event), live);
            let pending = timeline.live_after(moment.event);
            let pending = pending.filter(|life| life.is_pending_after(moment.event));
            prop_assert_eq!(pending.map(|life| life.size).sum::<Bytes>(), totals.pending);
        }
        let highest = world.after[cut..].iter().map(|(totals, _)| totals.active());
        let highest = highest.max().unwrap_or_default().max(totals.active());
        prop_assert_eq!(timeline.peak_active().totals.active(), highest);
        prop_assert_eq!(timeline.end(), moments.last().copied().unwrap_or(timeline.before()));
    }
}

#[test]
fn frees_that_are_not_told_are_found_and_counted() {
    let mut world = World::default();
    world.act(0, 99); // segment, alloc
    world.act(4, 0); // free requested and completed
    world.act(0, 99); // the same address again
    world
        .events
        .retain(|event| !matches!(event.action, Action::FreeRequested | Action::FreeCompleted));
    let snapshot = world.snapshot(0);
    let timeline = Timeline::new(&snapshot, DeviceId::new(0));
    assert_eq!(timeline.untold_frees(), 1);
    assert_eq!(timeline.end().totals.requested, Bytes::new(100));
    assert_eq!(timeline.peak_active().totals.active(), Bytes::new(512));
    // Gone at the end without a word.
    let gone = Snapshot { segments: vec![], ..snapshot.clone() };
    assert_eq!(Timeline::new(&gone, DeviceId::new(0)).end().totals.requested, Bytes::new(100));
    let mut gone = snapshot;
    gone.segments[0].blocks.clear();
    let timeline = Timeline::new(&gone, DeviceId::new(0));
    assert_eq!((timeline.untold_frees(), timeline.end().totals.active()), (2, Bytes::ZERO));
}

#[test]
fn steps_end_with_the_optimizer_and_growth_is_what_each_leaves_behind() {
    let mut world = World::default();
    let mut snapshot_marks = Vec::new();
    for step in 0..6_u16 {
        world.act(0, 1000 + step); // kept
        world.act(0, 5000);
        let last = *world.blocks.keys().last().expect("two blocks");
        let at = world.blocks.keys().position(|address| *address == last).expect("it is there");
        world.act(4, u16::try_from(at).expect("few blocks"));
        snapshot_marks.push(i64::try_from(world.events.len()).expect("few events") * 10 - 5);
    }
    world.act(0, 1);
    let mut snapshot = world.snapshot(0);
    let name = snapshot.names.intern("Optimizer.step#AdamW.step");
    let (start, end) = (snapshot.names.intern("START"), snapshot.names.intern("END"));
    for time_us in snapshot_marks {
        for (stage, time_us) in [(start, time_us - 1), (end, time_us)] {
            snapshot.annotations.push(Annotation {
                device: DeviceId::new(0),
                time_us,
                name,
                stage,
            });
        }
    }
    let timeline = Timeline::new(&snapshot, DeviceId::new(0));
    let steps = timeline.steps();
    assert_eq!(steps.len(), 7);
    assert!(steps[..6].iter().all(|step| step.is_complete) && !steps[6].is_complete);
    assert!(steps.windows(2).all(|pair| pair[0].end == pair[1].first));
    let growth = growth::measure(&timeline, None).expect("enough steps");
    assert_eq!((growth.steps, growth.per_step), (4, Bytes::kib(1)));
    // Six that were kept; the last belongs to a step that has not ended.
    assert_eq!((growth.total, growth.held), (Bytes::kib(4), Bytes::kib(6)));
    let text = summary::of_timeline(&timeline).to_string();
    let told = "\nsteps: 6 seen; each of the last 4 keeps 1024 bytes more, most of it …";
    assert!(text.contains(told), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    snapshot.annotations.truncate(2 * 3);
    let text = summary::ours(&snapshot, DeviceId::new(0)).to_string();
    assert!(text.contains("\nsteps: 3 seen\n"), "too few to tell: {text}");
}
