//! Private pools: memory set apart for captured graphs, or for a part of a program.
//!
//! Between begin and end, requests that a filter picks are served from the pool. A graph replays
//! at the addresses it was captured with, so a pool's memory goes back to the device only when
//! every user has released it.

use std::fmt;

use freeboard_device::Device;
use freeboard_units::StreamId;
use serde::{Deserialize, Serialize};

use crate::allocator::CachingAllocator;
use crate::error::Error;
use crate::policy::stitching::SHARED_POOLS;
use crate::pool::Pool;
use crate::state::State;
use crate::stats::Class;

/// A private pool, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolId(pub(crate) u32);

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "private pool {}", self.0)
    }
}

/// How a private pool behaves. Default: neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PoolOptions {
    /// Lend free blocks to requests outside the pool that would otherwise run out of memory.
    pub use_on_oom: bool,
    /// Never cut a block: every request gets a whole segment.
    pub no_split: bool,
}

impl PoolOptions {
    /// Lending free blocks to requests that would otherwise run out of memory.
    #[must_use]
    pub const fn lending(mut self) -> Self {
        self.use_on_oom = true;
        self
    }

    /// Never cutting blocks.
    #[must_use]
    pub const fn unsplit(mut self) -> Self {
        self.no_split = true;
        self
    }
}

/// Why allocations go to a private pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolUse {
    /// A graph is being captured: events must be neither recorded nor asked for, and nothing is
    /// given back until the end.
    Capture,
    /// The program chose the pool; everything else works as usual.
    Choice,
}

/// Picks the streams whose requests go to a pool.
pub(crate) type StreamFilter = Box<dyn Fn(StreamId) -> bool + Send>;

/// A pool that requests currently go to.
pub(crate) struct Capture {
    pool: u32,
    picks: StreamFilter,
    purpose: PoolUse,
}

/// A private pool and who needs it.
#[derive(Clone, Debug)]
pub(crate) struct PrivatePool {
    pub(crate) options: PoolOptions,
    /// Its small and its large pool, by number.
    pools: [u16; 2],
    /// Holders: whoever made it, and every use that has not released it.
    holders: u32,
}

impl PrivatePool {
    /// Drops all holders.
    pub(crate) fn abandon(&mut self) {
        self.holders = 0;
    }

    /// Whether its free memory may go back to the device.
    pub(crate) const fn is_freeable(&self) -> bool {
        self.holders == 0
    }
}

/// Private pools.
impl<D: Device> CachingAllocator<D> {
    /// Makes a private pool. Its maker holds it until [`release_pool`](Self::release_pool).
    pub fn create_pool(&self, options: PoolOptions) -> PoolId {
        self.state.lock().create_private(options)
    }

    /// Serves requests of the streams that `picks` chooses from the pool, until
    /// [`end_pool`](Self::end_pool). This use holds the pool until it is released, too. Of several
    /// pools that pick a stream, the one begun last serves it.
    ///
    /// `picks` runs under the lock and must use neither the allocator nor its allocations.
    ///
    /// # Errors
    /// When there is no such pool, or its use has begun already.
    pub fn begin_pool(
        &self,
        pool: PoolId,
        purpose: PoolUse,
        picks: impl Fn(StreamId) -> bool + Send + 'static,
    ) -> Result<(), Error> {
        self.state.lock().begin_private(pool, purpose, Box::new(picks))
    }

    /// Ends what [`begin_pool`](Self::begin_pool) began.
    ///
    /// # Errors
    /// When its use has not begun.
    pub fn end_pool(&self, pool: PoolId) -> Result<(), Error> {
        self.state.lock().end_private(pool)
    }

    /// Releases one hold on the pool. Without any, its free memory goes back to the device when
    /// the cache is emptied, and its allocations when they are freed.
    ///
    /// # Errors
    /// When there is no such pool.
    pub fn release_pool(&self, pool: PoolId) -> Result<(), Error> {
        self.state.lock().release_private(pool)
    }
}

impl<D: Device> State<D> {
    /// Makes a pool with one holder.
    pub(crate) fn create_private(&mut self, options: PoolOptions) -> PoolId {
        let id = self.next_private;
        self.next_private += 1;
        let pools = [Class::Small, Class::Large].map(|class| {
            let pool = Pool::new(class, Some(id));
            let vacant = self.pools.iter().skip(SHARED_POOLS).position(|p| p.owner.is_none());
            let place = vacant.map_or(self.pools.len(), |place| place + SHARED_POOLS);
            if place == self.pools.len() {
                self.pools.push(pool);
            } else {
                self.pools[place] = pool;
            }
            u16::try_from(place).expect("fewer pools than streams")
        });
        self.private.insert(id, PrivatePool { options, pools, holders: 1 });
        PoolId(id)
    }

    fn private_mut(&mut self, id: PoolId) -> Result<&mut PrivatePool, Error> {
        let pool = self.private.get_mut(&id.0).filter(|pool| pool.holders > 0);
        pool.ok_or(Error::UnknownPool { pool: id })
    }

    /// Sends requests of the streams that `picks` chooses to the pool; adds a holder.
    pub(crate) fn begin_private(
        &mut self,
        id: PoolId,
        purpose: PoolUse,
        picks: StreamFilter,
    ) -> Result<(), Error> {
        if self.captures.iter().any(|capture| capture.pool == id.0) {
            return Err(Error::PoolInUse { pool: id });
        }
        self.private_mut(id)?.holders += 1;
        self.pause_planning();
        self.captures.push(Capture { pool: id.0, picks, purpose });
        Ok(())
    }

    /// Ends what [`State::begin_private`] began; the holder it added stays.
    pub(crate) fn end_private(&mut self, id: PoolId) -> Result<(), Error> {
        let place = self.captures.iter().position(|capture| capture.pool == id.0);
        let place = place.ok_or(Error::PoolNotInUse { pool: id })?;
        self.captures.remove(place);
        Ok(())
    }

    /// Drops a holder. Without any, the pool's free memory goes back with the next flush.
    pub(crate) fn release_private(&mut self, id: PoolId) -> Result<(), Error> {
        let in_use = self.captures.iter().any(|capture| capture.pool == id.0);
        let pool = self.private_mut(id)?;
        if in_use && pool.holders == 1 {
            return Err(Error::PoolInUse { pool: id });
        }
        pool.holders -= 1;
        self.forget_empty_pools();
        Ok(())
    }

    /// Whether a graph is being captured.
    #[inline]
    pub(crate) fn is_capturing(&self) -> bool {
        self.captures.iter().any(|capture| capture.purpose == PoolUse::Capture)
    }

    /// The pool for a request while private pools are in use: the one begun last that picks the
    /// stream, or the one that all share.
    #[cold]
    pub(crate) fn captured_pool(&self, stream: StreamId, class: Class) -> u16 {
        let capture = self.captures.iter().rev().find(|capture| (capture.picks)(stream));
        capture.map_or(class as u16, |capture| self.private[&capture.pool].pools[class as usize])
    }

    /// Pools that lend to requests out of memory.
    pub(crate) fn lending_pools(&self, class: Class) -> Vec<u16> {
        let lends = |pool: &&PrivatePool| pool.options.use_on_oom && pool.holders > 0;
        self.private.values().filter(lends).map(|pool| pool.pools[class as usize]).collect()
    }

    /// Pools without holders, whose free memory may go back.
    pub(crate) fn freeable_pools(&self) -> Vec<[usize; 2]> {
        let freeable = self.private.values().filter(|pool| pool.is_freeable());
        freeable.map(|pool| pool.pools.map(usize::from)).collect()
    }

    /// Forgets pools without holders and without memory.
    pub(crate) fn forget_empty_pools(&mut self) {
        let pools = &mut self.pools;
        self.private.retain(|_, private| {
            let numbers = private.pools.map(usize::from);
            let keep = private.holders > 0 || numbers.iter().any(|&n| pools[n].segments > 0);
            if !keep {
                for number in numbers {
                    pools[number].owner = None;
                }
            }
            keep
        });
    }
}
