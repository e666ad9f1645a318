//! Finding every block's life: forward through the events, then against the segments.

use std::collections::HashMap;

use freeboard_units::{Bytes, DeviceId};

use super::{Life, Moment, NO_LIFE, Timeline, Totals};
use crate::history::{Action, Event};
use crate::model::{Block, BlockState, Segment, Snapshot};
use crate::names::NameId;

/// What a block of the history is known to take, at the least: `PyTorch` rounds up to this.
const UNIT: Bytes = Bytes::new(512);

struct Builder<'a> {
    snapshot: &'a Snapshot,
    lives: Vec<Life>,
    life_of: Vec<u32>,
    untold: Vec<(u32, u32)>,
    /// The blocks in use, by address; hashed with a key, as addresses come from strangers.
    alive: HashMap<u64, u32>,
}

pub(super) fn timeline<'a>(
    snapshot: &'a Snapshot,
    device: DeviceId,
    events: &'a [Event],
    segments: &[&Segment],
) -> Timeline<'a> {
    // Numbers of events are 32 bits wide; a longer history, some 250 GB, is cut at the front.
    let events = &events[events.len().saturating_sub(NO_LIFE as usize)..];
    let mut builder = Builder {
        snapshot,
        lives: Vec::new(),
        life_of: Vec::with_capacity(events.len()),
        untold: Vec::new(),
        alive: HashMap::new(),
    };
    for (number, event) in (0..).zip(events) {
        let life = builder.event(number, event);
        builder.life_of.push(life);
    }
    let has_segments = !segments.is_empty();
    for segment in segments {
        for block in segment.blocks.iter().filter(|block| block.state != BlockState::Free) {
            builder.survivor(segment, block);
        }
    }
    if let (true, Some(last)) = (has_segments, builder.life_of.len().checked_sub(1)) {
        builder.lose_the_rest(u32::try_from(last).unwrap_or(NO_LIFE - 1));
    }
    let held = segments.iter().map(|segment| segment.size).fold(Bytes::ZERO, Bytes::saturating_add);
    let Builder { lives, life_of, untold, .. } = builder;
    let before = before(&lives, held_before(events, has_segments.then_some(held)));
    let start = Moment { event: None, totals: before };
    let (peak_active, peak_reserved, end) = (start, start, start);
    let mut timeline = Timeline {
        snapshot,
        device,
        events,
        lives,
        life_of,
        untold,
        before,
        peak_active,
        peak_reserved,
        end,
    };
    set_peaks(&mut timeline);
    timeline
}

impl Builder<'_> {
    /// Takes one event in; the life it is about.
    fn event(&mut self, number: u32, event: &Event) -> u32 {
        match event.action {
            Action::Alloc => {
                let life = self.push(event, Some(number));
                if let Some(lost) = self.alive.insert(event.address, life) {
                    self.lives[lost as usize].ended = Some(number);
                    self.untold.push((number, lost));
                }
                life
            }
            Action::FreeRequested => {
                let life = self.alive.get(&event.address).copied();
                let life = life.unwrap_or_else(|| {
                    let life = self.push(event, None);
                    self.alive.insert(event.address, life);
                    life
                });
                self.lives[life as usize].freed.get_or_insert(number);
                life
            }
            Action::FreeCompleted => {
                let life = self.alive.remove(&event.address);
                let life = life.unwrap_or_else(|| {
                    let life = self.push(event, None);
                    // The free was asked for before the history began, or that was not recorded.
                    self.lives[life as usize].always_pending = true;
                    life
                });
                self.lives[life as usize].ended = Some(number);
                life
            }
            _ => NO_LIFE,
        }
    }

    fn push(&mut self, event: &Event, born: Option<u32>) -> u32 {
        self.push_life(Life {
            address: event.address,
            requested: event.size,
            size: event.size.checked_align_up(UNIT).unwrap_or(event.size),
            stream: event.stream,
            pool: self.snapshot.pool(event.pool),
            stack: event.stack,
            tag: event.tag,
            born,
            freed: None,
            ended: None,
            always_pending: false,
        })
    }

    fn push_life(&mut self, life: Life) -> u32 {
        let number = u32::try_from(self.lives.len()).unwrap_or(NO_LIFE);
        self.lives.push(life);
        number
    }

    /// A block that is in use at the end.
    fn survivor(&mut self, segment: &Segment, block: &Block) {
        let is_pending = block.state == BlockState::Pending;
        let Some(number) = self.alive.remove(&block.address.get()) else {
            self.push_life(Life {
                address: block.address.get(),
                requested: block.requested,
                size: block.size,
                stream: segment.stream,
                pool: segment.pool,
                stack: block.stack,
                tag: block.tag,
                born: None,
                freed: None,
                ended: None,
                always_pending: is_pending,
            });
            return;
        };
        let life = &mut self.lives[number as usize];
        (life.size, life.requested) = (block.size, block.requested);
        if life.born.is_none() {
            // Known from its free, whose stack may be another.
            (life.stack, life.pool) = (block.stack, segment.pool);
        }
        if life.tag == NameId::default() {
            life.tag = block.tag;
        }
        life.always_pending = is_pending && life.freed.is_none();
        if !is_pending {
            life.freed = None;
        }
    }

    /// Blocks that should be in use at the end and are not.
    fn lose_the_rest(&mut self, last: u32) {
        let mut gone: Vec<u32> = self.alive.values().copied().collect();
        gone.sort_unstable();
        for life in gone {
            self.lives[life as usize].ended = Some(last);
            self.untold.push((last, life));
        }
    }
}

fn before(lives: &[Life], reserved: Bytes) -> Totals {
    let mut totals = Totals { reserved, ..Totals::default() };
    for life in lives.iter().filter(|life| life.born.is_none()) {
        let part = if life.always_pending { &mut totals.pending } else { &mut totals.allocated };
        *part = part.saturating_add(life.size);
        totals.requested = totals.requested.saturating_add(life.requested);
    }
    totals
}

/// Bytes held before the first event: what is held at the end, less what came since. Where the
/// end is not known, as little as makes sense.
fn held_before(events: &[Event], at_end: Option<Bytes>) -> Bytes {
    let (mut net, mut lowest) = (0_i128, 0_i128);
    for event in events {
        let size = i128::from(event.size.get());
        match event.action {
            Action::SegmentAlloc | Action::SegmentMap => net += size,
            Action::SegmentFree | Action::SegmentUnmap => net -= size,
            _ => {}
        }
        lowest = lowest.min(net);
    }
    let before = at_end.map_or(-lowest, |held| i128::from(held.get()) - net);
    Bytes::new(u64::try_from(before.max(0)).unwrap_or(u64::MAX))
}

fn set_peaks(timeline: &mut Timeline<'_>) {
    let start = timeline.before();
    let (mut active, mut reserved, mut end) = (start, start, start);
    for moment in timeline.moments() {
        if moment.totals.active() > active.totals.active() {
            active = moment;
        }
        if moment.totals.reserved > reserved.totals.reserved {
            reserved = moment;
        }
        end = moment;
    }
    (timeline.peak_active, timeline.peak_reserved, timeline.end) = (active, reserved, end);
}
