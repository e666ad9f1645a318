//! [`Moment`]: what memory looked like right after an event, found by undoing what came later.

use std::collections::BTreeMap;

use freeboard_units::{Bytes, DeviceId, StreamId};

use crate::history::{Action, Event};
use crate::model::{BlockState, Segment, Snapshot};
use crate::names::{NameId, PoolId, StackId};

/// Blocks are multiples of this.
const BLOCK: Bytes = Bytes::new(512);

/// Memory of one device at one moment: what is held, and what is in use of it.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    held: BTreeMap<u64, Held>,
    used: BTreeMap<u64, Used>,
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
pub struct Used {
    /// How long it is.
    pub size: Bytes,
    /// What was asked for.
    pub requested: Bytes,
    /// Whether it was given back, and other streams may still use it.
    pub pending: bool,
    /// The stack of the call that asked for it.
    pub stack: StackId,
    /// The scope it was asked for in.
    pub tag: NameId,
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

impl Moment {
    /// When the snapshot was taken.
    #[must_use]
    pub fn last(snapshot: &Snapshot, device: DeviceId) -> Self {
        let mut moment = Self::default();
        for segment in snapshot.segments_of(device) {
            moment.add(segment);
        }
        moment
    }

    /// Right after the event with this index in the device's history.
    #[must_use]
    pub fn after(snapshot: &Snapshot, device: DeviceId, event: usize) -> Self {
        let mut moment = Self::last(snapshot, device);
        let Some(history) = snapshot.histories.get(device.get() as usize) else { return moment };
        for event in history.events.iter().skip(event.saturating_add(1)).rev() {
            moment.undo(snapshot, event);
        }
        moment
    }

    fn add(&mut self, segment: &Segment) {
        let &Segment { size, stream, pool, expandable, .. } = segment;
        self.held.insert(segment.address.get(), Held { size, stream, pool, expandable });
        for block in segment.blocks.iter().filter(|block| block.state != BlockState::Free) {
            let used = Used {
                size: block.size,
                requested: block.requested,
                pending: block.state == BlockState::Pending,
                stack: block.stack,
                tag: block.tag,
            };
            self.used.insert(block.address.get(), used);
        }
    }

    fn undo(&mut self, snapshot: &Snapshot, event: &Event) {
        let &Event { address, size, stream, stack, tag, .. } = event;
        match event.action {
            Action::Alloc => drop(self.used.remove(&address)),
            Action::FreeCompleted => {
                let block = size.checked_align_up(BLOCK).unwrap_or(size);
                let used = Used { size: block, requested: size, pending: true, stack, tag };
                self.used.insert(address, used);
            }
            Action::FreeRequested => {
                if let Some(used) = self.used.get_mut(&address) {
                    used.pending = false;
                }
            }
            Action::SegmentAlloc => drop(self.held.remove(&address)),
            Action::SegmentFree => {
                let pool = snapshot.pool(event.pool);
                self.held.insert(address, Held { size, stream, pool, expandable: false });
            }
            Action::SegmentMap => self.unmap(address, size),
            Action::SegmentUnmap => {
                let pool = snapshot.pool(event.pool);
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
    pub fn used(&self) -> impl Iterator<Item = (u64, &Used)> {
        self.used.iter().map(|(&address, used)| (address, used))
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
        for (&start, held) in &self.held {
            let end = start.saturating_add(held.size.get());
            let mut free_from = start;
            let mut gap = |from: u64, to: u64| {
                let size = Bytes::new(to - from);
                if let Some(last) = gaps.last_mut()
                    && held.expandable
                    && last.address.saturating_add(last.size.get()) == from
                    && (last.stream, last.pool) == (held.stream, held.pool)
                {
                    last.size += size;
                } else {
                    gaps.push(Gap { address: from, size, stream: held.stream, pool: held.pool });
                }
            };
            for (&address, used) in self.used.range(start..end) {
                if address > free_from {
                    gap(free_from, address);
                }
                free_from = free_from.max(address.saturating_add(used.size.get())).min(end);
            }
            if end > free_from {
                gap(free_from, end);
            }
        }
        gaps
    }
}
