//! The invariants of stitching: no byte of a handle is live at two places.

use freeboard_device::Device;
use freeboard_units::{Address, AddressRange, Bytes};

use crate::block::{Block, STITCHED};
use crate::check::{Broken, ensure};
use crate::policy::stitching::SHARED_POOLS;
use crate::state::State;

impl<D: Device> State<D> {
    /// Every handle is awake at exactly one of its slots, slots do not overlap, and a byte that is
    /// free, allocated or pending lies in a slot whose handle is awake there. So two blocks never
    /// share physical bytes. Returns the bytes held.
    pub(crate) fn check_stitching(&self) -> Result<Bytes, Broken> {
        let mappings = &self.stitch.mappings;
        let (mut held, mut slots, mut awake) = (Bytes::ZERO, 0, Vec::new());
        for (number, physical) in mappings.iter() {
            held += physical.size;
            slots += physical.slots.len();
            ensure!(
                physical.slots.iter().filter(|&&at| at == physical.awake).count() == 1,
                "handle {number} is not awake at exactly one of its slots"
            );
            for &at in &physical.slots {
                ensure!(mappings.slot_at(at) == Some(number), "slot {at} is another handle's");
            }
            awake.push(AddressRange::new(physical.awake, physical.size));
        }
        ensure!(slots == mappings.mapped(), "{slots} slots counted, {} booked", mappings.mapped());
        let everything = AddressRange::new(Address::NULL, Bytes::MAX);
        let all: Vec<AddressRange> = mappings.overlapping(everything).map(|s| s.range).collect();
        for pair in all.windows(2) {
            ensure!(pair[0].end() <= pair[1].start(), "slots overlap at {}", pair[1].start());
        }
        awake.sort_unstable_by_key(|range| range.start());
        self.check_coverage(&awake)?;
        self.check_frontiers()?;
        Ok(held)
    }

    /// What is mapped according to the blocks is what is awake.
    fn check_coverage(&self, awake: &[AddressRange]) -> Result<(), Broken> {
        let stitched = self.blocks.iter().filter(|(_, block)| block.expandable == STITCHED);
        let mut mapped: Vec<AddressRange> =
            stitched.filter(|(_, b)| b.is_mapped()).map(|(_, block)| block.range()).collect();
        mapped.sort_unstable_by_key(|range| range.start());
        ensure!(joined(&mapped) == joined(awake), "blocks are not where handles are awake");
        for (pool, arena) in self.stitch.arenas.iter().enumerate() {
            let blocks = |range: &AddressRange| -> Bytes {
                let inside = |block: &Block| range.covers(block.range());
                let all = self.blocks.iter().map(|(_, block)| block);
                let own = |block: &&Block| {
                    usize::from(block.pool) == pool && block.expandable == STITCHED
                };
                all.filter(own).filter(|block| inside(block)).map(|block| block.size).sum()
            };
            for range in &arena.ranges {
                ensure!(blocks(range) == range.size(), "blocks do not tile {range}");
                let last = self.unmapped_at(pool, range.end() - Bytes::new(1));
                ensure!(last.is_some(), "{range} does not end unmapped");
            }
        }
        Ok(())
    }

    fn check_frontiers(&self) -> Result<(), Broken> {
        for pool in 0..SHARED_POOLS {
            let Some(frontier) = self.stitch.arenas[pool].frontier else { continue };
            let mut slots = self.stitch.mappings.overlapping(frontier);
            ensure!(slots.next().is_none(), "something is mapped beyond the frontier {frontier}");
        }
        Ok(())
    }
}

/// Ranges in address order, neighbours made one.
fn joined(ranges: &[AddressRange]) -> Vec<(Address, Address)> {
    let mut joined: Vec<(Address, Address)> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some((_, end)) if *end == range.start() => *end = range.end(),
            _ => joined.push((range.start(), range.end())),
        }
    }
    joined
}
