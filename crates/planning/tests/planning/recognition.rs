//! Repetitions found, against a search that compares everything.

use freeboard_planning::{Key, MIN_PERIOD, Recorder, Repetition};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::program::{Pending, key, record, steps};

/// What a recorder was told: keys, and the units live at each request.
#[derive(Debug, Default)]
struct Record {
    keys: Vec<Key>,
    live: Vec<u64>,
    now: u64,
}

impl Record {
    fn allocated(&mut self, key: Key) {
        self.keys.push(key);
        self.live.push(self.now);
        self.now += key.size().get() / 512;
    }

    /// Whether the last `length` requests of the last `kept` are a repetition.
    fn repeats(&self, length: usize, kept: usize) -> bool {
        let all = self.keys.len();
        let (Some(middle), Some(start)) = (all.checked_sub(length), all.checked_sub(2 * length))
        else {
            return false;
        };
        length > 0
            && 2 * length <= kept
            && self.keys[start..middle] == self.keys[middle..]
            && self.live[all - 1] == self.live[all - 1 - length]
    }

    fn found(&self, length: Option<usize>) -> Option<Repetition> {
        length.map(|length| Repetition { start: (self.keys.len() - length) as u64, length })
    }
}

/// Something before, then a block of requests made of a shorter one, again and again.
fn sequences() -> impl Strategy<Value = Vec<(u64, usize)>> {
    let request = || (1_u64..4, prop_oneof![6 => 1..9_usize, 1 => Just(70), 1 => Just(100_000)]);
    let parts = (vec(request(), 0..50), vec(request(), 1..50), vec(request(), 0..50));
    (parts, 1..5_usize, 1..6_usize, 0..90_usize).prop_map(|(parts, inner, outer, more)| {
        let (before, part, rest) = parts;
        let step = [part.repeat(inner), rest].concat();
        let more = step.iter().cycle().take(more).copied();
        before.into_iter().chain(step.repeat(outer)).chain(more).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_repetition_is_the_one_found_by_comparing_everything(
        sequence in sequences(),
        capacity in prop_oneof![Just(128_usize), Just(256), Just(2048)],
        least in 0_usize..200,
        steady: bool,
    ) {
        let (mut recorder, mut record) = (Recorder::new(capacity), Record::default());
        let mut pending = Pending::default();
        for (units, life) in sequence {
            let serial = recorder.allocated(key(units, 0));
            record.allocated(key(units, 0));
            pending.free_after(if steady { life % 64 } else { life }, (serial, units));
            for (serial, units) in pending.pass() {
                recorder.freed(serial);
                // What fell out of the ring is unknown to the recorder.
                if recorder.next_serial() - serial <= capacity as u64 {
                    record.now -= units;
                }
            }
        }
        let kept = capacity.min(record.keys.len());
        let length = (MIN_PERIOD.max(least)..=kept).find(|&length| record.repeats(length, kept));
        prop_assert_eq!(recorder.repetition_from(least), record.found(length));
    }

    #[test]
    fn with_marks_the_repetition_is_between_marks(
        one in steps(12),
        other in steps(12),
        turns in vec(any::<bool>(), 1..8),
        wraps: bool,
    ) {
        let mut recorder = Recorder::new(if wraps { 32 } else { 1024 });
        let (mut record, mut marks) = (Record::default(), Vec::new());
        for _ in 0..4 {
            for &turn in &turns {
                for request in if turn { &one } else { &other } {
                    // Freed at once, so that all are steady.
                    let serial = recorder.allocated(request.key);
                    record.allocated(request.key);
                    recorder.freed(serial);
                    record.now = 0;
                }
                recorder.mark_step();
                marks.push(record.keys.len());
            }
        }
        let kept = (if wraps { 32 } else { 1024 }).min(record.keys.len());
        marks.retain(|&mark| record.keys.len() - mark <= kept);
        let lengths = marks.iter().rev().map(|mark| record.keys.len() - mark);
        let length = lengths.clone().find(|&length| record.repeats(length, kept));
        prop_assert_eq!(recorder.repetition(), record.found(length));
        if !wraps {
            prop_assert!(length.is_some());
        }
    }

    #[test]
    fn a_marked_step_is_found_in_the_middle_of_the_next(
        step in steps(40),
        into in 0..40_usize,
        before in 0..500_usize,
    ) {
        let mut recorder = Recorder::new(256);
        for units in 0..before {
            recorder.allocated(key(100 + units as u64, 0));
        }
        let mut pending = record(&mut recorder, &step, 5);
        pending.record(&mut recorder, &step[..into.min(step.len())]);
        let start = recorder.next_serial() - step.len() as u64;
        prop_assert_eq!(recorder.repetition(), Some(Repetition { start, length: step.len() }));
    }
}

/// A step of layers, each of which leaves an activation behind that its backward frees.
fn run_layers(recorder: &mut Recorder, layers: u64) -> Vec<Option<usize>> {
    let mut seen = Vec::new();
    let mut activations = Vec::new();
    let scratch = |recorder: &mut Recorder, from: u64| {
        for units in from..from + 70 {
            let serial = recorder.allocated(key(units, 0));
            recorder.freed(serial);
        }
    };
    for _ in 0..layers {
        scratch(recorder, 1);
        activations.push(recorder.allocated(key(1000, 0)));
        seen.push(recorder.repetition().map(|found| found.length));
    }
    for _ in 0..layers {
        scratch(recorder, 100);
        let gradient = recorder.allocated(key(2000, 0));
        activations.pop().into_iter().for_each(|serial| recorder.freed(serial));
        recorder.freed(gradient);
        seen.push(recorder.repetition().map(|found| found.length));
    }
    seen
}

#[test]
fn layers_repeat_within_a_step_but_the_step_is_found() {
    let mut recorder = Recorder::new(1 << 13);
    let layers = 12;
    let step = 2 * layers * 71;
    for round in 0..4 {
        for (place, found) in run_layers(&mut recorder, layers as u64).into_iter().enumerate() {
            let complete = round >= 2 || round == 1 && place == 2 * layers - 1;
            assert_eq!(found, complete.then_some(step), "round {round}, layer {place}");
        }
    }
}

#[test]
fn who_was_misled_by_a_loop_can_ask_for_more() {
    let mut recorder = Recorder::new(1024);
    for _ in 0..2 {
        for n in 0..300 {
            let serial = recorder.allocated(key(if n < 100 { 200 + n } else { n % 4 }, 0));
            recorder.freed(serial);
        }
    }
    assert_eq!(recorder.repetition(), Some(Repetition { start: 536, length: 64 }));
    assert_eq!(recorder.repetition_from(150), Some(Repetition { start: 300, length: 300 }));
    assert_eq!(recorder.repetition_from(301), None);
    recorder.clear();
    assert_eq!(recorder.repetition(), None);
}
