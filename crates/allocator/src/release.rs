//! The way back: a block its owner gives up becomes free, merged with its free neighbours.

use freeboard_device::Device;
use freeboard_units::Bytes;

use crate::block::{Block, BlockId, BlockState, PLANNED};
use crate::free_list::{Entry, Key};
use crate::state::State;
use crate::stats::Class;

impl<D: Device> State<D> {
    /// Takes an allocation back. It is free at once, or once other streams are done with it.
    #[expect(clippy::inline_always, reason = "the hot path is one function without spills")]
    #[inline(always)]
    pub(crate) fn release(&mut self, id: BlockId) {
        if self.is_recording() {
            return self.release_recorded(id);
        }
        self.release_quietly(id);
    }

    /// As [`State::release`], while history is recorded.
    #[inline(never)]
    fn release_recorded(&mut self, id: BlockId) {
        self.note_release(id);
        self.release_quietly(id);
    }

    #[expect(clippy::inline_always, reason = "the hot path is one function without spills")]
    #[inline(always)]
    fn release_quietly(&mut self, id: BlockId) {
        let block = &self.blocks[id];
        if block.state != BlockState::Allocated {
            return self.release_planned(id);
        }
        self.steady.note_free(block.free_since);
        let (size, class) = (block.size, self.pools[usize::from(block.pool)].class);
        if self.split.is_oversize(size) {
            self.ledger.oversize_allocations.down(1);
        }
        if block.used_elsewhere {
            self.ledger.pending(class, size);
            return self.await_uses(id);
        }
        self.ledger.freed(class, size, block.requested);
        self.free_block(id, class);
    }

    /// Puts a block into its free list that was pending until now.
    pub(crate) fn complete(&mut self, id: BlockId) {
        if self.is_recording() {
            self.note_completed(id);
        }
        let block = &self.blocks[id];
        let class = self.pools[usize::from(block.pool)].class;
        self.ledger.completed(class, block.size, block.requested);
        self.steady.note_free(block.free_since);
        if block.expandable == PLANNED {
            return self.vacate(id);
        }
        self.free_block(id, class);
    }

    /// Puts a block that nobody uses any more into its free list, merged with its free neighbours.
    ///
    /// The merged block is made in local variables and written once: see [`Arena::twin`].
    ///
    /// [`Arena::twin`]: crate::block::Arena::twin
    #[expect(clippy::inline_always, reason = "the hot path is one function without spills")]
    #[inline(always)]
    fn free_block(&mut self, id: BlockId, class: Class) {
        let (all, spare) = self.blocks.parts();
        let block = &all[id.index()];
        let Block { mut size, mut address, mut place, mut prev, mut next, stream, .. } = *block;
        let fixed = !block.is_expandable();
        let pool = &mut self.pools[usize::from(block.pool)];
        let (mut blocks, mut bytes) = (0, 0);
        if prev.is_some() && all[prev.index()].is_free_for(stream) {
            let other = &all[prev.index()];
            pool.remove(other);
            spare.push(prev);
            size += other.size;
            (address, place, prev) = (other.address, other.place, other.prev);
            (blocks, bytes) = (-1, -other.size.as_i64());
            if prev.is_some() {
                all[prev.index()].next = id;
            }
        }
        if next.is_some() && all[next.index()].is_free_for(stream) {
            let other = &all[next.index()];
            pool.remove(other);
            spare.push(next);
            size += other.size;
            next = other.next;
            (blocks, bytes) = (blocks - 1, bytes - other.size.as_i64());
            if next.is_some() {
                all[next.index()].prev = id;
            }
        }
        let block = &mut all[id.index()];
        if blocks != 0 {
            block.size = size;
            block.address = address;
            block.place = place;
            block.prev = prev;
            block.next = next;
        }
        block.state = BlockState::Free;
        block.requested = Bytes::ZERO;
        block.free_since = pool.searches;
        pool.list_block(stream, Entry { key: Key { size, place }, block: id });
        // Expandable segments give every free page back, so nothing in them counts as stuck.
        if fixed {
            if prev.is_some() || next.is_some() {
                (blocks, bytes) = (blocks + 1, bytes + size.as_i64());
            }
            if blocks != 0 {
                self.ledger.inactive_split.by(class, blocks);
            }
            self.ledger.inactive_split_bytes.by(class, bytes);
        }
    }

    /// Merges a neighbour into `id` if both are free, or both are unmapped; `id` itself is in no
    /// list. Returns the bytes that came with it.
    pub(crate) fn merge(&mut self, id: BlockId, neighbour: BlockId) -> Option<Bytes> {
        if neighbour.is_none() || self.blocks[neighbour].state != self.blocks[id].state {
            return None;
        }
        let other = &self.blocks[neighbour];
        let (size, address, place) = (other.size, other.address, other.place);
        let (outer_prev, outer_next) = (other.prev, other.next);
        let pool = &mut self.pools[usize::from(other.pool)];
        if other.is_free() {
            pool.remove(other);
        } else {
            pool.unmapped.remove(&(other.stream, other.address));
        }
        let block = &mut self.blocks[id];
        block.size += size;
        if block.prev == neighbour {
            block.address = address;
            block.place = place;
            block.prev = outer_prev;
            if outer_prev.is_some() {
                self.blocks[outer_prev].next = id;
            }
        } else {
            block.next = outer_next;
            if outer_next.is_some() {
                self.blocks[outer_next].prev = id;
            }
        }
        self.blocks.remove(neighbour);
        Some(size)
    }
}
