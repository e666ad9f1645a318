//! Extending the frontier: what is missing comes from the device while that is cheap, and from
//! whole free handles otherwise.

use freeboard_device::{Device, DeviceError, Handle};
use freeboard_snapshot::Action;
use freeboard_units::{Address, AddressRange, Bytes};

use super::Found;
use super::repaint::Coat;
use super::survey::Whole;
use crate::block::BlockId;
use crate::error::Error;
use crate::policy::stitching::{Means, StitchPolicy, pages};
use crate::request::Request;
use crate::state::State;

/// What would be mapped, in this order.
struct Extension {
    /// Where the request's bytes begin: at free memory right before the frontier, if there is any.
    base: Address,
    /// The free blocks from there to the frontier.
    tail: Vec<BlockId>,
    /// Where mapping begins.
    front: Address,
    stitched: Vec<Whole>,
    new: Vec<Bytes>,
}

impl Extension {
    fn size(&self) -> Bytes {
        let stitched: Bytes = self.stitched.iter().map(|whole| whole.range.size()).sum();
        stitched + self.new.iter().copied().sum()
    }
}

/// The largest handle, and the most that is taken in advance: an extension is longer than what is
/// missing by less than both together.
const SLACK: Bytes = Bytes::mib(128);

impl<D: Device> State<D> {
    /// Serves a request from the frontier of its arena.
    pub(super) fn extend(&mut self, request: &Request, whole: &[Whole]) -> Result<Found, Error> {
        let means = self.means(request.size);
        self.extend_within(request, whole, means, true)
    }

    /// As [`State::extend`], with these means, and taking memory from the device first, where that
    /// is cheap, only if told so.
    pub(super) fn extend_within(
        &mut self,
        request: &Request,
        whole: &[Whole],
        mut means: Means,
        may_take_first: bool,
    ) -> Result<Found, Error> {
        let pool = usize::from(request.pool);
        let Some(room) = pages(request.size) else { return Ok(Found::Nothing) };
        if !self.prepare_frontier(pool, room + SLACK)? {
            return Ok(Found::Nothing);
        }
        for _ in 0..2 {
            let extension = self.plan_extension(request, whole, means, may_take_first);
            let Some(extension) = extension else { break };
            match self.carry_out(request, &extension) {
                Ok(made) => return Ok(self.enter_extension(request, &extension, made)),
                Err(DeviceError::OutOfMemory { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            // The device has less than it seemed: others use it, too.
            means.capacity = means.capacity.min(self.held.saturating_add(self.device.info()?.free));
        }
        Ok(Found::Nothing)
    }

    /// What to map for a request; `None` where there is too little.
    fn plan_extension(
        &self,
        request: &Request,
        whole: &[Whole],
        means: Means,
        may_take_first: bool,
    ) -> Option<Extension> {
        let pool = usize::from(request.pool);
        let front = self.stitch.arenas[pool].frontier?.start();
        let hole = self.unmapped_at(pool, front)?;
        let usable = self.usable(request);
        let tail = if self.blocks[hole].address == front {
            self.free_before(hole, usable)
        } else {
            Vec::new()
        };
        let base = tail.first().map_or(front, |&id| self.blocks[id].address);
        let needed = pages(request.size.saturating_sub(front.offset_from(base)))?;
        let (mut missing, mut stitched) = (needed, Vec::new());
        if !(may_take_first && self.stitch.policy.prefers_growing(means, missing)) {
            let tail = AddressRange::new(base, front.offset_from(base));
            for whole in whole.iter().filter(|whole| !tail.overlaps(whole.range)) {
                if missing.is_zero() {
                    break;
                }
                missing = missing.saturating_sub(whole.range.size());
                stitched.push(*whole);
            }
        }
        let mut new = Vec::new();
        if !missing.is_zero() {
            if means.held.saturating_add(missing) > means.capacity {
                return None;
            }
            let mut left = StitchPolicy::growth(request.pool, missing, means);
            let largest = StitchPolicy::largest_handle(request.pool, means);
            while !left.is_zero() {
                let size = left.min(largest);
                new.push(size);
                left -= size;
            }
        }
        let extension = Extension { base, tail, front, stitched, new };
        (!extension.size().is_zero()).then_some(extension)
    }

    /// Maps an extension, which is still to be entered. After an error nothing changed.
    fn carry_out(
        &mut self,
        request: &Request,
        extension: &Extension,
    ) -> Result<Vec<Handle>, DeviceError> {
        self.order_blocks(request, extension.tail.iter().copied())?;
        self.order_sources(request, &extension.stitched)?;
        let made = self.create(&extension.new)?;
        self.map_extension(request, extension, &made)?;
        Ok(made)
    }

    /// New handles, all or none.
    fn create(&mut self, sizes: &[Bytes]) -> Result<Vec<Handle>, DeviceError> {
        let mut made = Vec::with_capacity(sizes.len());
        for &size in sizes {
            match self.create_handle(size) {
                Ok(handle) => made.push(handle),
                Err(error) => {
                    self.release_handles(made);
                    return Err(error);
                }
            }
        }
        Ok(made)
    }

    /// Maps all parts and gives access to them, or nothing.
    fn map_extension(
        &mut self,
        request: &Request,
        extension: &Extension,
        made: &[Handle],
    ) -> Result<(), DeviceError> {
        let stitched = extension
            .stitched
            .iter()
            .map(|whole| (self.stitch.mappings.get(whole.number).handle, whole.range.size()));
        let parts: Vec<(Handle, Bytes)> =
            stitched.chain(made.iter().copied().zip(extension.new.iter().copied())).collect();
        let (mut at, mut mapped, mut outcome) = (extension.front, Vec::new(), Ok(()));
        for &(handle, size) in &parts {
            let range = AddressRange::new(at, size);
            outcome = self.map(range, handle);
            if outcome.is_err() {
                break;
            }
            mapped.push((range, handle));
            at = at + size;
        }
        let all = AddressRange::new(extension.front, extension.size());
        outcome = outcome.and_then(|()| self.set_access(all));
        if outcome.is_err() {
            self.undo_mappings(usize::from(request.pool), mapped, made);
        }
        outcome
    }

    /// Takes back mappings that nobody has used. One that stays leaves a scar.
    fn undo_mappings(&mut self, pool: usize, mapped: Vec<(AddressRange, Handle)>, made: &[Handle]) {
        let mut unused: Vec<Handle> = made.to_vec();
        for (range, handle) in mapped {
            if let Err(error) = self.unmap(range) {
                tracing::error!(%range, %error, "a mapping stays until the cache is emptied");
                let is_new = unused.contains(&handle);
                unused.retain(|other| *other != handle);
                self.stitch.scars.push((range, is_new.then_some(handle)));
                self.stitch.arenas[pool].frontier = None; // begins elsewhere
            }
        }
        self.release_handles(unused);
    }

    /// Enters what has been mapped into the books, and takes the request's bytes out of it.
    fn enter_extension(
        &mut self,
        request: &Request,
        extension: &Extension,
        made: Vec<Handle>,
    ) -> Found {
        let (pool, size) = (usize::from(request.pool), extension.size());
        let mut at = extension.front;
        let mut moves = Vec::new();
        for whole in &extension.stitched {
            self.stitch.mappings.add_slot(whole.number, at);
            moves.push((*whole, at));
            at = at + whole.range.size();
        }
        let taken: Bytes = extension.new.iter().copied().sum();
        let fresh = AddressRange::new(at, taken);
        for (handle, &size) in made.into_iter().zip(&extension.new) {
            self.stitch.mappings.add(handle, AddressRange::new(at, size));
            at = at + size;
        }
        self.count_extension(request, extension, taken);
        self.steady.note_trouble();
        self.put_to_sleep(request, &moves);
        if !taken.is_zero() {
            self.note(Action::SegmentMap, fresh, request.stream, request.pool);
        }
        let arena = &mut self.stitch.arenas[pool];
        arena.frontier =
            arena.frontier.map(|frontier| AddressRange::new(at, frontier.end().offset_from(at)));
        // Putting handles to sleep may have made the blocks around the frontier anew.
        let hole = self.unmapped_at(pool, extension.front).expect("addresses at the frontier");
        let mut first = hole;
        while self.blocks[first].address > extension.base {
            first = self.blocks[first].prev;
        }
        let mine = Coat::Free { stream: request.stream, since: self.stitch.orders.tick };
        let range = AddressRange::new(extension.base, request.size);
        let coats = [(AddressRange::new(extension.front, size), mine), (range, mine)];
        let block = self.repaint(first, hole, &coats, extension.base);
        self.note_nearness();
        self.take(block, range)
    }

    fn count_extension(&mut self, request: &Request, extension: &Extension, taken: Bytes) {
        self.held += taken;
        self.ledger.reserved_bytes.up(request.class, taken.as_i64());
        self.ledger.num_device_alloc += i64::from(!taken.is_zero());
        let counts = &mut self.stitch.counts;
        counts.extensions += 1;
        if !extension.stitched.is_empty() {
            counts.stitches += 1;
            counts.stitched_bytes += extension.size() - taken;
        }
    }
}
