//! [`Timeline`]: a history walked together with the segments it led to.
//!
//! A history is a ring: what happened first may be lost. The segments say how it ended. Both
//! together tell every block's [`Life`], also of blocks that were there before the first event
//! (they are in the segments, or are freed without having been allocated), and what was live, held
//! and pending after each event.
//!
//! ```
//! use freeboard_snapshot::{Snapshot, timeline::Timeline};
//! use freeboard_units::DeviceId;
//!
//! let snapshot = Snapshot::default(); // or one from a file
//! let timeline = Timeline::new(&snapshot, DeviceId::new(0));
//! let peak = timeline.peak_active();
//! let held: Vec<_> = timeline.live_after(peak.event).map(|life| life.size).collect();
//! assert_eq!((peak.totals.active().get(), held.len()), (0, 0));
//! ```

use freeboard_units::{Bytes, DeviceId, StreamId};

use crate::history::{Action, Event, History};
use crate::model::{Segment, Snapshot};
use crate::names::{NameId, PoolId, StackId};

mod build;
mod steps;

pub use steps::{Mark, Step};

/// One block, from the event that handed it out to the event that made it free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Where it began.
    pub address: u64,
    /// What was asked for.
    pub requested: Bytes,
    /// Bytes of the block: exact if it is still there, else what was asked for in whole units of
    /// 512 bytes, since a history does not tell more.
    pub size: Bytes,
    /// Its stream.
    pub stream: StreamId,
    /// Its pool.
    pub pool: PoolId,
    /// The stack that asked for it; of a block that is older than the history and gone, the stack
    /// of the free.
    pub stack: StackId,
    /// Its tag.
    pub tag: NameId,
    /// The event that handed it out; `None` before the history began.
    pub born: Option<u32>,
    /// The event in which its owner gave it back; `None` where that is not told.
    pub freed: Option<u32>,
    /// The event after which it was free; `None` if it is still there.
    pub ended: Option<u32>,
    /// Given back by its owner, but not in this history: pending for as long as is known.
    pub always_pending: bool,
}

impl Life {
    /// Whether its bytes are in use, by its owner or by other streams, right after an event
    /// (`None`: before the first).
    #[must_use]
    pub fn is_active_after(&self, event: Option<u32>) -> bool {
        self.born <= event && self.ended.is_none_or(|end| event < Some(end))
    }

    /// Whether its owner has given it back and other streams still use it, right after an event.
    #[must_use]
    pub fn is_pending_after(&self, event: Option<u32>) -> bool {
        let is_given_back = self.always_pending || self.freed.is_some_and(|at| Some(at) <= event);
        is_given_back && self.is_active_after(event)
    }
}

/// How much memory there was of each kind at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes held from the device.
    pub reserved: Bytes,
    /// Bytes in blocks handed out; see [`Life::size`] for how exact.
    pub allocated: Bytes,
    /// Bytes given back that other streams still used.
    pub pending: Bytes,
    /// Bytes asked for in blocks handed out or pending: exact.
    pub requested: Bytes,
}

impl Totals {
    /// Bytes in blocks handed out or pending.
    #[must_use]
    pub fn active(&self) -> Bytes {
        self.allocated.saturating_add(self.pending)
    }
}

/// A moment of the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The event right before it; `None` before the first.
    pub event: Option<u32>,
    /// What there was then.
    pub totals: Totals,
}

/// A history walked together with the segments it led to.
#[derive(Clone, Debug)]
pub struct Timeline<'a> {
    snapshot: &'a Snapshot,
    device: DeviceId,
    events: &'a [Event],
    lives: Vec<Life>,
    /// The life each event is about; `NO_LIFE` for none.
    life_of: Vec<u32>,
    /// Ends that no event tells: the event after which the block cannot have been there, and it.
    untold: Vec<(u32, u32)>,
    before: Totals,
    peak_active: Moment,
    peak_reserved: Moment,
    end: Moment,
}

const NO_LIFE: u32 = u32::MAX;

impl<'a> Timeline<'a> {
    /// Walks the history of a device.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot, device: DeviceId) -> Self {
        let history = usize::try_from(device.get()).ok().and_then(|at| snapshot.histories.get(at));
        let segments: Vec<&Segment> = snapshot.segments_of(device).collect();
        Self::of(snapshot, device, history, &segments)
    }

    /// Walks any history of a snapshot, given the segments it led to.
    pub(crate) fn of(
        snapshot: &'a Snapshot,
        device: DeviceId,
        history: Option<&'a History>,
        segments: &[&Segment],
    ) -> Self {
        let events = history.map_or(&[][..], |history| &history.events);
        build::timeline(snapshot, device, events, segments)
    }

    /// The snapshot it was made of.
    #[must_use]
    pub fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// The events, oldest first.
    #[must_use]
    pub fn events(&self) -> &'a [Event] {
        self.events
    }

    /// Every block there was, in the order in which the history first speaks of it; those it never
    /// speaks of come last.
    #[must_use]
    pub fn lives(&self) -> &[Life] {
        &self.lives
    }

    /// The block that an event is about.
    #[must_use]
    pub fn life_of(&self, event: u32) -> Option<&Life> {
        let life = *self.life_of.get(event as usize)?;
        self.lives.get(life as usize)
    }

    /// How many frees the history does not tell: an address was handed out again, or is not in
    /// use at the end. Not zero where the recording left events out.
    #[must_use]
    pub fn untold_frees(&self) -> usize {
        self.untold.len()
    }

    /// The frees that the history does not tell: the event after which the block cannot have been
    /// there, and the number of its life; in order of events.
    pub(crate) fn untold(&self) -> &[(u32, u32)] {
        &self.untold
    }

    /// What there was before the first event.
    #[must_use]
    pub fn before(&self) -> Moment {
        Moment { event: None, totals: self.before }
    }

    /// What there was after each event, in order.
    pub fn moments(&self) -> impl Iterator<Item = Moment> + '_ {
        let mut untold = self.untold.iter().peekable();
        let mut totals = self.before;
        (0..).zip(self.events).map(move |(number, event)| {
            self.apply(&mut totals, number, event);
            while let Some((_, life)) = untold.next_if(|(at, _)| *at == number) {
                self.end_life(&mut totals, *life, number);
            }
            Moment { event: Some(number), totals }
        })
    }

    /// What there was at the end.
    #[must_use]
    pub fn end(&self) -> Moment {
        self.end
    }

    /// When most was in use, by owners or by other streams; the first such moment.
    #[must_use]
    pub fn peak_active(&self) -> Moment {
        self.peak_active
    }

    /// When most was held from the device; the first such moment.
    #[must_use]
    pub fn peak_reserved(&self) -> Moment {
        self.peak_reserved
    }

    /// The blocks in use right after an event (`None`: before the first), by owners or by other
    /// streams.
    pub fn live_after(&self, event: Option<u32>) -> impl Iterator<Item = &Life> {
        self.lives.iter().filter(move |life| life.is_active_after(event))
    }

    /// The time of an event, in microseconds since 1970.
    #[must_use]
    pub fn time_us(&self, event: u32) -> Option<i64> {
        self.events.get(event as usize).map(|event| event.time_us)
    }

    fn apply(&self, totals: &mut Totals, number: u32, event: &Event) {
        match event.action {
            Action::SegmentAlloc | Action::SegmentMap => {
                totals.reserved = totals.reserved.saturating_add(event.size);
            }
            Action::SegmentFree | Action::SegmentUnmap => {
                totals.reserved = totals.reserved.saturating_sub(event.size);
            }
            _ => {}
        }
        let Some(life) = self.life_of(number) else { return };
        let (size, requested) = (life.size, life.requested);
        match event.action {
            Action::Alloc if life.always_pending => {
                totals.pending = totals.pending.saturating_add(size);
                totals.requested = totals.requested.saturating_add(requested);
            }
            Action::Alloc => {
                totals.allocated = totals.allocated.saturating_add(size);
                totals.requested = totals.requested.saturating_add(requested);
            }
            Action::FreeRequested if life.freed == Some(number) => {
                totals.allocated = totals.allocated.saturating_sub(size);
                totals.pending = totals.pending.saturating_add(size);
            }
            Action::FreeCompleted => self.end_life(totals, self.life_of[number as usize], number),
            _ => {}
        }
    }

    fn end_life(&self, totals: &mut Totals, life: u32, number: u32) {
        let life = &self.lives[life as usize];
        let is_pending = life.always_pending || life.freed.is_some_and(|at| at <= number);
        let part = if is_pending { &mut totals.pending } else { &mut totals.allocated };
        *part = part.saturating_sub(life.size);
        totals.requested = totals.requested.saturating_sub(life.requested);
    }
}

#[cfg(test)]
mod tests;
