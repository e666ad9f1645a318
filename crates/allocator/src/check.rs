//! The invariant checker: walks every block, list and counter, and says what is wrong.

use std::collections::{BTreeMap, BTreeSet};

use freeboard_device::Device;
use freeboard_units::{Address, Bytes};

use crate::block::{Block, BlockId, BlockState, PLANNED, STITCHED};
use crate::expandable::ExpandableSegment;
use crate::state::State;
use crate::stats::Class;

/// The first broken invariant, in words.
pub(crate) type Broken = String;

macro_rules! ensure {
    ($condition:expr, $($words:tt)*) => {
        if !$condition {
            return Err(format!($($words)*));
        }
    };
}

pub(crate) use ensure;

impl<D: Device> State<D> {
    /// Checks every invariant listed at [`State`].
    pub(crate) fn check(&self) -> Result<(), Broken> {
        self.check_neighbours()?;
        self.check_segments()?;
        self.check_lists()?;
        self.check_pending()?;
        self.check_plan()?;
        self.check_counters()
    }

    /// Neighbours meet, know each other, and would not merge.
    fn check_neighbours(&self) -> Result<(), Broken> {
        let live: BTreeSet<BlockId> = self.blocks.iter().map(|(id, _)| id).collect();
        for (id, block) in self.blocks.iter() {
            ensure!(!block.size.is_zero(), "{id:?} is empty");
            ensure!(
                block.expandable != PLANNED || (block.prev.is_none() && block.next.is_none()),
                "{id:?} is a place of a plan and has neighbours"
            );
            if block.next.is_some() {
                ensure!(live.contains(&block.next), "{id:?} is followed by no block");
                let next = &self.blocks[block.next];
                ensure!(next.prev == id, "{id:?}: its next block does not know it");
                ensure!(block.end() == next.address, "{id:?}: a gap or overlap behind it");
                ensure!(block.place + block.size.get() == next.place, "{id:?}: out of place");
                ensure!(
                    (block.pool, block.expandable) == (next.pool, next.expandable)
                        && (block.stream == next.stream || block.expandable == STITCHED),
                    "{id:?}: neighbours of different segments"
                );
                let both = |state| block.state == state && next.state == state;
                ensure!(
                    !both(BlockState::Free) || block.stream != next.stream,
                    "{id:?}: two free neighbours"
                );
                ensure!(!both(BlockState::Unmapped), "{id:?}: two unmapped neighbours");
            }
            ensure!(block.prev.is_none() || live.contains(&block.prev), "{id:?}: no block before");
            ensure!(
                block.is_handed_out()
                    || block.state == BlockState::Pending
                    || block.requested.is_zero(),
                "{id:?} is free but asked for"
            );
            ensure!(block.requested <= block.size, "{id:?} is smaller than asked for");
        }
        Ok(())
    }

    /// Segments do not overlap; pages of expandable ones agree with their blocks.
    fn check_segments(&self) -> Result<(), Broken> {
        // The places of a plan lie in the plan's own block.
        let real = |(_, block): &(BlockId, &Block)| block.expandable != PLANNED;
        let mut ranges: Vec<(Address, Address)> = self
            .blocks
            .iter()
            .filter(real)
            .map(|(_, block)| (block.address, block.end()))
            .collect();
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            ensure!(pair[0].1 <= pair[1].0, "blocks overlap at {}", pair[1].0);
        }
        let mut held = self.check_stitching()?;
        let mut segments = vec![0_usize; self.pools.len()];
        let mut covered = vec![Bytes::ZERO; self.expandable.len()];
        for (id, block) in self.blocks.iter().filter(real) {
            segments[usize::from(block.pool)] += usize::from(block.prev.is_none());
            if !block.is_expandable() {
                held += block.size;
                continue;
            }
            if block.expandable == STITCHED {
                continue;
            }
            let number = block.expandable as usize;
            let segment = self.expandable.get(number).and_then(Option::as_ref);
            let Some(segment) = segment else { return Err(format!("{id:?}: no such segment")) };
            ensure!(segment.range().covers(block.range()), "{id:?} lies outside its segment");
            ensure!(
                segment.is_mapped(block.range()) == Some(block.is_mapped())
                    || (block.is_mapped() && segment.is_mapped(block.range()) == Some(true)),
                "{id:?}: its pages are not what it says"
            );
            covered[number] += block.size;
        }
        for (segment, covered) in self.expandable.iter().zip(covered) {
            let size = segment.as_ref().map_or(Bytes::ZERO, |segment| segment.range().size());
            ensure!(size == covered, "an expandable segment is not covered by its blocks");
            held += segment.as_ref().map_or(Bytes::ZERO, ExpandableSegment::mapped_bytes);
        }
        ensure!(held == self.held, "{held} are held, {} are booked", self.held);
        for (pool, segments) in self.pools.iter().zip(segments) {
            ensure!(pool.segments == segments, "a pool has miscounted its segments");
        }
        Ok(())
    }

    /// Lists hold exactly the blocks they should.
    fn check_lists(&self) -> Result<(), Broken> {
        for (number, pool) in self.pools.iter().enumerate() {
            let of_pool = |state| {
                let ids = self.blocks.iter().filter(move |(_, block)| {
                    usize::from(block.pool) == number && block.state == state
                });
                ids.map(|(id, _)| id).collect::<BTreeSet<_>>()
            };
            let free: Vec<BlockId> = pool.free_blocks().collect();
            ensure!(free.len() == of_pool(BlockState::Free).len(), "a free list has lost a block");
            for (stream, list) in pool.free.iter().enumerate() {
                for entry in list.iter() {
                    let block = &self.blocks[entry.block];
                    ensure!(
                        block.is_free()
                            && usize::from(block.stream) == stream
                            && block.key() == entry.key,
                        "{:?} is wrongly listed",
                        entry.block
                    );
                }
            }
            let unmapped: BTreeSet<BlockId> = pool.unmapped.values().copied().collect();
            ensure!(unmapped == of_pool(BlockState::Unmapped), "an unmapped list is wrong");
            for (&(stream, address), &id) in &pool.unmapped {
                let block = &self.blocks[id];
                ensure!(
                    (block.stream, block.address) == (stream, address),
                    "{id:?} is wrongly listed as unmapped"
                );
            }
        }
        Ok(())
    }

    /// Events and the blocks that wait for them agree.
    fn check_pending(&self) -> Result<(), Broken> {
        let mut events: BTreeMap<BlockId, u32> = BTreeMap::new();
        for (_, id) in self.events.iter().flat_map(|queue| &queue.waiting) {
            *events.entry(*id).or_default() += 1;
        }
        for (id, block) in self.blocks.iter() {
            let waiting = events.get(&id).copied().unwrap_or(0);
            ensure!(block.events == waiting, "{id:?} has miscounted its events");
            let pending = waiting > 0 || self.deferred.contains(&id);
            ensure!(
                pending == (block.state == BlockState::Pending),
                "{id:?} waits without being pending, or the reverse"
            );
            ensure!(
                !block.used_elsewhere || self.uses.contains_key(&id),
                "{id:?}: nobody knows who else uses it"
            );
        }
        for (address, id) in &self.raw {
            let block = &self.blocks[*id];
            ensure!(block.raw && block.address == *address, "{address} is wrongly known");
        }
        Ok(())
    }

    /// Counters equal what the blocks add up to.
    fn check_counters(&self) -> Result<(), Broken> {
        let stats = self.ledger.stats(None);
        for class in [Class::Small, Class::Large] {
            let [mut allocated, mut active, mut requested, mut stuck] = [0_i64; 4];
            let [mut live, mut busy, mut stuck_blocks, mut segments] = [0_i64; 4];
            for (_, block) in self.blocks.iter() {
                if self.pools[usize::from(block.pool)].class != class {
                    continue;
                }
                let size = block.size.as_i64();
                let is = |state| i64::from(block.state == state);
                let (out, pending) = (i64::from(block.is_handed_out()), is(BlockState::Pending));
                allocated += out * size;
                live += out;
                active += (out + pending) * size;
                busy += out + pending;
                requested += block.requested.as_i64();
                if !block.is_expandable() {
                    let split = i64::from(block.is_split()) * is(BlockState::Free);
                    stuck += split * size;
                    stuck_blocks += split;
                    segments += i64::from(block.prev.is_none());
                }
            }
            for (name, counted, booked) in [
                ("allocated_bytes", allocated, stats.allocated_bytes),
                ("active_bytes", active, stats.active_bytes),
                ("requested_bytes", requested, stats.requested_bytes),
                ("inactive_split_bytes", stuck, stats.inactive_split_bytes),
                ("allocation", live, stats.allocation),
                ("active", busy, stats.active),
                ("inactive_split", stuck_blocks, stats.inactive_split),
                ("segment", segments, stats.segment),
            ] {
                let booked = if class == Class::Small { booked.small } else { booked.large };
                ensure!(counted == booked.current, "{name}: {counted} counted, {booked:?}");
                ensure!(booked.peak >= booked.current, "{name}: a peak below the value");
            }
        }
        let reserved = stats.reserved_bytes.all.current;
        ensure!(reserved == self.held.as_i64(), "reserved_bytes: {reserved}, held {}", self.held);
        Ok(())
    }
}
