//! Growth over steps: whether a program keeps more memory from step to step, and who keeps it.

use std::collections::{BTreeMap, HashMap};

use freeboard_units::{Bytes, DeviceId};

use crate::facts::{Growth, Holder};
use crate::history::{Action, Event};
use crate::holders;
use crate::model::Snapshot;

/// Steps at the start that make what stays: optimizer states, workspaces.
const WARM_UP: usize = 2;
/// Fewer steps than this tell nothing.
const STEPS_MIN: usize = 4;
/// The part of the steps in which memory must have grown.
const GROWING_PART: f64 = 0.8;
/// Without marked steps: how many equal stretches of the history stand for steps.
const STRETCHES: usize = 12;

/// The events after which steps ended, by the program's own marks: `Optimizer.step` in `PyTorch`'s
/// annotations, scopes or annotations that begin with `step` in ours.
#[must_use]
pub fn step_ends(snapshot: &Snapshot, device: DeviceId, events: &[Event]) -> Vec<usize> {
    let names = &snapshot.names;
    let ends = snapshot.annotations.iter().filter(|mark| {
        mark.device == device
            && names.get(mark.stage) == "END"
            && names.get(mark.name).starts_with("Optimizer.step")
    });
    let mut found: Vec<usize> =
        ends.map(|mark| events.partition_point(|event| event.time_us <= mark.time_us)).collect();
    let marks = events.iter().enumerate().filter(|(_, event)| {
        event.action == Action::Annotate && names.get(event.tag).starts_with("step")
    });
    found.extend(marks.map(|(index, _)| index));
    // What lies before the history began ended no step in it.
    found.retain(|&index| index > 0);
    found.sort_unstable();
    found.dedup();
    found
}

/// How memory grew up to the event `until`; `None` where there are too few steps to tell.
#[must_use]
pub fn measure(
    snapshot: &Snapshot,
    device: DeviceId,
    until: usize,
    steps: &[usize],
) -> Option<Growth> {
    let events = &snapshot.histories.get(device.get() as usize)?.events;
    let events = &events[..until.min(events.len())];
    let marked: Vec<usize> = steps.iter().copied().filter(|&end| end <= until).collect();
    let (live, ends) = if marked.len() >= WARM_UP + STEPS_MIN {
        at_ends(events, &marked)
    } else if marked.is_empty() {
        in_stretches(events)?
    } else {
        return None;
    };
    judge(snapshot, device, &live[WARM_UP..], &ends[WARM_UP..])
}

/// Net bytes allocated since the history began, at the ends of steps.
fn at_ends(events: &[Event], ends: &[usize]) -> (Vec<i64>, Vec<usize>) {
    let mut live = 0;
    let mut found = Vec::with_capacity(ends.len());
    let mut ends_left = ends.iter().peekable();
    for index in 0..=events.len() {
        while ends_left.next_if(|&&end| end <= index).is_some() {
            found.push(live);
        }
        live += events.get(index).map_or(0, change);
    }
    (found, ends.to_vec())
}

/// The least net bytes in equal stretches of the history, and where they were: what a program keeps
/// shows at the bottom of every step, wherever steps begin.
fn in_stretches(events: &[Event]) -> Option<(Vec<i64>, Vec<usize>)> {
    let frees = events.iter().filter(|event| event.action == Action::FreeCompleted).count();
    // Loading a model grows too. Only a program that gives most of it back runs in steps.
    if events.len() < 40 * STRETCHES || frees * 3 < events.len() / 2 {
        return None;
    }
    let (mut lows, mut places) = (Vec::new(), Vec::new());
    let mut live = 0;
    for stretch in 0..STRETCHES {
        let (start, end) =
            (stretch * events.len() / STRETCHES, (stretch + 1) * events.len() / STRETCHES);
        let (mut low, mut place) = (i64::MAX, start);
        for (index, event) in events.iter().enumerate().take(end).skip(start) {
            live += change(event);
            if live < low {
                (low, place) = (live, index + 1);
            }
        }
        lows.push(low);
        places.push(place);
    }
    Some((lows, places))
}

fn change(event: &Event) -> i64 {
    let size = i64::try_from(event.size.get()).unwrap_or(i64::MAX);
    match event.action {
        Action::Alloc => size,
        Action::FreeCompleted => -size,
        _ => 0,
    }
}

fn judge(snapshot: &Snapshot, device: DeviceId, live: &[i64], ends: &[usize]) -> Option<Growth> {
    let (&first, &last) = (live.first()?, live.last()?);
    let (&from, &to) = (ends.first()?, ends.last()?);
    let increases = live.windows(2).map(|pair| pair[1] - pair[0]);
    let steps = live.len() - 1;
    let grew = increases.clone().filter(|&by| by > 0).count();
    // What grows in the first half only has stopped growing.
    let middle = live[live.len() / 2];
    let goes_on = (last - middle) * 3 >= last - first && last > middle;
    let total = last.saturating_sub(first);
    #[expect(clippy::cast_precision_loss, reason = "a part of a few thousand steps")]
    let mostly = grew as f64 >= GROWING_PART * steps as f64;
    let mut increases: Vec<i64> = increases.collect();
    let (_, &mut median, _) = increases.select_nth_unstable(steps / 2);
    if total <= 0 || median <= 0 {
        return None;
    }
    let bytes = |bytes: i64| Bytes::new(bytes.unsigned_abs());
    Some(Growth {
        steps: steps as u64,
        per_step: bytes(total / i64::try_from(steps).unwrap_or(i64::MAX)),
        total: bytes(total),
        is_steady: mostly && goes_on,
        holders: growing(snapshot, device, from, to, steps),
    })
}

/// Who holds more after event `to` than after event `from`: bytes per step, largest first.
fn growing(
    snapshot: &Snapshot,
    device: DeviceId,
    from: usize,
    to: usize,
    steps: usize,
) -> Vec<Holder> {
    // Blocks born between the two and still alive at the second.
    let events = &snapshot.histories[device.get() as usize].events;
    let mut born: HashMap<u64, &Event> = HashMap::new();
    for event in &events[from.min(to)..to] {
        match event.action {
            Action::Alloc => drop(born.insert(event.address, event)),
            Action::FreeCompleted => drop(born.remove(&event.address)),
            _ => {}
        }
    }
    let mut by_name: BTreeMap<String, Holder> = BTreeMap::new();
    for event in born.values() {
        let name = holders::name(snapshot, event.tag, event.stack);
        let empty = || Holder { name: name.clone(), bytes: Bytes::ZERO, blocks: 0 };
        let holder = by_name.entry(name.clone()).or_insert_with(empty);
        holder.bytes += event.size;
        holder.blocks += 1;
    }
    let mut all = holders::largest_first(by_name.into_values().collect());
    for holder in &mut all {
        holder.bytes = Bytes::new(holder.bytes.get() / (steps.max(1) as u64));
    }
    all.truncate(5);
    all
}
