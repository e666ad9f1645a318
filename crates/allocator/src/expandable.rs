//! Expandable segments: ranges of addresses that grow and shrink by pages.
//!
//! A segment reserves more addresses than the device has memory and maps pages where they are
//! needed, lowest address first. Requests of changing size then tile one range instead of leaving
//! slivers in many. Its blocks are free, allocated, pending or unmapped, without gaps.

mod pages;

use freeboard_device::{Device, DeviceError};
use freeboard_snapshot::Action;
use freeboard_units::{Address, AddressRange, Bytes};

use crate::block::{Block, BlockId, BlockState, STITCHED};
use crate::config::Reserve;
use crate::error::Error;
use crate::free_list::{Entry, Found};
use crate::policy::growth::Growth;
use crate::request::Request;
use crate::state::State;
use crate::stats::Class;
use crate::stitch::index;

pub(crate) use pages::ExpandableSegment;

impl<D: Device> State<D> {
    /// Among free blocks that fit, prefers one that cannot grow: space at the growing end counts
    /// as large as it can become.
    #[inline(never)]
    pub(crate) fn prefer_bounded(&self, mut best: Found, request: &Request) -> Found {
        let pool = &self.pools[usize::from(request.pool)];
        let expanded = |entry: Entry| entry.key.size + self.room_behind(entry.block);
        while let Some(next) =
            pool.list(request.stream).and_then(|list| list.at_least(best.entry.key.next()))
            && !self.room_behind(best.entry.block).is_zero()
            && expanded(next.entry) < expanded(best.entry)
        {
            best = next;
        }
        best
    }

    /// Unmapped bytes right behind a block.
    #[inline]
    pub(crate) fn room_behind(&self, id: BlockId) -> Bytes {
        let next = self.blocks[id].next;
        if next.is_none() || self.blocks[next].is_mapped() {
            return Bytes::ZERO;
        }
        self.blocks[next].size
    }

    /// Maps pages until a free block fits the request. The block is in no list.
    pub(crate) fn grow_expandable(&mut self, request: &Request) -> Result<Option<BlockId>, Error> {
        let Some(start) = self.find_room(request)? else { return Ok(None) };
        let mut added = Vec::new();
        match self.map_until_it_fits(start, request.size, &mut added) {
            Ok(Some(block)) => {
                self.pools[usize::from(request.pool)].remove(&self.blocks[block]);
                Ok(Some(block))
            }
            // Too little memory: what was mapped stays cached, as in `PyTorch`.
            Ok(None) => Ok(None),
            Err(error) => {
                for (block, range) in added {
                    self.undo_map(block, range);
                }
                Err(error)
            }
        }
    }

    fn map_until_it_fits(
        &mut self,
        start: BlockId,
        size: Bytes,
        added: &mut Vec<(BlockId, AddressRange)>,
    ) -> Result<Option<BlockId>, Error> {
        let mut block = start;
        if !self.blocks[block].is_mapped() {
            let Some(range) = self.map_block(block, size)? else { return Ok(None) };
            added.push((block, range));
        }
        while self.blocks[block].size < size {
            // What follows a free block that is too small, within the room found, is unmapped.
            let next = self.blocks[block].next;
            let missing = size - self.blocks[block].size;
            let Some(range) = self.map_block(next, missing)? else { return Ok(None) };
            added.push((next, range));
            block = next;
        }
        Ok(Some(block))
    }

    /// The block at the lowest address from which free and unmapped blocks make up `size`.
    fn find_room(&mut self, request: &Request) -> Result<Option<BlockId>, Error> {
        let pool = &self.pools[usize::from(request.pool)];
        let first = (request.stream, Address::NULL);
        let last = (request.stream, Address::new(u64::MAX));
        for &unmapped in pool.unmapped.range(first..=last).map(|(_, block)| block) {
            let before = self.blocks[unmapped].prev;
            let start =
                if before.is_some() && self.blocks[before].is_free() { before } else { unmapped };
            if self.has_room(start, request.size) {
                return Ok(Some(start));
            }
        }
        self.add_expandable(request)
    }

    fn has_room(&self, start: BlockId, size: Bytes) -> bool {
        let (mut block, mut room) = (start, Bytes::ZERO);
        while block.is_some()
            && room < size
            && matches!(self.blocks[block].state, BlockState::Free | BlockState::Unmapped)
        {
            room += self.blocks[block].size;
            block = self.blocks[block].next;
        }
        room >= size
    }

    /// Reserves addresses for a new segment; one unmapped block to begin with.
    fn add_expandable(&mut self, request: &Request) -> Result<Option<BlockId>, Error> {
        let growth = self.growth(request.class);
        let size = self.expandable_reserve().align_up(growth.handle);
        if size < request.size {
            return Ok(None);
        }
        let range = match self.device.reserve(size) {
            Ok(range) => range,
            Err(DeviceError::OutOfMemory { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        tracing::debug!(%range, unit = %growth.unit, "addresses reserved");
        let number = self.expandable.iter().position(Option::is_none);
        let number = number.unwrap_or_else(|| {
            self.expandable.push(None);
            self.expandable.len() - 1
        });
        self.expandable[number] = Some(ExpandableSegment::new(range, growth));
        let place = self.place_segment(size);
        let pool = &mut self.pools[usize::from(request.pool)];
        pool.segments += 1;
        let id = self.blocks.insert(Block {
            address: range.start(),
            size,
            place,
            expandable: u32::try_from(number).expect("fewer segments than blocks"),
            pool: request.pool,
            stream: request.stream,
            state: BlockState::Unmapped,
            ..Block::BLANK
        });
        pool.unmapped.insert((request.stream, range.start()), id);
        Ok(Some(id))
    }

    /// How the segments of a class grow.
    pub(crate) fn growth(&self, class: Class) -> Growth {
        Growth::new(class, self.config.large_segment_size, self.config.fine_growth)
    }

    /// How many bytes of addresses a new segment reserves.
    pub(crate) fn expandable_reserve(&self) -> Bytes {
        // An eighth more than there is memory: pages unmapped early can be mapped again late.
        let full = self.total + Bytes::new(self.total.get() / 8);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and saturating is right for a limit"
        )]
        match self.config.expandable_segments_reserve {
            None => full,
            Some(Reserve::Bytes(bytes)) => bytes.min(full),
            Some(Reserve::Fraction(part)) => {
                Bytes::new((part * self.total.as_f64()) as u64).min(full)
            }
        }
    }

    /// Maps pages at the front of an unmapped block, for `size` bytes or all it has, and merges the
    /// result with its free neighbours into a free block, `id`. `None`: too little memory.
    fn map_block(&mut self, id: BlockId, size: Bytes) -> Result<Option<AddressRange>, Error> {
        let block = &self.blocks[id];
        debug_assert!(!block.is_mapped());
        let (start, room) = (block.address, block.size);
        let (pool, stream, number) = (usize::from(block.pool), block.stream, block.expandable);
        let segment = self.expandable[number as usize].as_mut().expect("a live segment");
        let growth = segment.growth();
        let (wanted, missing) = (growth.wanted(size).min(room), size.min(room));
        let mut map =
            |size| segment.map(&self.device, AddressRange::new(start, size), &mut self.orphans);
        let generous = wanted.align_up(growth.unit) > missing.align_up(growth.unit);
        let mut mapped = None;
        if !generous || self.limit.allows(self.held, wanted) {
            mapped = map(wanted)?;
        }
        if mapped.is_none() && generous {
            mapped = map(missing)?;
        }
        let Some(mapped) = mapped else { return Ok(None) };
        self.pools[pool].unmapped.remove(&(stream, start));
        self.cut(id, mapped.size(), BlockState::Unmapped);
        self.blocks[id].state = BlockState::Free;
        for neighbour in [self.blocks[id].prev, self.blocks[id].next] {
            self.merge(id, neighbour);
        }
        self.pools[pool].insert(id, &mut self.blocks[id]);
        let class = self.pools[pool].class;
        self.held += mapped.size();
        self.note(Action::SegmentMap, mapped, stream, index(pool));
        self.ledger.reserved_bytes.up(class, mapped.size().as_i64());
        self.ledger.num_device_alloc += 1;
        Ok(Some(mapped))
    }

    /// Shortens a block that is in no list to `size`, leaving what is behind it as a block of
    /// `state` in its list.
    fn cut(&mut self, id: BlockId, size: Bytes, state: BlockState) {
        let block = &self.blocks[id];
        if size == block.size {
            return;
        }
        let (next, pool) = (block.next, usize::from(block.pool));
        let rest = Block {
            address: block.address + size,
            size: block.size - size,
            place: block.place + size.get(),
            state,
            ..block.clone()
        };
        let place = (rest.stream, rest.address);
        let new = self.blocks.insert(rest);
        self.blocks.splice(new, id, next);
        self.blocks[id].size = size;
        if state == BlockState::Unmapped {
            self.pools[pool].unmapped.insert(place, new);
        } else {
            self.pools[pool].insert(new, &mut self.blocks[new]);
        }
    }

    /// Unmaps all whole pages of a free block; the segment goes when nothing is left mapped.
    pub(crate) fn unmap_block(&mut self, id: BlockId) -> Result<(), Error> {
        let range = self.blocks[id].range();
        self.unmap_range(id, range)?;
        let block = &self.blocks[id];
        if block.is_mapped() || block.is_split() {
            return Ok(());
        }
        self.release_expandable(id)
    }

    /// Gives back the addresses of a segment that is one unmapped block.
    fn release_expandable(&mut self, id: BlockId) -> Result<(), Error> {
        let block = &self.blocks[id];
        let (number, pool) = (block.expandable as usize, usize::from(block.pool));
        let place = (block.stream, block.address);
        let segment = self.expandable[number].as_mut().expect("a live segment");
        segment.clear_leftovers(&self.device, segment.range(), &mut self.orphans)?;
        self.device.unreserve(segment.range())?;
        self.expandable[number] = None;
        self.pools[pool].unmapped.remove(&place);
        self.pools[pool].segments -= 1;
        self.blocks.remove(id);
        Ok(())
    }

    /// Gives back the addresses of segments that nothing is mapped in: those that never got memory.
    pub(crate) fn release_unused_addresses(&mut self) -> Result<(), Error> {
        let unmapped = self.pools.iter().flat_map(|pool| pool.unmapped.values().copied());
        let unused = unmapped.filter(|&id| {
            let block = &self.blocks[id];
            !block.is_split() && block.expandable != STITCHED
        });
        let unused: Vec<BlockId> = unused.collect();
        let mut outcome = Ok(());
        for id in unused {
            outcome = outcome.and(self.release_expandable(id));
        }
        outcome
    }

    /// Unmaps the whole pages of `range`, which lies in the free block `id`.
    fn unmap_range(&mut self, id: BlockId, range: AddressRange) -> Result<(), Error> {
        let block = &self.blocks[id];
        let (pool, number) = (usize::from(block.pool), block.expandable as usize);
        let stream = block.stream;
        let segment = self.expandable[number].as_mut().expect("a live segment");
        if segment.whole_page_bytes(range).is_zero() {
            return Ok(());
        }
        // Unmapping does not wait for the work that may still use the pages.
        self.device.synchronize_stream(self.streams.id(block.stream))?;
        let (unmapped, outcome) = segment.unmap(&self.device, range, &mut self.orphans);
        if unmapped.size().is_zero() {
            return outcome;
        }
        self.pools[pool].remove(&self.blocks[id]);
        self.set_unmapped(id, unmapped);
        let class = self.pools[pool].class;
        self.held -= unmapped.size();
        self.note(Action::SegmentUnmap, unmapped, stream, index(pool));
        self.ledger.reserved_bytes.down(class, unmapped.size().as_i64());
        self.ledger.num_device_free += 1;
        outcome
    }

    /// Cuts a free block that is in no list so that `id` is just `range`, unmapped and in its list.
    fn set_unmapped(&mut self, id: BlockId, range: AddressRange) {
        let block = &self.blocks[id];
        let (pool, prev) = (usize::from(block.pool), block.prev);
        let before = range.start().offset_from(block.address);
        self.cut(id, before + range.size(), BlockState::Free);
        if !before.is_zero() {
            let front = Block { size: before, ..self.blocks[id].clone() };
            let front = self.blocks.insert(front);
            self.blocks.splice(front, prev, id);
            self.pools[pool].insert(front, &mut self.blocks[front]);
        }
        let block = &mut self.blocks[id];
        block.address = range.start();
        block.place += before.get();
        block.size = range.size();
        block.state = BlockState::Unmapped;
        for neighbour in [self.blocks[id].prev, self.blocks[id].next] {
            self.merge(id, neighbour);
        }
        let block = &self.blocks[id];
        self.pools[pool].unmapped.insert((block.stream, block.address), id);
    }

    /// Takes back a mapping of a request that failed. The pages were never handed out.
    fn undo_map(&mut self, id: BlockId, range: AddressRange) {
        // `id` may have been merged into a later block of the same request: find it by address.
        let holder = self.blocks.iter().find(|(_, block)| {
            block.is_free() && block.is_expandable() && block.range().covers(range)
        });
        let Some((holder, _)) = holder else { return };
        if let Err(error) = self.unmap_range(holder, range) {
            tracing::error!(?id, %range, %error, "pages of a failed request stay mapped");
        }
    }
}
