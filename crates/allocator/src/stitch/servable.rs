//! The largest request that stitched memory would serve now, pending blocks left aside.

use freeboard_device::Device;
use freeboard_units::{AddressRange, Bytes};

use super::survey::{Thoroughness, Usable};
use crate::error::Error;
use crate::oom::Stitched;
use crate::policy::placement::{PAGE, SMALL};
use crate::policy::rounding::MIN_BLOCK;
use crate::policy::stitching::{ROUND, SHARED_POOLS};
use crate::state::State;

impl<D: Device> State<D> {
    /// A request of this many bytes is served; a slightly larger one may be.
    pub(crate) fn largest_stitched(&self) -> Result<Bytes, Error> {
        let usable = Usable::All;
        let allowed = self.limit.allowed.unwrap_or(Bytes::MAX);
        let early = self.limit.room_before_rejection(self.held, self.total);
        let limit = allowed.saturating_sub(self.held).min(early);
        let room = self.device.info()?.free.min(limit).align_down(PAGE);
        let [small, large, round] = [0, 1, 2].map(|pool| self.reach(pool, usable) + room);
        // A multiple of 8 MiB belongs to the round pool.
        let large = if large.is_aligned(ROUND) { large.saturating_sub(MIN_BLOCK) } else { large };
        let run = self.longest_run(usable);
        let best = run.max(large).max(round.align_down(ROUND));
        Ok(if best > SMALL { best } else { run.max(small).min(SMALL) })
    }

    /// Free bytes that meet at a pool's frontier: its free tail, and whole handles from anywhere.
    pub(super) fn reach(&self, pool: usize, usable: Usable) -> Bytes {
        let front = self.stitch.arenas[pool].frontier.map(AddressRange::start);
        let hole = front.and_then(|front| self.unmapped_at(pool, front));
        let tail = hole
            .filter(|&hole| Some(self.blocks[hole].address) == front)
            .and_then(|hole| self.free_before(hole, usable).first().copied())
            .map(|first| self.run_around(first, usable).range);
        let outside = |range: AddressRange| tail.is_none_or(|tail| !tail.overlaps(range));
        let whole = self.whole_handles(Thoroughness::Complete, usable);
        let whole: Bytes = whole
            .iter()
            .map(|whole| whole.range)
            .filter(|&r| outside(r))
            .map(AddressRange::size)
            .sum();
        tail.map_or(Bytes::ZERO, AddressRange::size) + whole
    }

    /// What is free at the moment of a refusal.
    pub(crate) fn stitched(&self) -> Stitched {
        let usable = Usable::All;
        let whole = self.whole_handles(Thoroughness::Complete, usable);
        Stitched {
            whole: whole.iter().map(|whole| whole.range.size()).sum(),
            longest: self.longest_run(usable),
            reach: (0..SHARED_POOLS).map(|pool| self.reach(pool, usable)).max().unwrap_or_default(),
            stitching: self.stitching(),
            planning: self.planning(),
        }
    }

    fn longest_run(&self, usable: Usable) -> Bytes {
        let mut longest = Bytes::ZERO;
        for pool in 0..SHARED_POOLS {
            for list in &self.pools[pool].free {
                for entry in list.iter() {
                    longest = longest.max(self.run_around(entry.block, usable).range.size());
                }
            }
        }
        longest
    }
}
