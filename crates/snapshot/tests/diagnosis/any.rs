//! Whatever a file says, there is a diagnosis: no panic, no endless loop.

use freeboard_snapshot::layout::Layout;
use freeboard_snapshot::message::{Kind, Message};
use freeboard_snapshot::{
    Action, Annotation, Block, BlockState, Diagnosis, Event, Facts, NameId, PoolId, PoolIndex,
    Segment, Snapshot, StackId, Timeline, growth, holders, summary,
};
use freeboard_units::{Address, Bytes, DeviceId, StreamId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{error, snapshot};

const DEVICE: DeviceId = DeviceId::new(0);

/// Numbers that files hold, and those that break sums.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..8_u64,
        (0..64_u64).prop_map(|pages| pages << 21),
        select(&[1 << 62, (1 << 63) - 1, 1 << 63, u64::MAX - 512, u64::MAX][..]),
        any::<u64>(),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let action = select(
        &[
            Action::Alloc,
            Action::Alloc,
            Action::FreeRequested,
            Action::FreeCompleted,
            Action::SegmentAlloc,
            Action::SegmentFree,
            Action::SegmentMap,
            Action::SegmentUnmap,
            Action::Oom,
            Action::Annotate,
        ][..],
    );
    (action, number(), number(), 0..5_u64, any::<i64>(), 0..3_u32).prop_map(
        |(action, address, size, stream, time_us, pool)| Event {
            address,
            size: Bytes::new(size),
            stream: StreamId::new(stream),
            time_us,
            action,
            pool: PoolIndex::new(pool),
            stack: StackId::default(),
            tag: NameId::default(),
            context: NameId::default(),
        },
    )
}

fn segment() -> impl Strategy<Value = Segment> {
    let state = select(&[BlockState::Allocated, BlockState::Pending, BlockState::Free][..]);
    let block =
        (number(), number(), number(), state).prop_map(|(address, size, requested, state)| Block {
            address: Address::new(address),
            size: Bytes::new(size),
            requested: Bytes::new(requested),
            state,
            stack: StackId::default(),
            tag: NameId::default(),
        });
    (number(), number(), any::<bool>(), vec(block, 0..5)).prop_map(
        |(address, size, expandable, blocks)| Segment {
            device: DEVICE,
            address: Address::new(address),
            size: Bytes::new(size),
            stream: StreamId::new(0),
            small: false,
            pool: PoolId::SHARED,
            expandable,
            stack: StackId::default(),
            blocks,
        },
    )
}

fn anything() -> impl Strategy<Value = Snapshot> {
    let marks = vec((any::<i64>(), any::<bool>()), 0..8);
    (vec(event(), 0..60), vec(segment(), 0..6), marks).prop_map(|(events, segments, marks)| {
        let mut snapshot = Snapshot { segments, ..Snapshot::default() };
        snapshot.histories.push(freeboard_snapshot::History { events, dropped: 0 });
        let name = snapshot.names.intern("Optimizer.step#SGD.step");
        let stages = [snapshot.names.intern("START"), snapshot.names.intern("END")];
        snapshot.annotations = marks
            .into_iter()
            .map(|(time_us, end)| Annotation {
                device: DEVICE,
                time_us,
                name,
                stage: stages[usize::from(end)],
            })
            .collect();
        snapshot
    })
}

/// Everything that is ever asked of a snapshot.
fn ask(snapshot: &Snapshot) -> Diagnosis {
    let timeline = Timeline::new(snapshot, DEVICE);
    let last = u32::try_from(timeline.events().len()).unwrap().checked_sub(1);
    for event in [None, Some(0), last.map(|last| last / 2), last] {
        let layout = Layout::after(&timeline, event);
        let _ = (layout.gaps(), layout.reserved());
    }
    let _ = (growth::measure(&timeline, last), timeline.steps());
    let _ = holders::of_segments(snapshot, DEVICE);
    let _ = summary::ours(snapshot, DEVICE).to_string();
    let facts = Facts::of_snapshot(snapshot, DEVICE);
    let diagnosis = Diagnosis::of(&facts);
    let _ = (diagnosis.to_string(), Diagnosis::of(&facts.clone().or(&facts)));
    diagnosis
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_snapshot_has_a_diagnosis(snapshot in anything()) {
        ask(&snapshot);
    }

    #[test]
    fn a_real_snapshot_with_other_numbers_has_a_diagnosis(
        changes in vec((any::<prop::sample::Index>(), 0..4, number()), 1..12),
        name in select(&["frag_expandable", "pending_split", "stranded_streams", "ex_large_batch"][..]),
    ) {
        let mut snapshot = snapshot(name);
        for (at, field, number) in changes {
            let events = &mut snapshot.histories[0].events;
            let event = at.get_mut(events);
            match field {
                0 => event.address = number,
                1 => event.size = Bytes::new(number),
                2 => event.action = [Action::Oom, Action::FreeCompleted, Action::SegmentUnmap][at.index(3)],
                _ => drop(events.remove(at.index(events.len()))),
            }
            if let Some(segment) = snapshot.segments.get_mut(at.index(40)) {
                segment.size = Bytes::new(number);
            }
        }
        ask(&snapshot);
    }

    #[test]
    fn any_facts_have_a_diagnosis(numbers in vec(prop::option::of(number()), 18), flags in 0..128_u32) {
        let mut facts = Facts::default();
        let mut next = numbers.into_iter().map(|number| number.map(Bytes::new));
        for field in [
            &mut facts.requested, &mut facts.total, &mut facts.free, &mut facts.limit,
            &mut facts.process, &mut facts.reserved, &mut facts.allocated, &mut facts.asked,
            &mut facts.pending, &mut facts.late, &mut facts.free_own, &mut facts.largest_own,
            &mut facts.free_other_streams, &mut facts.private, &mut facts.free_private,
            &mut facts.once_reserved, &mut facts.transient, &mut facts.step_needs,
        ] {
            *field = next.next().unwrap();
        }
        let flag = |bit: u32| flags >> bit & 1 == 1;
        (facts.says_all, facts.by_freeboard) = (flag(0), flag(1));
        (facts.refused_early, facts.assumes_failure) = (flag(2), flag(3));
        facts.settings = flag(4).then(|| "roundup_power2_divisions:2".to_owned());
        prop_assert!(Diagnosis::of(&facts).to_string().starts_with("Root cause: "));
    }
}

#[test]
fn a_message_alone_has_a_diagnosis() {
    let message: Message = error("ex_model_load");
    assert_eq!(message.kind, Kind::Device);
    let diagnosis = Diagnosis::of_message(&message);
    assert_eq!(diagnosis.verdict.name(), "exhaustion");
}

/// A million events take about a second; what is quadratic takes hours.
#[test]
fn a_long_history_with_many_streams_is_read_in_one_go() {
    let mut snapshot = Snapshot::default();
    let mut events = Vec::new();
    for number in 0..150_000_u64 {
        let mut event = Event {
            address: (number % 5000) << 21,
            size: Bytes::mib(1),
            stream: StreamId::new(number % 3000),
            time_us: 0,
            action: Action::Alloc,
            pool: PoolIndex::new(0),
            stack: StackId::default(),
            tag: NameId::default(),
            context: NameId::default(),
        };
        events.push(event);
        (event.action, event.address) = (Action::SegmentMap, number << 21);
        events.push(event);
    }
    events.push(Event { action: Action::Oom, address: 0, ..events[0] });
    snapshot.histories.push(freeboard_snapshot::History { events, dropped: 0 });
    assert_eq!(ask(&snapshot).verdict.name(), "exhaustion");
}
