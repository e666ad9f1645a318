//! Stitching: free memory, wherever it lies, becomes one range of addresses.
//!
//! Memory is held in *handles* of 2 to 64 MiB. A handle may be mapped at several places, its
//! *slots*; its bytes exist only at one of them, where it is *awake*. A handle without a live byte
//! can wake at another slot, or be mapped at a new place: whole free handles from anywhere make up
//! one range, and nothing is moved, given back to the driver, or waited for on the host.
//!
//! Addresses come from three *arenas*, for small, large and round sizes, that all streams share. A
//! new mapping goes to the arena's *frontier*, right behind the mapping before it, so that requests
//! share pages across handles. Blocks tile an arena as they tile any segment; a block that is
//! [`Unmapped`](crate::block::BlockState::Unmapped) covers slots asleep and addresses never used.
//!
//! The rungs, each on a page of its own: best fit, `window` (wake handles so that a stretch of
//! slots is free), `extend` (take what is missing at the frontier: from the device, or handles that
//! are free elsewhere), and at the limit `hurry` (pending blocks) and any fit at all. `order` keeps
//! streams apart, `divide` makes large handles anew as small ones near the limit, `trim` keeps
//! mappings within their budget, and `repaint` is the one place where blocks of an arena change.

mod arena;
mod check;
mod divide;
mod driver;
mod extend;
mod give_back;
mod mappings;
mod order;
mod region;
mod repaint;
mod retire;
mod servable;
mod stats;
mod survey;
mod trim;
mod window;

use freeboard_device::{Device, Handle};
use freeboard_units::{AddressRange, Bytes};

use crate::block::BlockId;
use crate::config::Config;
use crate::error::Error;
use crate::free_list::{self, Key};
use crate::policy::stitching::{Means, ROUND, SHARED_POOLS, StitchPolicy, TIGHT_HANDLE};
use crate::request::{Grant, Request};
use crate::state::State;

use arena::Arena;
use mappings::Mappings;
use order::Orders;
pub(crate) use repaint::Coat;
pub use stats::Stitching;
use survey::Thoroughness;

/// What stitching keeps beside the blocks.
#[derive(Debug)]
pub(crate) struct Stitch {
    /// Whether the shared pools are stitched at all.
    pub(crate) on: bool,
    policy: StitchPolicy,
    /// What sizes are tested with: see [`StitchPolicy::pool`].
    pub(crate) round_mask: u64,
    /// The largest free block that may be cut without a closer look at its handles.
    pub(crate) uncut: Bytes,
    arenas: [Arena; SHARED_POOLS],
    mappings: Mappings,
    orders: Orders,
    /// Mappings that could not be undone when a request failed, with the handle to release after.
    scars: Vec<(AddressRange, Option<Handle>)>,
    /// The most bytes live at once, whatever peaks were reset.
    most_live: Bytes,
    counts: Stitching,
}

impl Stitch {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            on: config.stitching,
            policy: StitchPolicy {
                reserve_target: config.reserve_target,
                mappings: config.mapping_budget,
            },
            round_mask: if config.stitching { ROUND.get() - 1 } else { u64::MAX },
            uncut: Bytes::MAX,
            arenas: Default::default(),
            mappings: Mappings::default(),
            orders: Orders::default(),
            scars: Vec::new(),
            most_live: Bytes::ZERO,
            counts: Stitching::default(),
        }
    }
}

/// What came of a rung.
#[derive(Clone, Copy, Debug)]
enum Found {
    /// A block that is in no list.
    Block(BlockId),
    /// There is too little.
    Nothing,
    /// A handle was divided and its memory not to be had again: surveys made before are void.
    Lost,
}

impl<D: Device> State<D> {
    /// Whether a pool's memory is stitched.
    pub(crate) fn is_stitched(&self, pool: usize) -> bool {
        self.stitch.on && pool < SHARED_POOLS
    }

    /// The ladder where memory is stitched. See `acquire.rs` for the other one.
    pub(crate) fn stitch(&mut self, request: &Request) -> Result<Option<Grant>, Error> {
        self.stitch.orders.note_use(request.stream);
        let Means { held, capacity, .. } = self.means(Bytes::ZERO);
        if request.size > capacity.max(held) {
            return Ok(None); // more than there can ever be
        }
        self.trim();
        if let Some(grant) = self.serve_closely(request) {
            return Ok(Some(grant));
        }
        if let Some(grant) = self.assemble(request, Thoroughness::Quick)? {
            return Ok(Some(grant));
        }
        if let Some(grant) = self.assemble(request, Thoroughness::Complete)? {
            return Ok(Some(grant));
        }
        // What is set aside for a plan serves at once when it is needed elsewhere.
        if self.disengage()
            && let Some(grant) = self.serve_or_assemble(request)?
        {
            return Ok(Some(grant));
        }
        // Too little is whole. What other streams have yet to finish with comes next, oldest first.
        while self.hurry(request)? {
            if let Some(grant) = self.serve_or_assemble(request)? {
                return Ok(Some(grant));
            }
        }
        // Any free bytes at all, in whichever arena.
        for pool in (0..SHARED_POOLS).filter(|&pool| pool != usize::from(request.pool)) {
            let class = self.pools[pool].class;
            let elsewhere = Request { pool: index(pool), class, ..*request };
            if let Some(grant) = self.serve_closely(&elsewhere) {
                return Ok(Some(grant));
            }
            let whole = self.whole_handles(Thoroughness::Complete, self.usable(request));
            if let Found::Block(block) = self.open_window(&elsewhere, &whole)? {
                return Ok(Some(self.finish(&elsewhere, block)));
            }
        }
        Ok(None)
    }

    fn serve_or_assemble(&mut self, request: &Request) -> Result<Option<Grant>, Error> {
        match self.serve_closely(request) {
            None => self.assemble(request, Thoroughness::Complete),
            found => Ok(found),
        }
    }

    /// Serves a request from whole handles and new ones.
    fn assemble(
        &mut self,
        request: &Request,
        thoroughness: Thoroughness,
    ) -> Result<Option<Grant>, Error> {
        loop {
            let whole = self.whole_handles(thoroughness, self.usable(request));
            let found = match self.open_window(request, &whole)? {
                Found::Nothing => self.extend(request, &whole)?,
                found => found,
            };
            match found {
                Found::Block(block) => return Ok(Some(self.finish(request, block))),
                Found::Nothing => return Ok(None),
                // Not for ever: every loss is one of memory.
                Found::Lost => {}
            }
        }
    }

    /// Best fit near the limit: a free block of the stream, whose handles are looked at before it
    /// is cut.
    pub(crate) fn serve_closely(&mut self, request: &Request) -> Option<Grant> {
        let list = self.pools[usize::from(request.pool)].list(request.stream)?;
        let free_list::Found { entry, .. } = list.at_least(Key::from_size(request.size))?;
        let at = self.blocks[entry.block].address;
        let taken = self.take(entry.block, AddressRange::new(at, request.size));
        let Found::Block(block) = taken else { return None };
        Some(self.finish(request, block))
    }

    /// Takes a range of a free block out of all lists.
    fn take(&mut self, block: BlockId, range: AddressRange) -> Found {
        if self.divide(block, range.end()) {
            return Found::Block(self.cut_out(block, range));
        }
        Found::Lost
    }

    /// What can be had, if `more` bytes come to life.
    fn means(&mut self, more: Bytes) -> Means {
        let most_live = self.ledger.peak_live_bytes().max(self.stitch.most_live);
        self.stitch.most_live = most_live;
        let peak = most_live.max(self.ledger.live_bytes() + more);
        let early = self.limit.room_before_rejection(self.held, self.total);
        let allowed = self.limit.allowed.unwrap_or(self.total).min(self.total);
        let capacity = allowed.min(self.held.saturating_add(early));
        Means { held: self.held, capacity, peak }
    }

    /// Looks more closely at what is cut once the limit is near.
    fn note_nearness(&mut self) {
        let tight = StitchPolicy::is_tight(self.means(Bytes::ZERO));
        self.stitch.uncut = if tight { TIGHT_HANDLE } else { Bytes::MAX };
    }
}

/// A pool's number, as blocks hold it.
#[expect(clippy::cast_possible_truncation, reason = "fewer than 65,536 pools")]
pub(crate) const fn index(pool: usize) -> u16 {
    pool as u16
}
