//! The way back: what a plan has handed out becomes ordinary blocks, and the rest free memory.

use freeboard_device::Device;
use freeboard_snapshot::Action;
use freeboard_units::{Address, AddressRange};

use super::Region;
use crate::block::{BlockId, BlockState, STITCHED};
use crate::state::State;
use crate::stitch::Coat;

impl<D: Device> State<D> {
    /// Gives up the region, if there is one. Whether there was. Bookkeeping only.
    pub(crate) fn disengage(&mut self) -> bool {
        let Some(region) = self.steady.region.take() else { return false };
        if let Some(server) = &mut self.steady.server {
            let position = server.position();
            for entry in server.live().collect::<Vec<_>>() {
                server.freed(entry);
            }
            server.follow(position);
        }
        let Region { block, places, bands } = region;
        self.note_text(Action::Plan, self.blocks[block].range(), "left");
        let origin = (self.blocks[block].address, self.blocks[block].place);
        let mut live = Vec::new();
        for id in places.into_iter().filter(|id| id.is_some()) {
            let place = &mut self.blocks[id];
            if place.state == BlockState::Plan {
                self.blocks.remove(id);
                continue;
            }
            if place.state == BlockState::Planned {
                place.state = BlockState::Allocated;
            }
            place.expandable = STITCHED;
            place.place = origin.1 + place.address.offset_from(origin.0).get();
            place.free_since = 0;
            live.push(id);
        }
        live.sort_unstable_by_key(|&id| self.blocks[id].address);
        self.free_stretch(block, &bands, &live);
        self.steady.counts.region_bytes = freeboard_units::Bytes::ZERO;
        true
    }

    /// Puts blocks where a region was, and makes what is between them free, for the stream of each
    /// band.
    pub(super) fn free_stretch(
        &mut self,
        region: BlockId,
        bands: &[(Address, u16)],
        live: &[BlockId],
    ) {
        let whole = self.blocks[region].clone();
        let (mut at, mut prev) = (whole.address, whole.prev);
        let ends = live.iter().map(|&id| Some(id)).chain([None]).collect::<Vec<_>>();
        for next in ends {
            let end = next.map_or(whole.end(), |id| self.blocks[id].address);
            while at < end {
                let band = bands.iter().find(|(to, _)| *to > at).or(bands.last());
                let (to, stream) = band.copied().unwrap_or((end, whole.stream));
                let to = if to > at { to.min(end) } else { end };
                let gap = AddressRange::new(at, to.offset_from(at));
                let place = whole.place + at.offset_from(whole.address).get();
                let since = self.pools[usize::from(whole.pool)].searches;
                let id = self.lay(whole.pool, place, gap, Coat::Free { stream, since });
                self.blocks.splice(id, prev, BlockId::NONE);
                prev = id;
                at = to;
            }
            if let Some(id) = next {
                self.blocks.splice(id, prev, BlockId::NONE);
                at = self.blocks[id].end();
                prev = id;
            }
        }
        self.blocks[prev].next = whole.next;
        if whole.next.is_some() {
            self.blocks[whole.next].prev = prev;
        }
        self.blocks.remove(region);
        self.merge_ends(whole.prev, whole.next);
    }

    /// Merges what meets the neighbours of a former region.
    fn merge_ends(&mut self, before: BlockId, after: BlockId) {
        let first = if before.is_some() { Some((before, self.blocks[before].next)) } else { None };
        let last = if after.is_some() { Some((self.blocks[after].prev, after)) } else { None };
        for (front, back) in [last, first].into_iter().flatten() {
            if front.is_none() || back.is_none() {
                continue;
            }
            let (a, b) = (&self.blocks[front], &self.blocks[back]);
            if a.is_free() && b.is_free_for(a.stream) {
                let pool = usize::from(a.pool);
                self.pools[pool].remove(&self.blocks[front]);
                self.merge(front, back);
                self.pools[pool].insert(front, &mut self.blocks[front]);
            }
        }
    }
}
