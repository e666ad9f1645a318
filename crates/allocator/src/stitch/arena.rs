//! Arenas: the addresses of a shared pool, and the frontier where new mappings go.

use freeboard_device::{Device, DeviceError};
use freeboard_units::{Address, AddressRange, Bytes};

use super::{index, survey::Usable};
use crate::block::{Block, BlockId, BlockState, STITCHED};
use crate::error::Error;
use crate::policy::placement::PAGE;
use crate::policy::stitching::SHARED_POOLS;
use crate::state::State;

/// The addresses of one pool.
#[derive(Clone, Debug, Default)]
pub(super) struct Arena {
    /// What has been reserved. The last page of each is never mapped, so that every range ends
    /// with a block that is unmapped.
    pub(super) ranges: Vec<AddressRange>,
    /// Addresses without slots, where the next mappings go, from the front.
    pub(super) frontier: Option<AddressRange>,
}

impl<D: Device> State<D> {
    /// The unmapped block that holds an address.
    pub(super) fn unmapped_at(&self, pool: usize, at: Address) -> Option<BlockId> {
        let (_, &id) = self.pools[pool].unmapped.range(..=(0, at)).next_back()?;
        self.blocks[id].range().contains(at).then_some(id)
    }

    /// The blocks of an arena, range by range, from the highest address down.
    pub(super) fn arena_blocks(&self, pool: usize) -> impl Iterator<Item = BlockId> {
        let last = move |range: &AddressRange| self.unmapped_at(pool, range.end() - Bytes::new(1));
        let back = move |id: BlockId| {
            let before = move |&id: &BlockId| Some(self.blocks[id].prev).filter(|id| id.is_some());
            std::iter::successors(Some(id), before)
        };
        self.stitch.arenas[pool].ranges.iter().filter_map(last).flat_map(back)
    }

    /// The free blocks right before an address, lowest first in address.
    pub(super) fn free_before(&self, at: BlockId, usable: Usable) -> Vec<BlockId> {
        let mut found = Vec::new();
        let mut block = self.blocks[at].prev;
        while block.is_some() && usable.is_usable(&self.blocks[block]) {
            found.push(block);
            block = self.blocks[block].prev;
        }
        found.reverse();
        found
    }

    /// Makes sure that there are `size` bytes of addresses at the frontier. Where there are none
    /// left, the largest stretch without slots serves again; without one, more are reserved.
    /// `false`: the device has no addresses left.
    pub(super) fn prepare_frontier(&mut self, pool: usize, size: Bytes) -> Result<bool, Error> {
        let enough = |range: AddressRange| range.size() >= size;
        if self.stitch.arenas[pool].frontier.is_some_and(enough) {
            return Ok(true);
        }
        let largest = self.vacant(pool).max_by_key(|range| range.size());
        if let Some(range) = largest.filter(|&range| enough(range)) {
            self.stitch.arenas[pool].frontier = Some(range);
            return Ok(true);
        }
        // Twice the device, and twice what the largest request asks to see.
        let generous = (self.total + size) * 2;
        for size in [generous, Bytes::ZERO].map(|wanted| wanted.max(size + PAGE)) {
            let size = size.align_up(PAGE);
            match self.device.reserve(size) {
                Ok(range) => {
                    self.add_addresses(pool, range);
                    return Ok(true);
                }
                Err(DeviceError::OutOfMemory { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    fn add_addresses(&mut self, pool: usize, range: AddressRange) {
        tracing::debug!(%range, pool, "addresses reserved");
        let place = self.place_segment(range.size());
        let id = self.blocks.insert(Block {
            address: range.start(),
            size: range.size(),
            place,
            expandable: STITCHED,
            pool: index(pool),
            state: BlockState::Unmapped,
            ..Block::BLANK
        });
        self.pools[pool].segments += 1;
        self.pools[pool].unmapped.insert((0, range.start()), id);
        let arena = &mut self.stitch.arenas[pool];
        arena.ranges.push(range);
        arena.frontier = Some(AddressRange::new(range.start(), range.size() - PAGE));
    }

    /// The stretches of an arena's addresses without slots, the last page of each range left out.
    fn vacant(&self, pool: usize) -> impl Iterator<Item = AddressRange> {
        let scars = self.stitch.scars.iter().map(|(range, _)| *range);
        self.pools[pool].unmapped.values().flat_map(move |&id| {
            let block = self.blocks[id].range();
            let is_last = self.blocks[id].next.is_none();
            let end = if is_last { block.end() - PAGE } else { block.end() };
            let slots = self.stitch.mappings.overlapping(block).map(|slot| slot.range);
            let mut taken: Vec<AddressRange> =
                slots.chain(scars.clone().filter(|scar| scar.overlaps(block))).collect();
            taken.sort_unstable_by_key(|range| range.start());
            taken.push(AddressRange::new(end, Bytes::ZERO));
            let mut from = block.start();
            taken.into_iter().filter_map(move |range| {
                let gap = (from < range.start())
                    .then(|| AddressRange::new(from, range.start().offset_from(from)));
                from = from.max(range.end());
                gap
            })
        })
    }

    /// Gives back the addresses of ranges that nothing is mapped in.
    pub(crate) fn release_arenas(&mut self) -> Result<(), Error> {
        let mut outcome = Ok(());
        for pool in 0..SHARED_POOLS {
            let empty = |range: &AddressRange| {
                let free_of = |scar: &(AddressRange, _)| !scar.0.overlaps(*range);
                let block = self.unmapped_at(pool, range.start());
                block.is_some_and(|id| self.blocks[id].range() == *range)
                    && self.stitch.mappings.overlapping(*range).next().is_none()
                    && self.stitch.scars.iter().all(free_of)
            };
            let ranges = &self.stitch.arenas[pool].ranges;
            let empty: Vec<AddressRange> = ranges.iter().copied().filter(empty).collect();
            for range in empty {
                if let Err(error) = self.device.unreserve(range) {
                    outcome = outcome.and(Err(error.into()));
                    continue;
                }
                if let Some(id) = self.pools[pool].unmapped.remove(&(0, range.start())) {
                    self.blocks.remove(id);
                }
                self.pools[pool].segments -= 1;
                let arena = &mut self.stitch.arenas[pool];
                arena.ranges.retain(|other| *other != range);
                arena.frontier = arena.frontier.filter(|frontier| !frontier.overlaps(range));
            }
        }
        outcome
    }
}
