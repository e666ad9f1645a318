//! Growth on series made by hand: what is kept after each step, and what only looks like it.

use freeboard_snapshot::facts::Growth;
use freeboard_snapshot::{
    Action, Event, Frame, History, NameId, PoolIndex, Snapshot, StackId, Timeline, growth,
};
use freeboard_units::{Bytes, DeviceId, StreamId};

/// Growth where one line keeps this many MiB more (or fewer) after each step.
fn measure(kept: &[i64]) -> Option<Growth> {
    let mut snapshot = Snapshot::default();
    let frame = Frame {
        file: snapshot.names.intern("train.py"),
        function: snapshot.names.intern("keep"),
        line: 7,
    };
    let stack = snapshot.stacks.intern([frame]);
    let mark = snapshot.names.intern("step");
    let mut events = Vec::new();
    let mut push = |action, address: u64, tag| {
        events.push(Event {
            address: address << 20,
            size: if action == Action::Annotate { Bytes::ZERO } else { Bytes::mib(1) },
            stream: StreamId::DEFAULT,
            time_us: 0,
            action,
            pool: PoolIndex::new(0),
            stack: if action == Action::Alloc { stack } else { StackId::default() },
            tag,
            context: NameId::default(),
        });
    };
    let mut live = 0;
    for &change in kept {
        for _ in 0..change.max(0) {
            live += 1;
            push(Action::Alloc, live, NameId::default());
        }
        for _ in 0..(-change).max(0) {
            push(Action::FreeRequested, live, NameId::default());
            push(Action::FreeCompleted, live, NameId::default());
            live -= 1;
        }
        push(Action::Annotate, 0, mark);
    }
    snapshot.histories.push(History { events, dropped: 0 });
    growth::measure(&Timeline::new(&snapshot, DeviceId::new(0)), None)
}

#[test]
fn what_every_step_keeps_is_growth() {
    let growth = measure(&[40, 9, 3, 3, 3, 3, 3, 3]).unwrap();
    assert_eq!((growth.steps, growth.per_step, growth.total), (6, Bytes::mib(3), Bytes::mib(18)));
    assert!(!growth.are_stretches);
    assert!(growth.holders[0].name.contains("train.py:7"), "{:?}", growth.holders);
}

#[test]
fn noise_on_top_of_growth_does_not_hide_it() {
    let growth = measure(&[9, 9, 5, 1, 4, 2, 6, 3, 1, 5, -1, 4]).unwrap();
    assert_eq!((growth.steps, growth.per_step), (10, Bytes::mib(3)));
}

/// A cache that grows with every token and goes with its sequence, say.
#[test]
fn what_rises_and_falls_is_no_growth() {
    assert_eq!(measure(&[9, 9, 2, 2, 2, -6, 2, 2, 2, -6, 2, 2, 2, -6]), None);
    assert_eq!(measure(&[9, 9, 2, -2, 2, -2, 2, -2, 2, -2]), None);
}

#[test]
fn what_comes_once_or_has_stopped_is_no_growth() {
    assert_eq!(measure(&[40, 30, 0, 0, 0, 0, 0, 0]), None);
    assert_eq!(measure(&[9, 9, 0, 0, 50, 0, 0, 0]), None);
    assert_eq!(measure(&[9, 9, 5, 5, 5, 5, 0, 0, 0, 0]), None);
}

#[test]
fn fewer_than_four_steps_after_the_first_two_tell_nothing() {
    assert_eq!(measure(&[9, 9, 3, 3, 3]), None);
    assert!(measure(&[9, 9, 3, 3, 3, 3]).is_some());
}
