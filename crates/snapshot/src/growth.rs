//! Growth over steps: whether a program keeps more memory from step to step, and who keeps it.

use std::collections::HashMap;

use freeboard_units::Bytes;

use crate::facts::{Growth, Holder};
use crate::history::{Action, Event};
use crate::holders::{Grouping, Key};
use crate::timeline::Timeline;

/// Those who grow that are named.
const HOLDERS_MAX: usize = 5;
/// Steps at the start that make what stays: optimizer states, workspaces.
const WARM_UP: usize = 2;
/// Fewer steps than this tell nothing.
const STEPS_MIN: usize = 4;
/// The part of the steps in which memory must have grown.
const GROWING_PART: f64 = 0.8;
/// Without marked steps: how many equal stretches of the history stand for steps.
const STRETCHES: u32 = 12;
/// Without marked steps: a shorter history tells nothing.
const EVENTS_MIN: usize = 480;
/// In a history that has lost its beginning: what a holder that grows has come to hold, in steps.
const PILED_UP: u64 = 8;
/// As before: above this, what came on top was chance.
const PILED_UP_MAX: u64 = 10_000;
/// Without marked steps: how many times deeper memory must rise and fall than what is kept.
const DEPTH_MIN: i64 = 3;
/// As before: or how many times what is kept must be allocated.
const TURNOVER_MIN: i64 = 4;

/// How memory grew up to an event (`None`: up to the end); `None` where it did not, or where there
/// are too few steps to tell.
#[must_use]
pub fn measure(timeline: &Timeline<'_>, until: Option<u32>) -> Option<Growth> {
    let last = u32::try_from(timeline.events().len()).unwrap_or(u32::MAX);
    let until = until.unwrap_or(last);
    let complete = timeline.steps().into_iter().filter(|step| step.is_complete);
    let (mut are_stretches, mut is_deep) = (false, true);
    let mut ends: Vec<u32> = complete.map(|step| step.end).filter(|&end| end <= until).collect();
    if ends.is_empty() {
        are_stretches = true;
        let part = |number: u32| u64::from(number) * u64::from(until) / u64::from(STRETCHES);
        ends = (1..=STRETCHES).filter_map(|number| u32::try_from(part(number)).ok()).collect();
        let events = &timeline.events()[..until as usize];
        is_deep = runs_in_steps(events, &ends);
        if !is_deep && !turns_over(events) {
            return None;
        }
    }
    // Once a history has lost its beginning, the first steps are long past.
    let is_cut = timeline.lives().iter().any(|life| life.born.is_none() && life.ended.is_some());
    if is_cut && ends.len() < 2 {
        ends = vec![until];
    }
    let is_late = timeline.lives().iter().any(|life| life.born.is_none());
    let mut grouping = Grouping::new(timeline.snapshot());
    let (net, held) = by_holder(timeline, &mut grouping, &ends, until);
    let warm_up = if is_cut { 0 } else { WARM_UP };
    let mut growth = Growth { are_stretches, ..Growth::default() };
    // In a backward pass gradients pile up, which have no stack, while activations go.
    for (&holder, net) in net.iter().filter(|&(&holder, _)| is_deep || holder != Key::Unknown) {
        let held = held.get(&holder).copied().unwrap_or_default();
        let Some(per_step) = steady(net.get(warm_up..)?, held, is_cut) else { continue };
        let grew = Bytes::new(per_step.get().saturating_mul(net.len() as u64));
        // Those without a stack hold other things as well; others only what the last step needs.
        let is_known = is_late && holder != Key::Unknown;
        let held = if is_known { held } else { held.min(grew) };
        let steps = (net.len() - warm_up) as u64;
        growth.steps = steps;
        growth.per_step = growth.per_step.saturating_add(per_step);
        let total = Bytes::new(per_step.get().saturating_mul(steps));
        growth.total = growth.total.saturating_add(total);
        growth.held = growth.held.saturating_add(held);
        growth.holders.push(Holder { name: grouping.name(holder), bytes: per_step, blocks: steps });
    }
    growth.holders.sort_by(|a, b| (b.bytes, &a.name).cmp(&(a.bytes, &b.name)));
    growth.holders.truncate(HOLDERS_MAX);
    (growth.steps > 0).then_some(growth)
}

/// Bytes that each holder came to hold more in each step, and what it holds at the end.
fn by_holder(
    timeline: &Timeline<'_>,
    grouping: &mut Grouping<'_>,
    ends: &[u32],
    until: u32,
) -> (HashMap<Key, Vec<i64>>, HashMap<Key, Bytes>) {
    let mut net: HashMap<Key, Vec<i64>> = HashMap::default();
    let mut held: HashMap<Key, Bytes> = HashMap::default();
    let step_of = |event: u32| ends.partition_point(|&end| end <= event);
    for life in timeline.lives().iter().filter(|life| life.born.is_none_or(|born| born < until)) {
        let holder = grouping.key(life.tag, life.stack);
        let mut change = |event: Option<u32>, by: i64| {
            let Some(event) = event.filter(|&event| event < until) else { return };
            let steps = net.entry(holder).or_insert_with(|| vec![0; ends.len()]);
            if let Some(step) = steps.get_mut(step_of(event)) {
                *step = step.saturating_add(by);
            }
        };
        let size = life.size.as_i64();
        change(life.born, size);
        // What is older than the history and gone is known by the stack of its free only.
        if life.born.is_some() {
            change(life.ended, -size);
        }
        if life.ended.is_none_or(|ended| ended >= until) {
            let held = held.entry(holder).or_default();
            *held = held.saturating_add(life.size);
        }
    }
    (net, held)
}

/// Whether a history without marks looks like steps: memory rises and falls by much more than what is
/// kept. A model being loaded, a forward pass, or an optimizer's first step only rises.
fn runs_in_steps(events: &[Event], ends: &[u32]) -> bool {
    if events.len() < EVENTS_MIN {
        return false;
    }
    let (mut live, mut start) = (0_i64, 0);
    let [mut lows, mut depths] = [Vec::new(), Vec::new()];
    for end in ends.iter().map(|&end| end as usize) {
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

/// Whether, once a quarter of the history is past, most of what is allocated is given back again,
/// which no forward pass does.
fn turns_over(events: &[Event]) -> bool {
    if events.len() < EVENTS_MIN {
        return false;
    }
    let later = || events[events.len() / 4..].iter().map(change);
    let allocated = later().fold(0_i64, |sum, by| sum.saturating_add(by.max(0)));
    let kept = later().fold(0_i64, i64::saturating_add);
    allocated >= TURNOVER_MIN.saturating_mul(kept)
}

/// Bytes per step by which a holder grows, if it grows in nearly every step and has not stopped.
fn steady(net: &[i64], held: Bytes, is_cut: bool) -> Option<Bytes> {
    let sum = |net: &[i64]| net.iter().fold(0_i64, |sum, &by| sum.saturating_add(by));
    let total = sum(net);
    let per_step = Bytes::new(u64::try_from(total).ok()? / (net.len().max(1) as u64));
    let grew = net.iter().filter(|&&by| by > 0).count();
    let later = sum(&net[net.len() / 2..]);
    if per_step.is_zero() || later.saturating_mul(3) < total {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a part of a few thousand steps")]
    let mostly = grew as f64 >= GROWING_PART * net.len() as f64;
    let long = net.len() >= STEPS_MIN;
    // Too few steps to see it grow; but it holds as much as many steps add.
    let steps_held = held.get() / per_step.get();
    let piled_up = is_cut && (PILED_UP..=PILED_UP_MAX).contains(&steps_held);
    (mostly && (long || piled_up)).then_some(per_step)
}

fn change(event: &Event) -> i64 {
    let size = i64::try_from(event.size.get()).unwrap_or(i64::MAX);
    match event.action {
        Action::Alloc => size,
        Action::FreeCompleted => -size,
        _ => 0,
    }
}
