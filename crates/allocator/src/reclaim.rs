//! Giving memory back to the device, cheapest first.

use freeboard_device::Device;
use freeboard_units::Bytes;

use crate::block::BlockId;
use crate::error::Error;
use crate::free_list::Key;
use crate::policy::garbage;
use crate::request::Request;
use crate::state::State;
use crate::stats::Class;

/// The pool that garbage is collected in.
const LARGE: usize = Class::Large as usize;

impl<D: Device> State<D> {
    /// Gives back long unused segments while more is held than the threshold allows.
    pub(crate) fn collect_garbage(&mut self) -> Result<(), Error> {
        let Some(policy) = self.garbage.filter(|_| self.counts_age) else { return Ok(()) };
        let allowed = self.limit.allowed.unwrap_or(self.total);
        let excess = policy.excess(self.held, allowed);
        if excess.is_zero() {
            return Ok(());
        }
        let age =
            |state: &Self, id: BlockId| state.pools[LARGE].searches - state.blocks[id].free_since;
        let mut candidates: Vec<BlockId> = self.pools[LARGE].free_blocks().collect();
        candidates.retain(|&id| !self.blocks[id].is_split());
        let mut total_age: u64 = candidates.iter().map(|&id| age(self, id)).sum();
        let mut count = candidates.len() as u64;
        candidates.retain(|&id| !self.blocks[id].is_expandable());

        let (mut reclaimed, mut freed) = (Bytes::ZERO, true);
        while reclaimed < excess
            && freed
            && let Some(limit) = garbage::age_limit(total_age, count)
        {
            freed = false;
            let (old, young): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|&id| {
                #[expect(clippy::cast_precision_loss, reason = "ages are compared to an average")]
                let age = age(self, id) as f64;
                age >= limit
            });
            for id in old {
                freed = true;
                reclaimed += self.blocks[id].size;
                total_age -= age(self, id);
                count -= 1;
                self.release_segment(id)?;
            }
            candidates = young;
        }
        self.ledger.stalls += i64::from(!reclaimed.is_zero());
        Ok(())
    }

    /// Gives back oversize blocks of the request's stream: one that is large enough, or as many
    /// as it takes, largest first. Whether that is enough for the request.
    pub(crate) fn release_oversize(&mut self, request: &Request) -> Result<bool, Error> {
        if !self.split.limits() {
            return Ok(false);
        }
        let wanted = request.size.max(self.split.max_split);
        let pool = &self.pools[usize::from(request.pool)];
        let Some(list) = pool.list(request.stream) else { return Ok(false) };
        let whole = |id: BlockId| !self.blocks[id].is_expandable() && !self.blocks[id].is_split();
        if let Some(found) = list.at_least(Key::from_size(wanted))
            && whole(found.entry.block)
        {
            self.ledger.stalls += 1;
            self.release_segment(found.entry.block)?;
            return Ok(true);
        }
        let mut oversize: Vec<_> = list
            .iter()
            .filter(|entry| entry.key.size < wanted && self.split.is_oversize(entry.key.size))
            .filter(|entry| whole(entry.block))
            .copied()
            .collect();
        oversize.sort_unstable_by_key(|entry| entry.key.rank());
        let mut released = Bytes::ZERO;
        while released < wanted
            && let Some(entry) = oversize.pop()
        {
            self.release_segment(entry.block)?;
            released += entry.key.size;
        }
        self.ledger.stalls += i64::from(!released.is_zero());
        Ok(released >= wanted)
    }

    /// Waits for everything pending, then gives back all that is not in use.
    ///
    /// What fails is left as it is and does not keep the rest from going; the first error is told.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        tracing::debug!(held = %self.held, "everything cached is given back");
        self.ledger.stalls += 1;
        let waited = self.synchronize_events();
        self.release_orphans();
        let shared = if self.stitch.on {
            self.give_back()
        } else {
            let large = self.release_pool(LARGE);
            large.and(self.release_pool(Class::Small as usize))
        };
        let private = self.release_freeable();
        waited.and(shared).and(private)
    }

    /// Gives back what keeps memory for nobody: private pools that nobody holds, and what could not
    /// be given back before. Whether that was anything.
    pub(crate) fn release_leftovers(&mut self) -> Result<bool, Error> {
        let (held, orphans) = (self.held, self.orphans.len());
        self.release_orphans();
        self.release_freeable()?;
        let freed = self.held < held || self.orphans.len() < orphans;
        self.ledger.stalls += i64::from(self.held < held);
        Ok(freed)
    }

    /// Gives back what is free in private pools that nobody holds.
    pub(crate) fn release_freeable(&mut self) -> Result<(), Error> {
        let mut outcome = Ok(());
        for pool in self.freeable_pools().into_iter().flatten() {
            outcome = outcome.and(self.release_pool(pool));
        }
        self.forget_empty_pools();
        outcome
    }

    /// Gives back every free segment and every free page of a pool.
    fn release_pool(&mut self, pool: usize) -> Result<(), Error> {
        let free: Vec<BlockId> = self.pools[pool].free_blocks().collect();
        let (pages, segments): (Vec<_>, Vec<_>) =
            free.into_iter().partition(|&id| self.blocks[id].is_expandable());
        let mut outcome = Ok(());
        for id in segments {
            if !self.blocks[id].is_split() {
                outcome = outcome.and(self.release_segment(id));
            }
        }
        // Unmapping a block may cut others off it, but never touches another free block.
        for id in pages {
            outcome = outcome.and(self.unmap_block(id));
        }
        outcome
    }

    fn release_orphans(&mut self) {
        let device = &self.device;
        self.orphans.retain(|&handle| device.release(handle).is_err());
    }
}
