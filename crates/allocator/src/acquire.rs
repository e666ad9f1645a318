//! The ladder: what is tried, rung by rung, for a request that no free block serves.
//!
//! The first rungs, collecting what other streams have finished with, reuse, and asking the program
//! to free something, are in [`CachingAllocator::allocate`](crate::CachingAllocator::allocate): they
//! are the common case, or must run without the lock. What follows here is rare and takes as long as
//! the driver takes. No rung calls back up.

use freeboard_device::Device;

use crate::error::Error;
use crate::request::{Grant, Request};
use crate::state::State;

/// Whether this is the attempt after everything cached was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    First,
    Retry,
}

impl<D: Device> State<D> {
    /// Finds memory for a request, or says why there is none.
    #[cold]
    pub(crate) fn acquire(&mut self, request: &Request) -> Result<Grant, Error> {
        let found = self.climb(request)?;
        found.ok_or_else(|| self.refuse(request))
    }

    fn climb(&mut self, request: &Request) -> Result<Option<Grant>, Error> {
        if self.is_stitched(usize::from(request.pool)) {
            return self.climb_stitched(request);
        }
        let again = self.config.search_after_reclaim;

        // Keep below the threshold by giving back what has long been unused.
        self.collect_garbage()?;
        // Growing costs a driver call, everything below costs more.
        if let Some(block) = self.grow(request, Attempt::First)? {
            return Ok(Some(self.finish(request, block)));
        }
        // Blocks that other streams still use will be free once their events have passed.
        if again
            && self.wait_for_pending()?
            && let Some(grant) = self.serve(request)
        {
            return Ok(Some(grant));
        }
        // Pools that opted in lend a block before anything is given back.
        if let Some(grant) = self.borrow(request) {
            return Ok(Some(grant));
        }
        // Oversize blocks are never cut for smaller requests: give back just enough of them.
        if self.release_oversize(request)?
            && let Some(block) = self.grow(request, Attempt::First)?
        {
            return Ok(Some(self.finish(request, block)));
        }
        // Give everything back and start over; a graph under capture must not lose its memory.
        if self.is_capturing() {
            return Ok(None);
        }
        self.flush()?;
        if again && let Some(grant) = self.serve(request) {
            return Ok(Some(grant));
        }
        Ok(self.grow(request, Attempt::Retry)?.map(|block| self.finish(request, block)))
    }

    /// The rungs where memory is stitched: nothing is given back that could serve.
    fn climb_stitched(&mut self, request: &Request) -> Result<Option<Grant>, Error> {
        if let Some(grant) = self.stitch(request)? {
            return Ok(Some(grant));
        }
        if let Some(grant) = self.borrow(request) {
            return Ok(Some(grant));
        }
        // Private pools that nobody holds any more keep memory that the device could give again.
        if !self.is_capturing() && self.release_leftovers()? {
            return self.stitch(request);
        }
        Ok(None)
    }

    /// A block from a pool that lends to requests out of memory.
    fn borrow(&mut self, request: &Request) -> Option<Grant> {
        if self.pools[usize::from(request.pool)].owner.is_some() {
            return None;
        }
        let lenders: Vec<u16> = self.lending_pools(request.class);
        lenders.into_iter().find_map(|pool| self.serve(&Request { pool, ..*request }))
    }
}
