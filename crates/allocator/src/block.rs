//! The arena of blocks: every byte the allocator holds belongs to exactly one block.
//!
//! Blocks of one segment form a list in address order, linked by index. There are no pointers, so
//! the whole state can be walked, compared and dumped.

use freeboard_units::{Address, AddressRange, Bytes};

use crate::free_list::Key;

/// A block's place in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BlockId(u32);

impl BlockId {
    /// No block: the end of a list.
    pub(crate) const NONE: Self = Self(u32::MAX);

    pub(crate) const fn is_none(self) -> bool {
        self.0 == u32::MAX
    }

    pub(crate) const fn is_some(self) -> bool {
        !self.is_none()
    }

    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a block's bytes are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockState {
    /// In a free list, ready for its stream.
    Free,
    /// Handed out.
    Allocated,
    /// Given back, but other streams may still be using it.
    Pending,
    /// Set aside for a plan; or one of the plan's places, which nobody has: see
    /// [`steady`](crate::steady).
    Plan,
    /// Handed out at a place of the plan.
    Planned,
    /// Addresses with no memory behind them, or none of their own: see [`stitch`](crate::stitch).
    Unmapped,
}

/// A run of bytes in one segment. One cache line.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) address: Address,
    pub(crate) size: Bytes,
    /// Where it comes among all blocks: segments in the order they were made, one after the other,
    /// then by address. Never 0.
    pub(crate) place: u64,
    /// What the caller asked for, before rounding; zero unless allocated or pending.
    pub(crate) requested: Bytes,
    /// The pool's search count when the block became free: its age is the difference to now.
    pub(crate) free_since: u64,
    /// Neighbours in address order within the segment.
    pub(crate) prev: BlockId,
    pub(crate) next: BlockId,
    /// The expandable segment it lies in, or [`NO_EXPANDABLE`].
    pub(crate) expandable: u32,
    /// Events that must pass before a pending block is free.
    pub(crate) events: u32,
    pub(crate) pool: u16,
    pub(crate) stream: u16,
    pub(crate) state: BlockState,
    /// Whether other streams were recorded on it (the table of uses has them).
    pub(crate) used_elsewhere: bool,
    /// Whether it can be freed by its bare address.
    pub(crate) raw: bool,
}

/// The `expandable` field of a block in a segment of fixed size.
pub(crate) const NO_EXPANDABLE: u32 = u32::MAX;

/// The `expandable` field of a block in stitched memory.
pub(crate) const STITCHED: u32 = u32::MAX - 1;

/// The `expandable` field of a place of a plan: it has no neighbours, its bytes belong to the plan's
/// block, and `place` is its entry in the plan.
pub(crate) const PLANNED: u32 = u32::MAX - 2;

impl Block {
    /// A free block of no bytes in no segment, to be filled in.
    pub(crate) const BLANK: Self = Self {
        address: Address::NULL,
        size: Bytes::ZERO,
        place: 0,
        requested: Bytes::ZERO,
        free_since: 0,
        prev: BlockId::NONE,
        next: BlockId::NONE,
        expandable: NO_EXPANDABLE,
        events: 0,
        pool: 0,
        stream: 0,
        state: BlockState::Free,
        used_elsewhere: false,
        raw: false,
    };

    /// Its place among free blocks.
    #[inline]
    pub(crate) const fn key(&self) -> Key {
        Key { size: self.size, place: self.place }
    }

    pub(crate) const fn is_split(&self) -> bool {
        self.prev.is_some() || self.next.is_some()
    }

    pub(crate) const fn is_expandable(&self) -> bool {
        self.expandable != NO_EXPANDABLE
    }

    pub(crate) fn is_free(&self) -> bool {
        self.state == BlockState::Free
    }

    /// Whether it merges with a free neighbour of this stream.
    #[inline]
    pub(crate) fn is_free_for(&self, stream: u16) -> bool {
        self.state == BlockState::Free && self.stream == stream
    }

    /// Whether somebody has it.
    pub(crate) fn is_handed_out(&self) -> bool {
        matches!(self.state, BlockState::Allocated | BlockState::Planned)
    }

    pub(crate) fn is_mapped(&self) -> bool {
        self.state != BlockState::Unmapped
    }

    pub(crate) fn end(&self) -> Address {
        self.address + self.size
    }

    pub(crate) const fn range(&self) -> AddressRange {
        AddressRange::new(self.address, self.size)
    }
}

/// All blocks, with the unused places kept in a list of their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arena {
    blocks: Vec<Block>,
    spare: Vec<BlockId>,
}

impl Arena {
    /// Puts `block` into a place of its own.
    ///
    /// # Panics
    /// At 2³² − 1 blocks: 256 GiB of bookkeeping, which no device has memory for.
    #[inline]
    pub(crate) fn insert(&mut self, block: Block) -> BlockId {
        if let Some(id) = self.spare.pop() {
            self.blocks[id.index()] = block;
            return id;
        }
        self.grow(block)
    }

    /// A place for a block like `model`, which the caller makes its own field by field.
    ///
    /// Writing a whole block and reading it back at once would stall: the parts are written and the
    /// whole is read in pieces of different sizes, which processors cannot forward.
    #[inline]
    pub(crate) fn twin(&mut self, model: BlockId) -> BlockId {
        match self.spare.pop() {
            Some(id) => id,
            None => self.grow(self[model].clone()),
        }
    }

    #[cold]
    fn grow(&mut self, block: Block) -> BlockId {
        let id = BlockId(u32::try_from(self.blocks.len()).expect("fewer than 2^32 blocks"));
        self.blocks.push(block);
        // Giving a place back must not allocate: it happens inside `free`.
        self.spare.reserve(self.blocks.capacity());
        id
    }

    /// Gives a block's place back. The block must be in no list.
    #[inline]
    pub(crate) fn remove(&mut self, id: BlockId) {
        self.spare.push(id);
    }

    /// The blocks by [`BlockId::index`], and the unused places, for code that looks at many blocks:
    /// a slice stays in registers where the arena would be read again after every write.
    #[inline]
    pub(crate) fn parts(&mut self) -> (&mut [Block], &mut Vec<BlockId>) {
        (&mut self.blocks, &mut self.spare)
    }

    /// How many blocks there are, and how many places for them.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.blocks.len() - self.spare.len(), self.blocks.capacity())
    }

    /// Places `new` between `before` and `after`, which are neighbours (either may be none).
    pub(crate) fn splice(&mut self, new: BlockId, before: BlockId, after: BlockId) {
        if before.is_some() {
            self[before].next = new;
        }
        if after.is_some() {
            self[after].prev = new;
        }
        self[new].prev = before;
        self[new].next = after;
    }

    /// Every block, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (BlockId, &Block)> {
        let mut unused = vec![false; self.blocks.len()];
        for id in &self.spare {
            unused[id.index()] = true;
        }
        self.blocks.iter().enumerate().filter(move |(index, _)| !unused[*index]).map(
            |(index, block)| {
                #[expect(clippy::cast_possible_truncation, reason = "the arena holds fewer")]
                (BlockId(index as u32), block)
            },
        )
    }
}

impl std::ops::Index<BlockId> for Arena {
    type Output = Block;
    #[inline]
    fn index(&self, id: BlockId) -> &Block {
        &self.blocks[id.index()]
    }
}

impl std::ops::IndexMut<BlockId> for Arena {
    #[inline]
    fn index_mut(&mut self, id: BlockId) -> &mut Block {
        &mut self.blocks[id.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_fills_one_cache_line_and_no_more() {
        assert!(size_of::<Block>() <= 64, "{}", size_of::<Block>());
    }
}
