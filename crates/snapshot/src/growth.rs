//! Growth over steps: whether a program keeps more memory from step to step, and who keeps it.

use std::collections::{HashMap, HashSet};

use freeboard_units::{Bytes, DeviceId};

use crate::facts::{Growth, Holder};
use crate::history::{Action, Event};
use crate::holders::{self, HolderNames};
use crate::model::Snapshot;
use crate::moment::Moment;

/// Steps at the start that make what stays: optimizer states, workspaces.
const WARM_UP: usize = 2;
/// Fewer steps than this tell nothing.
const STEPS_MIN: usize = 4;
/// The part of the steps in which memory must have grown.
const GROWING_PART: f64 = 0.8;
/// Without marked steps: how many equal stretches of the history stand for steps.
const STRETCHES: usize = 12;
/// Without marked steps: a shorter history tells nothing.
const EVENTS_MIN: usize = 480;
/// In a history that has lost its beginning: what a holder that grows has come to hold, in steps.
const PILED_UP: u64 = 8;
/// Without marked steps: how many times deeper memory must rise and fall than what is kept.
const DEPTH_MIN: i64 = 3;

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

/// How memory grew up to the event `until`, where `moment` is; `None` where it did not, or where there
/// are too few steps to tell.
#[must_use]
pub fn measure(
    snapshot: &Snapshot,
    device: DeviceId,
    until: usize,
    moment: &Moment,
    steps: &[usize],
) -> Option<Growth> {
    let events = &snapshot.histories.get(device.get() as usize)?.events;
    let events = &events[..until.min(events.len())];
    let mut ends: Vec<usize> = steps.iter().copied().filter(|&end| end <= events.len()).collect();
    if ends.is_empty() {
        ends = (1..=STRETCHES).map(|number| number * events.len() / STRETCHES).collect();
        if !runs_in_steps(events, &ends) {
            return None;
        }
    }
    let mut names = HolderNames::new(snapshot);
    let net = net_by_holder(&mut names, events, &ends);
    let held = held_by_holder(&mut names, moment);
    // Once a history has lost its beginning, the first steps are long past.
    let is_cut = before(events) > Bytes::ZERO;
    let warm_up = if is_cut { 0 } else { WARM_UP };
    let mut growth = Growth::default();
    for (number, net) in net.iter().enumerate() {
        let Some(per_step) = steady(net.get(warm_up..)?, held[number], is_cut) else { continue };
        let steps = (net.len() - warm_up) as u64;
        growth.steps = steps;
        growth.per_step += per_step;
        growth.total += per_step * steps;
        growth.held += held[number];
        growth.holders.push(Holder { name: names.name(number), bytes: per_step, blocks: steps });
    }
    growth.holders = holders::largest_first(growth.holders);
    growth.holders.truncate(5);
    (growth.steps > 0).then_some(growth)
}

/// Whether a history without marks looks like steps: memory rises and falls by much more than what is
/// kept. A model being loaded, a forward pass, or an optimizer's first step only rises.
fn runs_in_steps(events: &[Event], ends: &[usize]) -> bool {
    if events.len() < EVENTS_MIN {
        return false;
    }
    let (mut live, mut start) = (0_i64, 0);
    let [mut lows, mut depths] = [Vec::new(), Vec::new()];
    for &end in ends {
        let (mut low, mut high) = (live, live);
        for event in &events[start..end] {
            live = live.saturating_add(change(event));
            (low, high) = (low.min(live), high.max(live));
        }
        lows.push(low);
        depths.push(high.saturating_sub(low));
        start = end;
    }
    let rise =
        lows[lows.len() - 1].saturating_sub(lows[0]) / i64::try_from(lows.len()).unwrap_or(1);
    depths.iter().all(|&depth| depth >= DEPTH_MIN.saturating_mul(rise))
}

/// Bytes that each holder came to hold more in each step.
fn net_by_holder(names: &mut HolderNames<'_>, events: &[Event], ends: &[usize]) -> Vec<Vec<i64>> {
    let mut net: Vec<Vec<i64>> = Vec::new();
    let mut live: HashMap<u64, usize> = HashMap::new();
    let mut start = 0;
    for (step, &end) in ends.iter().enumerate() {
        for event in &events[start..end] {
            // A free is its owner's, whoever called it.
            let holder = match event.action {
                Action::Alloc => {
                    let holder = names.number(event.tag, event.stack);
                    live.insert(event.address, holder);
                    Some(holder)
                }
                Action::FreeCompleted => live.remove(&event.address),
                _ => None,
            };
            let Some(holder) = holder else { continue };
            net.resize_with(net.len().max(holder + 1), || vec![0; ends.len()]);
            net[holder][step] = net[holder][step].saturating_add(change(event));
        }
        start = end;
    }
    net
}

/// Bytes that each holder has, by number; some may be numbered that never allocated.
fn held_by_holder(names: &mut HolderNames<'_>, moment: &Moment) -> Vec<Bytes> {
    let mut held = vec![Bytes::ZERO; names.len()];
    for (_, used) in moment.used() {
        let holder = names.number(used.tag, used.stack);
        held.resize(held.len().max(holder + 1), Bytes::ZERO);
        held[holder] += used.size;
    }
    held
}

/// Bytes per step by which a holder grows, if it grows in nearly every step and has not stopped.
fn steady(net: &[i64], held: Bytes, is_cut: bool) -> Option<Bytes> {
    let total: i64 = net.iter().sum();
    let per_step = Bytes::new(u64::try_from(total).ok()? / (net.len().max(1) as u64));
    let grew = net.iter().filter(|&&by| by > 0).count();
    let later: i64 = net[net.len() / 2..].iter().sum();
    if per_step.is_zero() || later.saturating_mul(3) < total {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a part of a few thousand steps")]
    let mostly = grew as f64 >= GROWING_PART * net.len() as f64;
    let long = net.len() >= STEPS_MIN;
    // Too few steps to see it grow; but it holds as much as many steps add.
    let piled_up = is_cut && held >= per_step * PILED_UP;
    (mostly && (long || piled_up)).then_some(per_step)
}

/// Bytes freed in a history that were not allocated in it: it has lost its beginning.
fn before(events: &[Event]) -> Bytes {
    let mut live: HashSet<u64> = HashSet::new();
    let mut older = Bytes::ZERO;
    for event in events {
        match event.action {
            Action::Alloc => drop(live.insert(event.address)),
            Action::FreeCompleted if !live.remove(&event.address) => older += event.size,
            _ => {}
        }
    }
    older
}

fn change(event: &Event) -> i64 {
    let size = i64::try_from(event.size.get()).unwrap_or(i64::MAX);
    match event.action {
        Action::Alloc => size,
        Action::FreeCompleted => -size,
        _ => 0,
    }
}
