//! The window: a stretch of slots that is free once some handles wake there. Bookkeeping only.

use freeboard_device::{Device, DeviceError};
use freeboard_snapshot::Action;
use freeboard_units::{Address, AddressRange, Bytes};

use super::Found;
use super::mappings::Number;
use super::repaint::Coat;
use super::survey::Whole;
use crate::block::BlockId;
use crate::error::Error;
use crate::request::Request;
use crate::state::State;

/// A stretch of one slot that is free, or would be.
#[derive(Clone, Copy, Debug)]
struct Part {
    range: AddressRange,
    number: Number,
    /// Where the slot begins.
    slot: Address,
    /// Whether the handle has to wake there.
    wakes: bool,
    /// The block it lies in.
    block: BlockId,
}

impl<D: Device> State<D> {
    /// Serves a request from slots that exist already, waking as few bytes as it takes.
    pub(super) fn open_window(
        &mut self,
        request: &Request,
        whole: &[Whole],
    ) -> Result<Found, Error> {
        if whole.is_empty() && self.streams.count() == 1 {
            return Ok(Found::Nothing); // best fit has seen all there is
        }
        let parts = self.parts(request, whole);
        let Some(window) = best(&parts, request.size, self.stitch.mappings.numbers()) else {
            return Ok(Found::Nothing);
        };
        let woken: Vec<Part> = window.iter().copied().filter(|part| part.wakes).collect();
        let wakes = |whole: &&Whole| woken.iter().any(|part| part.number == whole.number);
        let sources: Vec<Whole> = whole.iter().filter(wakes).copied().collect();
        let free = window.iter().filter(|part| !part.wakes).map(|part| part.block);
        self.order_blocks(request, free.collect::<Vec<_>>())?;
        self.order_sources(request, &sources)?;

        let moves: Vec<(Whole, Address)> = sources
            .iter()
            .filter_map(|whole| {
                let part = woken.iter().find(|part| part.number == whole.number)?;
                Some((*whole, part.range.start()))
            })
            .collect();
        self.put_to_sleep(request, &moves);
        let range = AddressRange::new(window[0].range.start(), request.size);
        let mine = Coat::Free { stream: request.stream, since: self.stitch.orders.tick };
        let mut coats: Vec<_> = woken.iter().map(|part| (part.range, mine)).collect();
        coats.push((range, mine));
        let (first, last) = self.blocks_of(usize::from(request.pool), window, &woken);
        let block = self.repaint(first, last, &coats, range.start());
        self.stitch.counts.windows += 1;
        self.steady.note_trouble();
        self.stitch.counts.woken_bytes += woken.iter().map(|part| part.range.size()).sum();
        Ok(self.take(block, range))
    }

    /// The first and the last block of a window whose sources are asleep.
    fn blocks_of(&self, pool: usize, window: &[Part], woken: &[Part]) -> (BlockId, BlockId) {
        let (from, to) = (window[0], window[window.len() - 1]);
        // Putting handles to sleep makes blocks anew: they are found again from one that is woken.
        let Some(part) = woken.first() else { return (from.block, to.block) };
        let anchor = self.unmapped_at(pool, part.range.start()).expect("a handle asleep here");
        let (mut first, mut last) = (anchor, anchor);
        while self.blocks[first].address > from.range.start() {
            first = self.blocks[first].prev;
        }
        while self.blocks[last].end() < to.range.end() {
            last = self.blocks[last].next;
        }
        (first, last)
    }

    /// Orders the request's stream behind all that may still use these handles.
    pub(super) fn order_sources(
        &mut self,
        request: &Request,
        sources: &[Whole],
    ) -> Result<(), DeviceError> {
        for source in sources {
            let blocks: Vec<BlockId> = self
                .between(source.run.first, source.run.last)
                .filter(|&id| self.blocks[id].range().overlaps(source.range))
                .collect();
            self.order_blocks(request, blocks)?;
        }
        Ok(())
    }

    /// Moves whole free handles to slots that are entered already, in an arena of this class. Their
    /// old addresses become unmapped; the new ones are still to be painted.
    pub(super) fn put_to_sleep(&mut self, request: &Request, moves: &[(Whole, Address)]) {
        let class = request.class;
        self.note_moves(request, moves);
        let mut moves = moves.to_vec();
        moves.sort_unstable_by_key(|(whole, _)| whole.range.start());
        let now = self.stitch.orders.tick;
        for group in moves.chunk_by(|(a, _), (b, _)| a.run.first == b.run.first) {
            let run = group[0].0.run;
            let old = self.pools[usize::from(self.blocks[run.first].pool)].class;
            for (whole, to) in group {
                self.stitch.mappings.wake(whole.number, *to, now);
                let size = whole.range.size().as_i64();
                self.ledger.reserved_bytes.down(old, size);
                self.ledger.reserved_bytes.up(class, size);
            }
            let coats: Vec<_> =
                group.iter().map(|(whole, _)| (whole.range, Coat::Unmapped)).collect();
            self.repaint(run.first, run.last, &coats, run.range.start());
        }
    }

    /// Memory goes to other addresses: unmapped there, mapped here, and what that is called.
    fn note_moves(&mut self, request: &Request, moves: &[(Whole, Address)]) {
        if !self.is_recording() {
            return;
        }
        for (whole, to) in moves {
            let (size, block) = (whole.range.size(), &self.blocks[whole.run.first]);
            let (stream, pool) = (block.stream, block.pool);
            self.note(Action::SegmentUnmap, whole.range, stream, pool);
            let range = AddressRange::new(*to, size);
            self.note(Action::SegmentMap, range, request.stream, request.pool);
        }
        if let Some(&(_, first)) = moves.iter().min_by_key(|(_, to)| *to) {
            let size = moves.iter().map(|(whole, _)| whole.range.size()).sum();
            let range = AddressRange::new(first, size);
            self.note(Action::Stitch, range, request.stream, request.pool);
        }
    }

    /// All of an arena that is free or could be, in stretches as long as the request; in address
    /// order within each.
    fn parts(&self, request: &Request, whole: &[Whole]) -> Vec<Part> {
        let usable = self.usable(request);
        let mut may_wake = vec![false; self.stitch.mappings.numbers()];
        for whole in whole {
            may_wake[whole.number as usize] = true;
        }
        let mut parts = Vec::new();
        let (mut stretch, mut length) = (Vec::new(), Bytes::ZERO);
        for id in self.arena_blocks(usize::from(request.pool)) {
            let block = &self.blocks[id];
            let is_idle = !block.is_mapped() || usable.is_usable(block);
            if !is_idle || block.next.is_none() {
                if length >= request.size {
                    self.add_parts(&stretch, &may_wake, &mut parts);
                }
                stretch.clear();
                length = Bytes::ZERO;
            }
            if is_idle {
                stretch.push(id);
                length += block.size;
            }
        }
        if length >= request.size {
            self.add_parts(&stretch, &may_wake, &mut parts);
        }
        parts
    }

    /// Adds the parts of a stretch of neighbouring blocks, given from the last to the first.
    fn add_parts(&self, stretch: &[BlockId], may_wake: &[bool], parts: &mut Vec<Part>) {
        let (Some(&last), Some(&first)) = (stretch.first(), stretch.last()) else { return };
        let start = self.blocks[first].address;
        let all = AddressRange::new(start, self.blocks[last].end().offset_from(start));
        let mut slots = self.stitch.mappings.overlapping(all).peekable();
        for &id in stretch.iter().rev() {
            let block = &self.blocks[id];
            let wakes = !block.is_mapped();
            while let Some(&slot) = slots.peek()
                && slot.range.start() < block.end()
            {
                if !wakes || may_wake[slot.number as usize] {
                    let start = slot.range.start().max(block.address);
                    let end = slot.range.end().min(block.end());
                    let range = AddressRange::new(start, end.offset_from(start));
                    let (number, slot) = (slot.number, slot.range.start());
                    parts.push(Part { range, number, slot, wakes, block: id });
                }
                if slot.range.end() > block.end() {
                    break; // goes on in the next block
                }
                slots.next();
            }
        }
    }
}

/// The window of at least `size` bytes that wakes the fewest, of those the one that leaves most of
/// what it wakes free, and of those the shortest, at the lowest address. A handle serves at one place at a time.
fn best(parts: &[Part], size: Bytes, numbers: usize) -> Option<&[Part]> {
    // By handle: how many parts are inside, and of which slot.
    let mut inside = vec![(0_u32, Address::NULL); numbers];
    let (mut best, mut cheapest): (Option<&[Part]>, _) = (None, ([Bytes::MAX; 3], Address::NULL));
    let (mut end, mut woken) = (0, Bytes::ZERO);
    let cost = |part: &Part| if part.wakes { part.range.size() } else { Bytes::ZERO };
    for start in 0..parts.len() {
        let from = parts[start].range.start();
        let length = |end: usize| parts[end - 1].range.end().offset_from(from);
        if end <= start {
            end = start;
            woken = Bytes::ZERO;
        }
        while end < parts.len()
            && (end == start
                || (length(end) < size && parts[end].range.start() == parts[end - 1].range.end()))
            && matches!(inside[parts[end].number as usize], (count, slot) if count == 0 || slot == parts[end].slot)
        {
            let (count, slot) = &mut inside[parts[end].number as usize];
            (*count, *slot) = (*count + 1, parts[end].slot);
            woken += cost(&parts[end]);
            end += 1;
        }
        if end == start {
            continue;
        }
        if length(end) >= size {
            let last = parts[end - 1];
            let beyond = if last.wakes { length(end) - size } else { Bytes::ZERO };
            let key = ([woken, woken - beyond, length(end)], from);
            if key < cheapest {
                (best, cheapest) = (Some(&parts[start..end]), key);
            }
        }
        woken -= cost(&parts[start]);
        inside[parts[start].number as usize].0 -= 1;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: u64, size: u64, number: Number, wakes: bool) -> Part {
        let range = AddressRange::new(Address::new(start), Bytes::new(size));
        let slot = Address::new(if wakes { start } else { 0 });
        Part { range, number, slot, wakes, block: BlockId::NONE }
    }

    #[test]
    fn a_window_wakes_little_and_uses_no_handle_twice() {
        let parts = [
            part(0, 4, 0, false),
            part(4, 8, 1, true),
            part(12, 4, 2, false),
            part(16, 2, 3, true),
            part(18, 8, 1, true), // handle 1 again
            part(40, 20, 4, true),
        ];
        let window = |parts: &[Part], size| {
            let window = best(parts, Bytes::new(size), 6)?;
            Some((window[0].range.start().get(), window.len()))
        };
        let starts = |size| window(&parts, size);
        assert_eq!(starts(4), Some((0, 1)));
        assert_eq!(starts(6), Some((12, 2)));
        assert_eq!(starts(14), Some((0, 3)));
        assert_eq!(starts(18), Some((0, 4)));
        assert_eq!(starts(20), Some((40, 1)));
        assert_eq!(starts(21), None);
        // Two streams may each have a part of one slot.
        let shared = [part(70, 20, 5, false), part(90, 20, 5, false)];
        assert_eq!(window(&shared, 40), Some((70, 2)));
    }
}
