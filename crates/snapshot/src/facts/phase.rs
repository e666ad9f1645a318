//! When in the run a request failed, by the marks of steps, the stack of the request, and what had
//! happened before.

use freeboard_units::Bytes;

use super::Phase;
use crate::history::{Action, Event};
use crate::timeline::Timeline;

/// Functions that make or load a model.
const LOADS: [&str; 5] =
    ["__init__", "_apply", "reset_parameters", "load_state_dict", "from_pretrained"];
/// Functions that only a training step calls.
const TRAINS: [&str; 3] = ["backward", "_engine_run_backward", "_init_group"];
/// A program that has risen and fallen this often is past its first step.
const SWINGS_MIN: usize = 3;

/// When in the run a request failed, as far as the history reaches; `None` where it does not tell.
pub(super) fn phase(before: &[Event], failed: &Event, timeline: &Timeline<'_>) -> Option<Phase> {
    let complete = timeline.steps().into_iter().filter(|step| step.is_complete);
    let steps = complete.filter(|step| step.end as usize <= before.len()).count();
    if steps > 0 {
        return Some(Phase::MidRun { steps: steps as u64 });
    }
    if has_lost_its_beginning(timeline, before.len()) {
        return None;
    }
    let snapshot = timeline.snapshot();
    let calls = |wanted: &[&str]| {
        let mut frames = snapshot.stacks.get(failed.stack);
        frames.any(|frame| wanted.contains(&snapshot.names.get(frame.function)))
    };
    if calls(&TRAINS) {
        return Some(Phase::FirstStep);
    }
    if calls(&LOADS) && !calls(&["forward"]) {
        return Some(Phase::Load);
    }
    let count = |action| before.iter().filter(|event| event.action == action).count();
    // Loading gives next to nothing back; a forward pass frees its intermediate results.
    if !calls(&["forward"]) && count(Action::FreeRequested) * 20 < count(Action::Alloc) {
        return Some(Phase::Load);
    }
    // Without marks a program that goes round and round, as in inference, has no first step.
    (swings(&before[before.len() / 2..]) < SWINGS_MIN).then_some(Phase::FirstStep)
}

/// Whether more than a hundredth of what lived before the history is gone: the history began in the middle of a step.
/// Where it was switched on before the first step, what is older are parameters, which stay.
fn has_lost_its_beginning(timeline: &Timeline<'_>, until: usize) -> bool {
    let older = || timeline.lives().iter().filter(|life| life.born.is_none());
    let gone = older().filter(|life| life.ended.is_some_and(|ended| (ended as usize) < until));
    let [all, gone]: [Bytes; 2] =
        [older().map(|life| life.size).sum(), gone.map(|life| life.size).sum()];
    gone > Bytes::new(all.get() / 100)
}

/// How often memory in use fell from near its highest to near its lowest.
fn swings(events: &[Event]) -> usize {
    let mut live = 0_i64;
    let course: Vec<i64> = events
        .iter()
        .map(|event| {
            live = match event.action {
                Action::Alloc => live.saturating_add(event.size.as_i64()),
                Action::FreeCompleted => live.saturating_sub(event.size.as_i64()),
                _ => live,
            };
            live
        })
        .collect();
    let (low, high) = course.iter().fold((0, 0), |(low, high), &at| (at.min(low), at.max(high)));
    let quarter = high.saturating_sub(low) / 4;
    let (mut was_high, mut count) = (false, 0);
    for at in course {
        if at > high.saturating_sub(quarter) {
            was_high = true;
        } else if at < low.saturating_add(quarter) && was_high {
            (was_high, count) = (false, count + 1);
        }
    }
    count
}
