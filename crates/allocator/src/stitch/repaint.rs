//! The one place where the free and unmapped blocks of an arena change other than by being handed
//! out and given back.

use freeboard_device::Device;
use freeboard_units::{Address, AddressRange, Bytes};

use crate::block::{Block, BlockId, BlockState, STITCHED};
use crate::free_list::Entry;
use crate::state::State;

/// What a stretch of an arena is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coat {
    /// Free memory that `stream` may use; freed at this time.
    Free { stream: u16, since: u64 },
    /// Addresses without memory of their own.
    Unmapped,
    /// Free memory that is about to be handed out: in no list, never merged.
    Taken { stream: u16 },
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    start: Address,
    end: Address,
    coat: Coat,
}

impl Coat {
    /// The coat of two neighbours together, where they are one block.
    fn joined(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Unmapped, Self::Unmapped) => Some(Self::Unmapped),
            (Self::Free { stream, since: a }, Self::Free { stream: other, since: b }) => {
                (stream == other).then(|| Self::Free { stream, since: a.max(b) })
            }
            _ => None,
        }
    }
}

impl<D: Device> State<D> {
    /// Gives stretches of the blocks from `first` to `last`, free and unmapped ones without others
    /// between, new coats. Returns the block that then holds `find`.
    pub(super) fn repaint(
        &mut self,
        first: BlockId,
        last: BlockId,
        coats: &[(AddressRange, Coat)],
        find: Address,
    ) -> BlockId {
        let (first, last) =
            (self.with_idle(first, |block| block.prev), self.with_idle(last, |block| block.next));
        let (pool, origin) =
            (self.blocks[first].pool, (self.blocks[first].address, self.blocks[first].place));
        let (before, after) = (self.blocks[first].prev, self.blocks[last].next);
        let mut pieces = self.lift(first, last);
        for &(range, coat) in coats {
            paint(&mut pieces, range, coat);
        }
        join(&mut pieces);
        let (mut prev, mut found) = (before, BlockId::NONE);
        for piece in pieces {
            let place = origin.1 + piece.start.offset_from(origin.0).get();
            let range = AddressRange::new(piece.start, piece.end.offset_from(piece.start));
            let id = self.lay(pool, place, range, piece.coat);
            self.blocks.splice(id, prev, BlockId::NONE);
            if self.blocks[id].range().contains(find) {
                found = id;
            }
            prev = id;
        }
        self.blocks[prev].next = after;
        if after.is_some() {
            self.blocks[after].prev = prev;
        }
        found
    }

    /// Takes `range` out of the free block that holds it.
    pub(super) fn cut_out(&mut self, block: BlockId, range: AddressRange) -> BlockId {
        let stream = self.blocks[block].stream;
        self.repaint(block, block, &[(range, Coat::Taken { stream })], range.start())
    }

    /// The neighbour that a block's stretch may merge with, or the block itself.
    fn with_idle(&self, id: BlockId, neighbour: impl Fn(&Block) -> BlockId) -> BlockId {
        let other = neighbour(&self.blocks[id]);
        let idle = |state| matches!(state, BlockState::Free | BlockState::Unmapped);
        if other.is_some() && idle(self.blocks[other].state) { other } else { id }
    }

    /// Takes blocks out of their lists and their places; what they covered.
    fn lift(&mut self, first: BlockId, last: BlockId) -> Vec<Piece> {
        let (mut pieces, mut id) = (Vec::new(), first);
        loop {
            let block = &self.blocks[id];
            let (next, pool) = (block.next, usize::from(block.pool));
            let coat = if block.is_free() {
                self.pools[pool].remove(block);
                Coat::Free { stream: block.stream, since: block.free_since }
            } else {
                debug_assert!(!block.is_mapped(), "only idle blocks are repainted");
                self.pools[pool].unmapped.remove(&(0, block.address));
                Coat::Unmapped
            };
            pieces.push(Piece { start: block.address, end: block.end(), coat });
            self.blocks.remove(id);
            if id == last {
                return pieces;
            }
            id = next;
        }
    }

    /// Makes a block, in its list but without neighbours.
    pub(crate) fn lay(
        &mut self,
        pool: u16,
        place: u64,
        range: AddressRange,
        coat: Coat,
    ) -> BlockId {
        let (stream, since, state) = match coat {
            Coat::Free { stream, since } => (stream, since, BlockState::Free),
            Coat::Taken { stream } => (stream, 0, BlockState::Free),
            Coat::Unmapped => (0, 0, BlockState::Unmapped),
        };
        let id = self.blocks.insert(Block {
            address: range.start(),
            size: range.size(),
            place,
            expandable: STITCHED,
            free_since: since,
            pool,
            stream,
            state,
            ..Block::BLANK
        });
        let list = &mut self.pools[usize::from(pool)];
        match coat {
            Coat::Free { .. } => {
                let key = self.blocks[id].key();
                list.list_block(stream, Entry { key, block: id });
            }
            Coat::Unmapped => {
                list.unmapped.insert((0, range.start()), id);
            }
            Coat::Taken { .. } => {}
        }
        id
    }
}

/// Covers `range`, which lies within the pieces, with a new coat.
fn paint(pieces: &mut Vec<Piece>, range: AddressRange, coat: Coat) {
    if range.size() == Bytes::ZERO {
        return;
    }
    let (from, to) = (range.start(), range.end());
    let first = pieces.partition_point(|piece| piece.end <= from);
    let behind = pieces.partition_point(|piece| piece.start < to);
    let (head, tail) = (pieces[first], pieces[behind - 1]);
    let fresh = [
        Piece { end: from, ..head },
        Piece { start: from, end: to, coat },
        Piece { start: to, ..tail },
    ];
    pieces.splice(first..behind, fresh.into_iter().filter(|piece| piece.start < piece.end));
}

/// Makes one piece of neighbours that are one block.
fn join(pieces: &mut Vec<Piece>) {
    pieces.dedup_by(|next, piece| {
        let Some(coat) = piece.coat.joined(next.coat) else { return false };
        (piece.end, piece.coat) = (next.end, coat);
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paint_covers_exactly_its_range_and_equal_neighbours_join() {
        let at = Address::new;
        let range = |from, to| AddressRange::new(at(from), Bytes::new(to - from));
        let free = |stream| Coat::Free { stream, since: 1 };
        let mut pieces = vec![
            Piece { start: at(0), end: at(10), coat: free(0) },
            Piece { start: at(10), end: at(20), coat: Coat::Unmapped },
        ];
        paint(&mut pieces, range(5, 12), free(1));
        paint(&mut pieces, range(12, 20), free(1));
        join(&mut pieces);
        let seen: Vec<_> = pieces.iter().map(|p| (p.start.get(), p.end.get(), p.coat)).collect();
        assert_eq!(seen, [(0, 5, free(0)), (5, 20, free(1))]);
        paint(&mut pieces, range(0, 20), Coat::Unmapped);
        assert_eq!(pieces.len(), 1);
    }
}
