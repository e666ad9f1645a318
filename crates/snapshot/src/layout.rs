//! [`Layout`]: where everything lay right after an event.

use std::collections::BTreeMap;

use freeboard_units::{Bytes, StreamId};

use crate::history::{Action, Event};
use crate::model::Snapshot;
use crate::names::PoolId;
use crate::timeline::{Life, Timeline};

/// Memory of one device at one moment: what is held, and what is in use of it.
///
/// What is held is found by undoing what came later to the segments of the snapshot.
#[derive(Clone, Debug)]
pub struct Layout<'t> {
    held: BTreeMap<u64, Held>,
    used: BTreeMap<u64, Used<'t>>,
}

/// Memory held from the device.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// How much.
    pub size: Bytes,
    /// The stream its blocks belong to.
    pub stream: StreamId,
    /// The pool.
    pub pool: PoolId,
    /// Whether it is a stretch of an expandable segment.
    pub expandable: bool,
}

/// A block that is not free.
#[derive(Clone, Copy, Debug)]
pub struct Used<'t> {
    /// The block.
    pub life: &'t Life,
    /// Whether it was given back, and other streams may still use it.
    pub pending: bool,
}

/// A free stretch between used blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where it begins.
    pub address: u64,
    /// How long it is.
    pub size: Bytes,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// The pool it belongs to.
    pub pool: PoolId,
}

impl<'t> Layout<'t> {
    /// Right after the event with this number; `None` for the moment of the snapshot.
    #[must_use]
    pub fn after(timeline: &'t Timeline<'_>, event: Option<u32>) -> Self {
        let snapshot = timeline.snapshot();
        let last = u32::try_from(timeline.events().len()).unwrap_or(u32::MAX).checked_sub(1);
        let event = event.or(last);
        let mut held = BTreeMap::new();
        for segment in snapshot.segments_of(timeline.device()) {
            let &crate::Segment { size, stream, pool, expandable, .. } = segment;
            held.insert(segment.address.get(), Held { size, stream, pool, expandable });
        }
        let used = timeline
            .live_after(event)
            .map(|life| (life.address, Used { life, pending: life.is_pending_after(event) }));
        let mut layout = Self { held, used: used.collect() };
        let later = event.map_or(0, |event| event as usize + 1);
        for event in timeline.events().iter().skip(later).rev() {
            layout.undo(snapshot, event);
        }
        layout
    }

    fn undo(&mut self, snapshot: &Snapshot, event: &Event) {
        let &Event { address, size, stream, .. } = event;
        let pool = snapshot.pool(event.pool);
        match event.action {
            Action::SegmentAlloc => drop(self.held.remove(&address)),
            Action::SegmentFree => {
                self.held.insert(address, Held { size, stream, pool, expandable: false });
            }
            Action::SegmentMap => self.unmap(address, size),
            Action::SegmentUnmap => {
                self.held.insert(address, Held { size, stream, pool, expandable: true });
            }
            _ => {}
        }
    }

    /// Takes a range out of the stretch that covers it.
    fn unmap(&mut self, start: u64, size: Bytes) {
        let Some((&first, &held)) = self.held.range(..=start).next_back() else { return };
        let (end, held_end) =
            (start.saturating_add(size.get()), first.saturating_add(held.size.get()));
        if start >= held_end {
            return;
        }
        self.held.remove(&first);
        if first < start {
            self.held.insert(first, Held { size: Bytes::new(start - first), ..held });
        }
        if end < held_end {
            self.held.insert(end, Held { size: Bytes::new(held_end - end), ..held });
        }
    }

    /// What is held, in address order.
    pub fn held(&self) -> impl Iterator<Item = (u64, &Held)> {
        self.held.iter().map(|(&address, held)| (address, held))
    }

    /// The blocks that are not free, in address order.
    pub fn used(&self) -> impl Iterator<Item = &Used<'t>> {
        self.used.values()
    }

    /// Bytes held from the device.
    #[must_use]
    pub fn reserved(&self) -> Bytes {
        self.held.values().map(|held| held.size).sum()
    }

    /// The free stretches of what is held, in address order. Stretches of expandable segments that
    /// touch count as one.
    #[must_use]
    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps: Vec<Gap> = Vec::new();
        let mut held = self.held.iter().peekable();
        while let Some((&start, here)) = held.next() {
            // Files may say that they overlap; each byte counts once.
            let next = held.peek().map_or(u64::MAX, |(next, _)| **next);
            let end = start.saturating_add(here.size.get()).min(next);
            let mut free_from = start;
            let mut gap = |from: u64, to: u64| {
                let size = Bytes::new(to - from);
                if let Some(last) = gaps.last_mut()
                    && here.expandable
                    && last.address.saturating_add(last.size.get()) == from
                    && (last.stream, last.pool) == (here.stream, here.pool)
                {
                    last.size = last.size.saturating_add(size);
                } else {
                    gaps.push(Gap { address: from, size, stream: here.stream, pool: here.pool });
                }
            };
            for (&address, used) in self.used.range(start..end) {
                if address > free_from {
                    gap(free_from, address);
                }
                let used_end = address.saturating_add(used.life.size.get());
                free_from = free_from.max(used_end).min(end);
            }
            if end > free_from {
                gap(free_from, end);
            }
        }
        gaps
    }
}
