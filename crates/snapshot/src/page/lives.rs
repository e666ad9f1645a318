//! [`Lives`]: every block from birth to death, also those whose birth or death is not recorded.

use freeboard_units::StreamId;
use rustc_hash::FxHashMap;

use super::clock::{Clock, Moment};
use crate::{Action, Block, BlockState, Event, NameId, PoolId, Segment, StackId};

/// Blocks are multiples of this; a history has sizes as they were asked for.
const ROUNDED_TO: u64 = 512;

/// A block's life. Moment 0 is before the history, `None` is not within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) birth: Moment,
    /// When its owner gave it back.
    pub(super) request: Option<Moment>,
    /// When it became free.
    pub(super) death: Option<Moment>,
    pub(super) address: u64,
    pub(super) size: u64,
    pub(super) requested: u64,
    pub(super) stack: StackId,
    pub(super) tag: NameId,
    pub(super) stream: StreamId,
    pub(super) pool: PoolId,
}

impl Life {
    /// The block of an event, which is not born yet.
    fn of(event: &Event, pool: PoolId) -> Self {
        let requested = event.size.get();
        Self {
            birth: 0,
            request: None,
            death: None,
            address: event.address,
            size: requested.max(1).checked_next_multiple_of(ROUNDED_TO).unwrap_or(requested),
            requested,
            stack: StackId::default(),
            tag: NameId::default(),
            stream: event.stream,
            pool,
        }
    }
}

/// The lives of one device's blocks, found in one pass.
///
/// A block that is freed without having been allocated was there before the history began; so was
/// one that the snapshot holds and no event speaks of. That is what walking backwards from the
/// snapshot finds, too.
#[derive(Debug, Default)]
pub(super) struct Lives {
    all: Vec<Life>,
    open: FxHashMap<u64, usize>,
}

impl Lives {
    /// Takes in the next event, if it is about a block.
    pub(super) fn see(&mut self, event: &Event, pool: PoolId, clock: &mut Clock) {
        match event.action {
            Action::Alloc => {
                if let Some(old) = self.open.remove(&event.address) {
                    self.all[old].death = Some(clock.tick(event.time_us));
                }
                let birth = clock.tick(event.time_us);
                let (stack, tag) = (event.stack, event.tag);
                let life = Life { birth, stack, tag, ..Life::of(event, pool) };
                self.open.insert(event.address, self.all.len());
                self.all.push(life);
            }
            Action::FreeRequested => {
                let now = clock.tick(event.time_us);
                let life = self.find(event, pool);
                self.all[life].request.get_or_insert(now);
            }
            Action::FreeCompleted => {
                let now = clock.tick(event.time_us);
                let known = self.open.contains_key(&event.address);
                let life = self.find(event, pool);
                self.open.remove(&event.address);
                self.all[life].death = Some(now);
                if !known {
                    self.all[life].request = Some(0);
                }
            }
            _ => {}
        }
    }

    /// The block that an event frees.
    fn find(&mut self, event: &Event, pool: PoolId) -> usize {
        *self.open.entry(event.address).or_insert_with(|| {
            self.all.push(Life::of(event, pool));
            self.all.len() - 1
        })
    }

    /// Takes in what there was in the end, and gives the lives in order of birth.
    pub(super) fn finish(mut self, segments: &[&Segment], clock: &mut Clock) -> Vec<Life> {
        for segment in segments {
            for block in segment.blocks.iter().filter(|block| block.state != BlockState::Free) {
                self.settle(segment, block, clock);
            }
        }
        if !segments.is_empty() {
            // Their end was not recorded, but they did not live to see the snapshot.
            let mut lost: Vec<usize> = self.open.into_values().collect();
            lost.sort_unstable();
            for life in lost {
                self.all[life].death = Some(clock.tick_again());
            }
        }
        self.all.sort_by_key(|life| life.birth);
        self.all
    }

    /// A block that was there in the end: its exact size is known.
    fn settle(&mut self, segment: &Segment, block: &Block, clock: &mut Clock) {
        let known = self.open.remove(&block.address.get());
        let at = known.unwrap_or_else(|| {
            self.all.push(Life {
                birth: 0,
                request: None,
                death: None,
                address: block.address.get(),
                size: 0,
                requested: 0,
                stack: StackId::default(),
                tag: NameId::default(),
                stream: segment.stream,
                pool: segment.pool,
            });
            self.all.len() - 1
        });
        let life = &mut self.all[at];
        (life.size, life.requested) = (block.size.get(), block.requested.get());
        if life.stack.is_zero() {
            life.stack = block.stack;
        }
        if life.tag.is_zero() {
            life.tag = block.tag;
        }
        if block.state == BlockState::Pending && life.request.is_none() {
            let begun_before = life.birth == 0;
            life.request = Some(if begun_before { 0 } else { clock.tick_again() });
        }
    }
}
