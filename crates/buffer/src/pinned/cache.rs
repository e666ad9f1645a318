//! [`Cache`]: the books, the device beside them, and what passes between the two.
//!
//! The device is asked for memory, and given it back, without the lock of the books.

use std::sync::Arc;
use std::time::{Duration, Instant};

use freeboard_allocator::CachingAllocator;
use freeboard_device::{DeviceError, Transfer};
use freeboard_units::Bytes;
use parking_lot::{Condvar, Mutex};

use super::books::{Books, PinnedStats, Slab};
use super::pass::Pass;
use super::policy::PinnedPolicy;
use crate::BufferError;

pub(super) struct Cache<D: Transfer> {
    owner: Arc<CachingAllocator<D>>,
    policy: PinnedPolicy,
    books: Mutex<Books<D>>,
    /// There is something for the background thread to do.
    wake: Condvar,
}

impl<D: Transfer> Cache<D> {
    pub(super) fn new(
        owner: Arc<CachingAllocator<D>>,
        policy: PinnedPolicy,
    ) -> Result<Self, BufferError> {
        let cache = Self { owner, policy, books: Mutex::default(), wake: Condvar::new() };
        if !cache.policy.reserve.is_zero() {
            let reserve = cache.pin(cache.policy.reserve)?;
            cache.books.lock().add_reserve(reserve);
        }
        Ok(cache)
    }

    fn device(&self) -> &D {
        self.owner.device()
    }

    /// A block of at least `size` bytes, which are not zero.
    pub(super) fn take(&self, size: Bytes) -> Result<Slab, BufferError> {
        let too_large = DeviceError::OutOfMemory { call: "cuMemHostAlloc", size };
        let class = self.policy.class(size).ok_or(too_large)?;
        if let Some(slab) = self.books.lock().take(class) {
            return Ok(slab);
        }
        if let Err(error) = self.collect() {
            // The blocks stay pending; a new one serves as well.
            tracing::warn!(%error, "it could not be seen whether transfers are done");
        }
        if let Some(slab) = self.books.lock().take(class) {
            return Ok(slab);
        }
        let slab = self.pin(class)?;
        let mut books = self.books.lock();
        books.pinned(class);
        books.stats.misses += 1;
        books.stats.in_use += class;
        Ok(slab)
    }

    /// Asks the device; for a second time after giving back what is cached.
    fn pin(&self, size: Bytes) -> Result<Slab, BufferError> {
        let start = match self.device().pin(size) {
            Err(error) if error.is_out_of_memory() => self.pin_after_emptying(size)?,
            outcome => outcome?,
        };
        let bytes = usize::try_from(size.get()).unwrap_or(usize::MAX);
        // SAFETY: the device has just given these bytes to us; from here on they are initialised.
        unsafe { start.write_bytes(0, bytes) };
        Ok(Slab { start, size, cut: false })
    }

    #[cold]
    fn pin_after_emptying(&self, size: Bytes) -> Result<std::ptr::NonNull<u8>, BufferError> {
        let before = self.stats().pinned;
        if let Err(error) = self.empty() {
            tracing::warn!(%error, "cached memory could not be given back");
        }
        self.device().pin(size).map_err(|error| {
            if !error.is_out_of_memory() {
                return error.into();
            }
            let PinnedStats { in_use, pending, pinned, .. } = self.stats();
            let given_back = before.saturating_sub(pinned);
            BufferError::PinnedOutOfMemory { size, in_use, pending, given_back }
        })
    }

    /// Takes a block back; a stream may be using it until `pass`.
    pub(super) fn give_back(&self, slab: Slab, pass: Option<Pass<D>>) {
        let mut books = self.books.lock();
        books.stats.in_use -= slab.size;
        let evicted = match pass {
            Some(pass) => {
                books.suspend(slab, pass);
                Vec::new()
            }
            None => self.keep(&mut books, vec![slab]),
        };
        books.came = true;
        drop(books);
        self.wake.notify_one();
        if let Err(error) = self.unpin_all(evicted) {
            tracing::warn!(%error, "pinned memory that is too much could not be given back");
        }
    }

    /// Puts blocks that nobody uses into the cache; returns what must go instead.
    fn keep(&self, books: &mut Books<D>, slabs: Vec<Slab>) -> Vec<Slab> {
        let since = self.policy.release_after.map(|_| Instant::now());
        let mut evicted = Vec::new();
        for slab in slabs {
            if slab.size > self.policy.max_cached_block && !slab.cut {
                evicted.push(slab);
            } else {
                books.rest(slab, since);
            }
        }
        if !self.policy.background {
            evicted.extend(books.evict(self.policy.max_cached, None));
        }
        evicted
    }

    /// Makes pending blocks free whose streams are past them.
    fn collect(&self) -> Result<(), DeviceError> {
        let mut books = self.books.lock();
        let mut outcome = Ok(());
        let mut done = Vec::new();
        let mut place = 0;
        while place < books.pending.len() {
            // Of one stream, the first that is not done holds up the others.
            let (before, rest) = books.pending.split_at_mut(place);
            let pass = &mut rest[0].1;
            let held_up = before.iter().any(|(_, earlier)| earlier.is_on_stream_of(pass));
            let passed = !held_up
                && pass.is_done().unwrap_or_else(|error| {
                    outcome = Err(error);
                    false
                });
            if passed {
                done.push(books.pending.remove(place).0);
            } else {
                place += 1;
            }
        }
        for slab in &done {
            books.stats.pending -= slab.size;
        }
        let evicted = self.keep(&mut books, done);
        drop(books);
        outcome.and(self.unpin_all(evicted))
    }

    pub(super) fn maintain(&self) -> Result<(), DeviceError> {
        let collected = self.collect();
        let longer = self.policy.release_after.map(|duration| (duration, Instant::now()));
        let evicted = self.books.lock().evict(self.policy.max_cached, longer);
        collected.and(self.unpin_all(evicted))
    }

    pub(super) fn empty(&self) -> Result<(), DeviceError> {
        let collected = self.collect();
        let evicted = self.books.lock().evict(Bytes::ZERO, None);
        collected.and(self.unpin_all(evicted))
    }

    /// Gives blocks that nobody knows any more back to the device. What it refuses is kept.
    fn unpin_all(&self, slabs: Vec<Slab>) -> Result<(), DeviceError> {
        let mut outcome = Ok(());
        for slab in slabs {
            // SAFETY: nobody has this slab but us, and every stream is past it.
            let unpinned = unsafe { self.device().unpin(slab.start) };
            let mut books = self.books.lock();
            match unpinned {
                Ok(()) => books.stats.unpins += 1,
                Err(error) if self.policy.ignore_unpin_errors => {
                    tracing::warn!(%error, size = %slab.size, "pinned memory is forgotten");
                }
                Err(error) => {
                    books.rest(slab, None);
                    outcome = Err(error);
                    continue;
                }
            }
            books.stats.pinned -= slab.size;
        }
        outcome
    }

    pub(super) fn stats(&self) -> PinnedStats {
        self.books.lock().stats
    }

    pub(super) fn policy(&self) -> &PinnedPolicy {
        &self.policy
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.books.lock().check()
    }

    /// Sleeps until there may be something to do; whether to go on. Events are asked for every
    /// `poll`.
    pub(super) fn sleep(&self, poll: Duration) -> bool {
        let mut books = self.books.lock();
        if !books.stop && !books.came {
            let aging = self.policy.release_after.map(|age| (age / 4).max(poll));
            let pause = if books.pending.is_empty() { aging } else { Some(poll) };
            match pause {
                Some(pause) => drop(self.wake.wait_for(&mut books, pause)),
                None => self.wake.wait(&mut books),
            }
        }
        books.came = false;
        !books.stop
    }

    pub(super) fn stop(&self) {
        self.books.lock().stop = true;
        self.wake.notify_one();
    }
}

impl<D: Transfer> Drop for Cache<D> {
    fn drop(&mut self) {
        let pending = std::mem::take(&mut self.books.get_mut().pending);
        let mut stuck = false;
        for (slab, mut pass) in pending {
            match pass.wait() {
                Ok(()) => self.books.get_mut().rest(slab, None),
                Err(error) => {
                    let size = slab.size;
                    tracing::error!(%error, %size, "a transfer may still use pinned memory: it stays pinned");
                    stuck |= slab.cut;
                }
            }
        }
        let mut all = self.books.get_mut().evict(Bytes::ZERO, None);
        // All that was cut from the reserve is back, unless a transfer may still use it.
        all.extend(self.books.get_mut().reserve.take().filter(|_| !stuck));
        // A second time for what an error kept back the first time.
        let outcome = self.unpin_all(all).or_else(|_| {
            let left = self.books.get_mut().evict(Bytes::ZERO, None);
            self.unpin_all(left)
        });
        if let Err(error) = outcome {
            tracing::error!(%error, "pinned memory could not be given back");
        }
    }
}
