//! `PyTorch`'s counters, as far as a snapshot tells them.

use freeboard_units::Bytes;

use super::pytorch::{Counter, PoolCounters, PytorchStats};
use crate::facts::SMALL_SEGMENT;
use crate::history::{Action, Event};
use crate::model::{BlockState, Segment};
use crate::timeline::{Life, Timeline};

/// Requests up to this are small.
const SMALL: Bytes = Bytes::mib(1);

impl Counter {
    fn change(&mut self, amount: i64) {
        self.current = self.current.saturating_add(amount);
        self.peak = self.peak.max(self.current);
        let sum = if amount > 0 { &mut self.allocated } else { &mut self.freed };
        *sum = sum.saturating_add(amount.saturating_abs());
    }

    /// Sets what is exactly known at the end.
    fn end_at(&mut self, current: i64) {
        self.current = current;
        self.peak = self.peak.max(current);
        self.freed = self.allocated.saturating_sub(current).max(0);
        self.allocated = self.freed.saturating_add(current);
    }
}

impl PoolCounters {
    fn change(&mut self, is_small: bool, amount: i64) {
        self.all.change(amount);
        if is_small { self.small_pool.change(amount) } else { self.large_pool.change(amount) }
    }

    fn end_at(&mut self, [small, large]: [i64; 2]) {
        self.all.end_at(small.saturating_add(large));
        self.small_pool.end_at(small);
        self.large_pool.end_at(large);
    }
}

impl PytorchStats {
    /// What a snapshot tells of the counters.
    ///
    /// Values of now are exact, but for oversize blocks and retries, which a snapshot does not
    /// tell: they are zero. Peaks and sums are those of the history, with what was there before it
    /// counted as allocated at its beginning; those of memory that cannot be released are what is
    /// there now.
    #[must_use]
    pub fn of_timeline(timeline: &Timeline<'_>) -> Self {
        let mut stats = Self::default();
        for life in timeline.lives().iter().filter(|life| life.born.is_none()) {
            stats.handed_out(life);
            if life.always_pending {
                stats.given_back(life);
            }
        }
        let segments = || timeline.snapshot().segments_of(timeline.device());
        let held = by_pool(segments(), |segment| segment.size.as_i64());
        let fixed = by_pool(segments(), |segment| i64::from(!segment.expandable));
        for (index, is_small) in [true, false].into_iter().enumerate() {
            let [bytes, count] = taken(timeline.events(), is_small);
            stats.reserved_bytes.change(is_small, held[index].saturating_sub(bytes).max(0));
            stats.segment.change(is_small, fixed[index].saturating_sub(count).max(0));
        }
        for (number, event) in (0..).zip(timeline.events()) {
            stats.take(event, timeline.life_of(number), number);
        }
        stats.reserved_bytes.end_at(held);
        stats.segment.end_at(fixed);
        stats.end_at_blocks(|of| by_pool(segments(), of));
        stats
    }

    fn handed_out(&mut self, life: &Life) {
        let is_small = life.requested <= SMALL;
        self.allocated_bytes.change(is_small, life.size.as_i64());
        self.active_bytes.change(is_small, life.size.as_i64());
        self.requested_bytes.change(is_small, life.requested.as_i64());
        self.allocation.change(is_small, 1);
        self.active.change(is_small, 1);
    }

    fn given_back(&mut self, life: &Life) {
        self.allocated_bytes.change(life.requested <= SMALL, -life.size.as_i64());
        self.allocation.change(life.requested <= SMALL, -1);
    }

    fn take(&mut self, event: &Event, life: Option<&Life>, number: u32) {
        let amount = event.size.as_i64();
        let is_small = event.size <= SMALL_SEGMENT;
        match (event.action, life) {
            (Action::Alloc, Some(life)) => self.handed_out(life),
            (Action::FreeRequested, Some(life)) if life.freed == Some(number) => {
                self.given_back(life);
            }
            (Action::FreeCompleted, Some(life)) => {
                if life.freed.is_none() && !life.always_pending {
                    self.given_back(life);
                }
                let is_small = life.requested <= SMALL;
                self.active_bytes.change(is_small, -life.size.as_i64());
                self.requested_bytes.change(is_small, -life.requested.as_i64());
                self.active.change(is_small, -1);
            }
            (Action::SegmentAlloc, _) => {
                self.reserved_bytes.change(is_small, amount);
                self.segment.change(is_small, 1);
            }
            (Action::SegmentFree, _) => {
                self.reserved_bytes.change(is_small, -amount);
                self.segment.change(is_small, -1);
            }
            (Action::SegmentMap, _) => self.reserved_bytes.change(is_small, amount),
            (Action::SegmentUnmap, _) => self.reserved_bytes.change(is_small, -amount),
            (Action::Oom, _) => self.num_ooms += 1,
            _ => {}
        }
    }

    fn end_at_blocks(&mut self, sums: impl Fn(fn(&Segment) -> i64) -> [i64; 2]) {
        self.allocated_bytes.end_at(sums(|segment| segment.allocated().as_i64()));
        self.active_bytes.end_at(sums(|segment| segment.active().as_i64()));
        self.requested_bytes.end_at(sums(|segment| segment.requested().as_i64()));
        self.allocation.end_at(sums(|segment| count(segment, BlockState::Allocated)));
        self.active.end_at(sums(|segment| {
            count(segment, BlockState::Allocated) + count(segment, BlockState::Pending)
        }));
        let split = |of: fn(&Segment) -> i64| sums(of);
        self.inactive_split_bytes.end_at(split(|segment| {
            if is_split(segment) { segment.bytes_in(BlockState::Free).as_i64() } else { 0 }
        }));
        self.inactive_split.end_at(split(|segment| {
            if is_split(segment) { count(segment, BlockState::Free) } else { 0 }
        }));
    }
}

/// Bytes and number of segments that the history takes from the device, less what it gives back.
fn taken(events: &[Event], is_small: bool) -> [i64; 2] {
    let of_kind = events.iter().filter(|event| (event.size <= SMALL_SEGMENT) == is_small);
    of_kind.fold([0, 0], |[bytes, count]: [i64; 2], event| {
        let size = event.size.as_i64();
        match event.action {
            Action::SegmentAlloc => [bytes.saturating_add(size), count + 1],
            Action::SegmentFree => [bytes.saturating_sub(size), count - 1],
            Action::SegmentMap => [bytes.saturating_add(size), count],
            Action::SegmentUnmap => [bytes.saturating_sub(size), count],
            _ => [bytes, count],
        }
    })
}

fn by_pool<'a>(
    segments: impl Iterator<Item = &'a Segment>,
    of: impl Fn(&Segment) -> i64,
) -> [i64; 2] {
    segments.fold([0, 0], |[small, large]: [i64; 2], segment| {
        if segment.small {
            [small.saturating_add(of(segment)), large]
        } else {
            [small, large.saturating_add(of(segment))]
        }
    })
}

fn count(segment: &Segment, state: BlockState) -> i64 {
    let blocks = segment.blocks.iter().filter(|block| block.state == state).count();
    i64::try_from(blocks).unwrap_or(i64::MAX)
}

/// Whether it is cut into blocks, so that what is free cannot be given back.
fn is_split(segment: &Segment) -> bool {
    !segment.expandable && segment.blocks.len() > 1
}
