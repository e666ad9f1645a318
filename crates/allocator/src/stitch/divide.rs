//! Near the limit, a large handle is made anew as small ones before a block's end would cut it.
//!
//! What is left of a handle that is partly in use can serve only where it is. With pages to spare
//! that is no loss; near the limit it is what would be missing in the end. The bytes are released
//! and taken again at the same addresses, so no block changes. That happens only where no stream
//! can still touch them.

use freeboard_device::{Device, DeviceError, Handle};
use freeboard_snapshot::Action;
use freeboard_units::{Address, AddressRange, Bytes};

use super::mappings::Slot;
use super::repaint::Coat;
use crate::block::BlockId;
use crate::policy::placement::PAGE;
use crate::policy::stitching::TIGHT_HANDLE;
use crate::state::State;
use crate::stats::Class;

impl<D: Device> State<D> {
    /// Divides the handle that `end`, inside a free block, would cut. `false`: the device did not
    /// give the memory back that it had just taken, and the block has lost it.
    pub(super) fn divide(&mut self, block: BlockId, end: Address) -> bool {
        if self.stitch.uncut == Bytes::MAX {
            return true;
        }
        let range = self.blocks[block].range();
        let last = AddressRange::new(end - Bytes::new(1), Bytes::new(1));
        let Some(slot) = self.stitch.mappings.overlapping(last).next() else { return true };
        let used = end.offset_from(slot.range.start()).align_up(PAGE);
        let worth = slot.range.size() > TIGHT_HANDLE && used < slot.range.size();
        if !worth || !slot.is_awake || !range.covers(slot.range) {
            return true;
        }
        let class = self.class_of_block(block);
        let quiet = self.is_quiet(self.blocks[block].free_since).unwrap_or_else(|error| {
            tracing::warn!(%error, "a handle is not divided");
            false
        });
        if !quiet || !self.dismantle(slot, class) {
            return true;
        }
        let (stream, pool) = (self.blocks[block].stream, self.blocks[block].pool);
        self.note(Action::SegmentUnmap, slot.range, stream, pool);
        let kept = self.rebuild(slot.range, used);
        if !kept.is_zero() {
            let kept = AddressRange::new(slot.range.start(), kept);
            self.note(Action::SegmentMap, kept, stream, pool);
        }
        self.held += kept;
        self.ledger.reserved_bytes.up(class, kept.as_i64());
        self.stitch.counts.divided += 1;
        let rest = AddressRange::new(slot.range.start() + kept, slot.range.size() - kept);
        if rest.size().is_zero() {
            return true;
        }
        self.repaint(block, block, &[(rest, Coat::Unmapped)], range.start());
        false
    }

    /// Whether a block counts as small or large.
    pub(super) fn class_of_block(&self, block: BlockId) -> Class {
        self.pools[usize::from(self.blocks[block].pool)].class
    }

    /// Unmaps a handle everywhere, last where it is awake, and releases it. `false`: an error, and
    /// it is still awake.
    fn dismantle(&mut self, slot: Slot, class: Class) -> bool {
        if let Err(error) = self.unmap_everywhere(slot.number) {
            tracing::warn!(%error, "a handle could not be divided");
            return false;
        }
        let handle = self.stitch.mappings.get(slot.number).handle;
        self.stitch.mappings.remove(slot.number);
        self.release_handles([handle]);
        self.held -= slot.range.size();
        self.ledger.reserved_bytes.down(class, slot.range.size().as_i64());
        true
    }

    /// Memory for a range, as one handle of `used` bytes and small ones. Returns how much of the
    /// front was had.
    fn rebuild(&mut self, range: AddressRange, used: Bytes) -> Bytes {
        let mut made: Vec<(AddressRange, Handle)> = Vec::new();
        let (mut at, mut next) = (range.start(), used);
        while at < range.end() {
            let part = AddressRange::new(at, next);
            match self.create_and_map(part) {
                Ok(handle) => made.push((part, handle)),
                Err(error) => {
                    tracing::warn!(%part, %error, "memory given back is not to be had again");
                    break;
                }
            }
            at = at + next;
            next = range.end().offset_from(at).min(TIGHT_HANDLE);
        }
        let kept = AddressRange::new(range.start(), at.offset_from(range.start()));
        if kept.size().is_zero() {
            return Bytes::ZERO;
        }
        if let Err(error) = self.set_access(kept) {
            tracing::warn!(range = %kept, %error, "memory taken cannot be used");
            self.drop_mappings(made);
            return Bytes::ZERO;
        }
        for (part, handle) in made {
            self.stitch.mappings.add(handle, part);
        }
        kept.size()
    }

    fn create_and_map(&mut self, range: AddressRange) -> Result<Handle, DeviceError> {
        let handle = self.create_handle(range.size())?;
        if let Err(error) = self.map(range, handle) {
            self.release_handles([handle]);
            return Err(error);
        }
        Ok(handle)
    }

    /// Unmaps and releases what is in no book; a mapping that stays leaves a scar.
    fn drop_mappings(&mut self, made: Vec<(AddressRange, Handle)>) {
        for (range, handle) in made {
            match self.unmap(range) {
                Ok(()) => self.release_handles([handle]),
                Err(_) => self.stitch.scars.push((range, Some(handle))),
            }
        }
    }
}
