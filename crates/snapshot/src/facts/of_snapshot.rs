//! The facts that a snapshot tells.

use freeboard_units::{Bytes, DeviceId};

use super::Facts;
use super::phase::phase;
use crate::growth;
use crate::history::{Action, Event};
use crate::holders::Grouping;
use crate::layout::Layout;
use crate::model::{Setting, Snapshot};
use crate::timeline::Timeline;

impl Facts {
    /// What a snapshot tells of one device: of its last failed request if there was one, else of the
    /// moment it was taken.
    #[must_use]
    pub fn of_snapshot(snapshot: &Snapshot, device: DeviceId) -> Self {
        let timeline = Timeline::new(snapshot, device);
        let events = timeline.events();
        let failure = (0..).zip(events).filter(|(_, event)| event.action == Action::Oom).last();
        let number = failure.map(|(number, _)| number);
        let layout = Layout::after(&timeline, number);
        let mut facts = Self { device: Some(device), says_all: true, ..Self::default() };
        if let Some(memory) = snapshot.devices.iter().find(|memory| memory.device == device) {
            (facts.total, facts.free, facts.limit) = (memory.total, memory.free, memory.limit);
        }
        let before = &events[..number.map_or(events.len(), |number| number as usize)];
        if let Some((_, event)) = failure {
            facts.requested = Some(event.size);
            facts.stream = Some(event.stream);
            facts.free = Some(Bytes::new(event.address));
            facts.late = Some(late(before));
            facts.phase = phase(before, event, &timeline);
        }
        facts.by_freeboard = !snapshot.devices.is_empty();
        facts.settings = settings(snapshot);
        facts.expandable = match snapshot.setting("expandable_segments") {
            Some(&Setting::Flag(on)) => Some(on),
            _ => None,
        };
        facts.count(&layout);
        let held = layout.used().filter(|used| !used.pending).map(|used| used.life);
        let held = held.map(|life| (life.tag, life.stack, life.size));
        facts.holders = Grouping::new(snapshot).group(held);
        facts.once_reserved = once_reserved(&layout, before);
        facts.assumes_failure = events.is_empty();
        facts.growth = growth::measure(&timeline, number);
        facts
    }

    /// Fills in what the blocks add up to.
    fn count(&mut self, layout: &Layout<'_>) {
        let stream = self.stream.unwrap_or_default();
        let [mut allocated, mut asked, mut pending] = [Bytes::ZERO; 3];
        for used in layout.used() {
            if used.pending {
                pending = pending.saturating_add(used.life.size);
            } else {
                allocated = allocated.saturating_add(used.life.size);
                asked = asked.saturating_add(used.life.requested);
            }
        }
        let [mut own, mut largest, mut streams, mut private] = [Bytes::ZERO; 4];
        for gap in layout.gaps() {
            if gap.pool.is_private() {
                private = private.saturating_add(gap.size);
            } else if gap.stream == stream {
                own = own.saturating_add(gap.size);
                largest = largest.max(gap.size);
            } else {
                streams = streams.saturating_add(gap.size);
            }
        }
        let in_pools = layout.held().filter(|(_, held)| held.pool.is_private());
        self.private = Some(in_pools.map(|(_, held)| held.size).sum());
        self.reserved = Some(layout.reserved());
        (self.allocated, self.asked, self.pending) = (Some(allocated), Some(asked), Some(pending));
        (self.free_own, self.largest_own) = (Some(own), Some(largest));
        (self.free_other_streams, self.free_private) = (Some(streams), Some(private));
    }
}

/// Bytes that became free right before a request failed, and were given back before that: an owner's
/// own free is followed by its completion at once.
fn late(before: &[Event]) -> Bytes {
    let tail = before.iter().rev().take_while(|event| {
        matches!(event.action, Action::FreeCompleted | Action::SegmentFree | Action::SegmentUnmap)
    });
    let tail = before.len() - tail.count();
    let own = usize::from(tail > 0 && before[tail - 1].action == Action::FreeRequested);
    let completed = before[tail..].iter().filter(|event| event.action == Action::FreeCompleted);
    completed.skip(own).map(|event| event.size).sum()
}

/// The most bytes held at any time in the history, found backwards from the end.
fn once_reserved(end: &Layout<'_>, events: &[Event]) -> Option<Bytes> {
    let mut held = end.reserved();
    let mut most = held;
    for event in events.iter().rev() {
        match event.action {
            Action::SegmentAlloc | Action::SegmentMap => held = held.saturating_sub(event.size),
            Action::SegmentFree | Action::SegmentUnmap => held = held.saturating_add(event.size),
            _ => {}
        }
        most = most.max(held);
    }
    (!events.is_empty()).then_some(most)
}

fn settings(snapshot: &Snapshot) -> Option<String> {
    let names = ["PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"];
    names.iter().find_map(|name| match snapshot.setting(name)? {
        Setting::Text(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    })
}
