//! Small runs that fail, taken up from their snapshots, and what is said to help them.

use freeboard_snapshot::{Action, Event, History, NameId, PoolIndex, Snapshot, StackId, Timeline};
use freeboard_units::{DeviceId, StreamId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::trace::TraceBuilder;

const DEVICE: DeviceId = DeviceId::new(0);

/// Large buffers come and go, each larger than the last, and something is kept in the place of each.
fn breaking_up() -> Trace {
    let mut trace = TraceBuilder::default();
    for round in 0..10 {
        let buffer = trace.alloc(Bytes::mib(100 + 2 * round), 0);
        trace.free(buffer);
        trace.alloc(Bytes::mib(60), 0);
    }
    trace.finish("breaking up")
}

/// What PyTorch's policy leaves behind where it fails first.
fn failed(trace: &Trace, capacity: Bytes) -> Snapshot {
    let options = RunOptions::new(Config::pytorch(), capacity).snapshot(true);
    let mut snapshot = *run(trace, &options).unwrap().snapshot.unwrap();
    snapshot.devices.clear();
    snapshot
}

/// Enough for what is live, and too little for what is left in pieces.
const TOO_SMALL: Bytes = Bytes::mib(900);

#[test]
fn a_margin_lies_between_memory_that_is_enough_and_memory_that_is_not() {
    let trace = breaking_up();
    let ample = RunOptions::new(Config::pytorch(), Bytes::gib(4));
    let Margin { fits, fails } = margin(&trace, &ample).unwrap().unwrap();
    assert!(fails < fits && fits <= ample.capacity);
    assert!(run(&trace, &RunOptions { capacity: fits, ..ample.clone() }).unwrap().survived);
    assert!(!run(&trace, &RunOptions { capacity: fails, ..ample.clone() }).unwrap().survived);
    let none = margin(&trace, &RunOptions { capacity: fails, ..ample }).unwrap();
    assert!(none.is_none());
}

#[test]
fn a_run_is_taken_up_with_every_allocation_up_to_the_failure() {
    let trace = breaking_up();
    let snapshot = failed(&trace, TOO_SMALL);
    let recorded = Recorded::of(&snapshot, DEVICE, "again").unwrap();
    let timeline = Timeline::new(&snapshot, DEVICE);
    let count =
        |action| timeline.events().iter().filter(|event| event.action == action).count() as u64;
    assert_eq!(recorded.trace.allocs, count(Action::Alloc) + 1);
    assert_eq!(recorded.trace.frees, count(Action::FreeCompleted));
    assert_eq!(recorded.before, Bytes::ZERO);
    let failed = timeline.events().iter().find(|event| event.action == Action::Oom).unwrap();
    assert_eq!(recorded.failed, Some(failed.size));
}

#[test]
fn what_lived_before_the_history_is_there_from_the_start() {
    let trace = breaking_up();
    let mut snapshot = failed(&trace, TOO_SMALL);
    let whole = Recorded::of(&snapshot, DEVICE, "whole").unwrap();
    let events = &mut snapshot.histories[0].events;
    events.drain(..events.len() / 2);
    let late = Recorded::of(&snapshot, DEVICE, "late").unwrap();
    assert!(late.before >= Bytes::mib(60), "{}", late.before);
    assert_eq!(late.failed, whole.failed);
    assert!(late.trace.ops.len() < whole.trace.ops.len());
    snapshot.histories.clear();
    assert!(Recorded::of(&snapshot, DEVICE, "no history").is_none());
}

#[test]
fn what_is_verified_survives_and_what_fails_is_not_advised() {
    let trace = breaking_up();
    let snapshot = failed(&trace, TOO_SMALL);
    let recorded = Recorded::of(&snapshot, DEVICE, "again").unwrap();
    let mut facts = Facts::of_snapshot(&snapshot, DEVICE);
    facts.transient = Some(recorded.transient());
    let mut diagnosis = Diagnosis::of(&facts);
    assert_eq!(diagnosis.verdict, Verdict::Fragmentation, "{}", diagnosis.summary);
    let options = VerifyOptions::of(&facts).unwrap();
    let mut heard = Vec::new();
    verify(&mut diagnosis, &recorded, &options, |policy| heard.push(policy.to_owned())).unwrap();
    assert_eq!(heard.first().map(String::as_str), Some(AS_IT_RAN));
    assert_eq!((&*diagnosis.replays[0].policy, diagnosis.replays[0].spare), (AS_IT_RAN, None));
    let verified: Vec<&Lever> = diagnosis.levers.iter().filter(|lever| lever.verified).collect();
    assert!(!verified.is_empty(), "{:?}", diagnosis.levers);
    for setting in diagnosis.levers.iter().filter_map(|lever| lever.setting.as_ref()) {
        let option = setting.split_once('=').unwrap().1;
        let config = Config::pytorch().parse_onto(option).unwrap().config;
        let spare = diagnosis.replays.iter().find(|trial| trial.policy == option).unwrap().spare;
        let capacity = options.capacity.saturating_sub(spare.unwrap());
        let again = run(&recorded.trace, &RunOptions::new(config, capacity)).unwrap();
        assert!(again.survived, "{setting} on {capacity}");
    }
    let first_unverified = diagnosis.levers.iter().position(|lever| !lever.verified);
    assert!(first_unverified.is_none_or(|place| place >= verified.len()));
}

#[test]
fn leaks_and_other_processes_are_not_replayed() {
    let trace = breaking_up();
    let snapshot = failed(&trace, TOO_SMALL);
    let recorded = Recorded::of(&snapshot, DEVICE, "again").unwrap();
    let facts = Facts::of_snapshot(&snapshot, DEVICE);
    let options = VerifyOptions::of(&facts).unwrap();
    for cause in [Cause::Growth, Cause::OtherProcess, Cause::PendingFree, Cause::PrivatePool] {
        let mut diagnosis = Diagnosis::of(&facts);
        (diagnosis.cause, diagnosis.levers) = (cause, Vec::new());
        let before = diagnosis.clone();
        verify(&mut diagnosis, &recorded, &options, |policy| panic!("{policy} was tried")).unwrap();
        assert_eq!(diagnosis, before);
    }
}

#[test]
fn settings_that_cannot_be_read_are_said_to_be() {
    let trace = breaking_up();
    let snapshot = failed(&trace, TOO_SMALL);
    let recorded = Recorded::of(&snapshot, DEVICE, "again").unwrap();
    let facts = Facts::of_snapshot(&snapshot, DEVICE);
    let mut options = VerifyOptions::of(&facts).unwrap();
    options.settings = "max_split_size_mb:lots".to_owned();
    let mut diagnosis = Diagnosis::of(&facts);
    verify(&mut diagnosis, &recorded, &options, |_| {}).unwrap();
    assert!(diagnosis.replays.is_empty());
    assert!(diagnosis.evidence.iter().any(|line| line.text.contains("cannot be read")));
}

fn event() -> impl Strategy<Value = Event> {
    let sizes = select(&[0, 512, 1 << 21, 1 << 40, (1 << 63) - 1, 1 << 63, u64::MAX][..]);
    let actions = [
        Action::Alloc,
        Action::FreeRequested,
        Action::FreeCompleted,
        Action::SegmentAlloc,
        Action::SegmentMap,
        Action::Oom,
    ];
    let action = select(actions.to_vec());
    (action, 0..6_u64, sizes, 0..4_u64, any::<i64>()).prop_map(
        |(action, address, size, stream, time_us)| Event {
            address: address << 21,
            size: Bytes::new(size),
            stream: StreamId::new(stream),
            time_us,
            action,
            pool: PoolIndex::new(0),
            stack: StackId::default(),
            tag: NameId::default(),
            context: NameId::default(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_can_be_taken_up_and_tried(events in vec(event(), 1..40)) {
        let mut snapshot = Snapshot::default();
        snapshot.histories.push(History { events, dropped: 0 });
        if let Some(recorded) = Recorded::of(&snapshot, DEVICE, "any") {
            let mut facts = Facts::of_snapshot(&snapshot, DEVICE);
            facts.transient = Some(recorded.transient());
            let _ = (recorded.whole_step(), recorded.step_needs(), recorded.with_batch(0.5, 2.0));
            let mut diagnosis = Diagnosis::of(&facts);
            if let Some(options) = VerifyOptions::of(&facts) {
                // Where an allocator refuses such sizes outright, it says so.
                let _ = verify(&mut diagnosis, &recorded, &options.batch(Some(8)), |_| {});
            }
        }
    }
}
