//! [`CachingAllocator`]: the public verbs and the lock.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use freeboard_device::Device;
use freeboard_units::{Address, Bytes, StreamId};
use parking_lot::{Mutex, ReentrantMutex};
use spin::mutex::SpinMutexGuard;

use crate::allocation::{Allocation, Borrowed};
use crate::block::BlockId;
use crate::config::{Config, ConfigError};
use crate::error::Error;
use crate::inspect::{Bookkeeping, Fragmentation};
use crate::lock::Lock;
use crate::oom::OutOfMemory;
use crate::request::Grant;
use crate::state::State;
use crate::stats::Stats;
use crate::steady::Turn;
use crate::stitch::Stitching;

/// Asked to free memory when a request finds none; tells whether it freed any.
type FreeMemoryCallback = Box<dyn FnMut() -> bool + Send>;
/// Told of every request that ran out of memory.
type OutOfMemoryObserver = Arc<dyn Fn(&OutOfMemory) + Send + Sync>;

/// A caching allocator for one device. Share it by reference, by [`Arc`], or for the life of the
/// program with [`leak`](Self::leak).
///
/// Memory is taken from the device in segments, cut into blocks, and kept when blocks are freed:
/// a cached allocation makes no driver call, allocates nothing on the host and hashes nothing.
///
/// ```
/// use freeboard_allocator::{CachingAllocator, Config};
/// use freeboard_device_sim::SimDevice;
/// use freeboard_units::{Bytes, StreamId};
///
/// let allocator = CachingAllocator::new(SimDevice::new(Bytes::gib(1)), Config::default())?;
/// let tensor = allocator.allocate(Bytes::mib(3), StreamId::DEFAULT)?;
/// assert_eq!(allocator.stats().allocated_bytes.all.current, 3 << 20);
/// drop(tensor); // cached: the next allocation of this size costs no driver call
/// assert_eq!(allocator.stats().reserved_bytes.all.current, 4 << 20);
/// # Ok::<(), freeboard_allocator::Error>(())
/// ```
pub struct CachingAllocator<D: Device> {
    /// The same as the state's, within reach without the lock.
    device: Arc<D>,
    pub(crate) state: Lock<State<D>>,
    /// Run without the lock, so that they may free. Other threads wait for a callback that is
    /// running; the thread that runs it passes it by.
    callbacks: ReentrantMutex<RefCell<Vec<FreeMemoryCallback>>>,
    /// Added by a callback while it ran.
    late_callbacks: Mutex<Vec<FreeMemoryCallback>>,
    has_callbacks: AtomicBool,
    observers: Mutex<Vec<OutOfMemoryObserver>>,
}

impl<D: Device> CachingAllocator<D> {
    /// An allocator on `device`, holding nothing yet.
    ///
    /// # Errors
    /// When the settings exclude each other, or the device cannot tell its size.
    pub fn new(device: D, config: Config) -> Result<Self, Error> {
        let device = Arc::new(device);
        Ok(Self {
            state: Lock::new(State::new(Arc::clone(&device), config)?),
            device,
            callbacks: ReentrantMutex::default(),
            late_callbacks: Mutex::default(),
            has_callbacks: AtomicBool::new(false),
            observers: Mutex::default(),
        })
    }

    /// Makes the allocator live as long as the program, so that its allocations need no lifetime.
    #[must_use]
    pub fn leak(self) -> &'static Self {
        Box::leak(Box::new(self))
    }

    /// Memory for `bytes` bytes, to be used on `stream`. None are needed for zero bytes.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] after everything the settings allow has been tried;
    /// [`Error::Device`] when the device fails. The allocator is as it was before.
    #[inline]
    pub fn allocate(&self, bytes: Bytes, stream: StreamId) -> Result<Borrowed<'_, D>, Error> {
        let mut state = self.state.lock();
        match state.try_cached(bytes, stream) {
            Some(granted) => Ok(Allocation::new(self, granted)),
            None => Ok(Allocation::new(self, self.grant_slowly(state, bytes, stream)?)),
        }
    }

    /// As [`allocate`](Self::allocate), with a handle that keeps the allocator alive.
    ///
    /// # Errors
    /// As [`allocate`](Self::allocate).
    pub fn allocate_shared(
        self: &Arc<Self>,
        bytes: Bytes,
        stream: StreamId,
    ) -> Result<Allocation<D>, Error> {
        let mut state = self.state.lock();
        let granted = match state.try_cached(bytes, stream) {
            Some(granted) => granted,
            None => self.grant_slowly(state, bytes, stream)?,
        };
        Ok(Allocation::new(Arc::clone(self), granted))
    }

    /// Walks down the whole ladder; observers hear of it if it leads nowhere.
    #[cold]
    fn grant_slowly<'a>(
        &'a self,
        mut state: SpinMutexGuard<'a, State<D>>,
        asked: Bytes,
        stream: StreamId,
    ) -> Result<Grant, Error> {
        let turn = state.steady.take_turn();
        let outcome = self.descend(state, turn, asked, stream);
        if let Err(Error::OutOfMemory(report)) = &outcome {
            let observers = self.observers.lock().clone();
            for observer in observers {
                observer(report);
            }
        }
        outcome
    }

    /// The ladder: what other streams have finished with, reuse, asking the program, and then
    /// everything that takes a driver call.
    fn descend<'a>(
        &'a self,
        mut state: SpinMutexGuard<'a, State<D>>,
        mut turn: Turn,
        asked: Bytes,
        stream: StreamId,
    ) -> Result<Grant, Error> {
        if asked.is_zero() {
            return Ok(Grant::EMPTY);
        }
        if state.has_pending() {
            self.state.slowly(&mut state, State::collect)?;
        }
        let request = state.request(asked, stream)?;
        if turn == Turn::Due {
            if state.steady.is_due() {
                self.state.slowly(&mut state, State::settle);
            }
            turn = match state.take_turn(&request) {
                Ok(grant) => {
                    state.note_alloc(&request, &grant);
                    return Ok(grant);
                }
                Err(turn) => turn,
            };
        }
        let outcome = self.find(state, asked, stream);
        if turn != Turn::Had {
            self.state.lock().end_turn(turn, outcome.as_ref().ok());
        }
        outcome
    }

    fn find<'a>(
        &'a self,
        mut state: SpinMutexGuard<'a, State<D>>,
        asked: Bytes,
        stream: StreamId,
    ) -> Result<Grant, Error> {
        let mut request = state.request(asked, stream)?;
        if let Some(grant) = self.state.slowly(&mut state, |state| state.serve(&request)) {
            return Ok(grant);
        }
        if self.has_callbacks.load(Ordering::Relaxed) {
            drop(state);
            let freed = self.ask_callbacks();
            state = self.state.lock();
            request = state.request(asked, stream)?; // pools may have changed meanwhile
            if freed && let Some(grant) = state.serve(&request) {
                return Ok(grant);
            }
        }
        self.state.slowly(&mut state, |state| state.acquire(&request))
    }

    /// Whether a callback freed memory. Callbacks that allocate do not call themselves.
    fn ask_callbacks(&self) -> bool {
        let callbacks = self.callbacks.lock();
        let Ok(mut callbacks) = callbacks.try_borrow_mut() else { return false };
        callbacks.append(&mut self.late_callbacks.lock());
        callbacks.iter_mut().fold(false, |freed, callback| callback() | freed)
    }

    /// Takes an allocation back.
    #[inline]
    pub(crate) fn free_block(&self, block: BlockId) {
        let mut state = self.state.lock();
        if state.blocks[block].used_elsewhere {
            return self.state.slowly(&mut state, |state| state.release(block));
        }
        state.release(block);
    }

    pub(crate) fn record_block_use(&self, block: BlockId, stream: StreamId) -> Result<(), Error> {
        let mut state = self.state.lock();
        let stream = state.streams.number(stream).ok_or(Error::TooManyStreams)?;
        state.record_use(block, stream);
        Ok(())
    }

    /// Makes a block known by its address.
    pub(crate) fn expose(&self, block: BlockId) {
        self.state.lock().expose(block);
    }

    /// As [`allocate`](Self::allocate), for callers that keep addresses: C, or a foreign runtime.
    /// [`Address::NULL`] for zero bytes.
    ///
    /// # Errors
    /// As [`allocate`](Self::allocate).
    pub fn allocate_raw(&self, bytes: Bytes, stream: StreamId) -> Result<Address, Error> {
        Ok(self.allocate(bytes, stream)?.into_raw())
    }

    /// Frees what [`allocate_raw`](Self::allocate_raw) gave; nothing for [`Address::NULL`].
    ///
    /// # Errors
    /// [`Error::UnknownAddress`] for any other address, one freed before included.
    pub fn free_raw(&self, address: Address) -> Result<(), Error> {
        self.claim(address).map(drop)
    }

    /// Takes ownership of what [`allocate_raw`](Self::allocate_raw) gave.
    ///
    /// # Errors
    /// As [`free_raw`](Self::free_raw).
    pub fn claim(&self, address: Address) -> Result<Borrowed<'_, D>, Error> {
        if address.is_null() {
            return Ok(Allocation::new(self, Grant::EMPTY));
        }
        let mut state = self.state.lock();
        let block = state.withdraw(address)?;
        let size = state.blocks[block].size;
        Ok(Allocation::new(self, Grant { block, address, size }))
    }

    /// What was asked for, and on which stream.
    pub(crate) fn look_up(&self, block: BlockId) -> Option<(Bytes, StreamId)> {
        let state = self.state.lock();
        let found = block.is_some().then(|| &state.blocks[block])?;
        Some((found.requested, state.streams.id(found.stream)))
    }

    /// As [`Allocation::record_use`], by address.
    ///
    /// # Errors
    /// [`Error::UnknownAddress`] for an address that is not allocated.
    pub fn record_use_raw(&self, address: Address, stream: StreamId) -> Result<(), Error> {
        if address.is_null() {
            return Ok(());
        }
        let mut state = self.state.lock();
        let block = state.exposed(address)?;
        let stream = state.streams.number(stream).ok_or(Error::TooManyStreams)?;
        state.record_use(block, stream);
        Ok(())
    }

    /// Gives everything that is not in use back to the device, after waiting for work in flight.
    ///
    /// # Errors
    /// When the device fails; what was given back until then stays given back.
    pub fn empty_cache(&self) -> Result<(), Error> {
        let mut state = self.state.lock();
        self.state.slowly(&mut state, State::empty_cache)
    }

    /// Limits the allocator to a part of the device's memory, from 0 to 1 (no limit).
    ///
    /// # Errors
    /// When `fraction` is no such part.
    pub fn set_memory_fraction(&self, fraction: f64) -> Result<(), ConfigError> {
        let mut state = self.state.lock();
        let config = state.config.clone().with_memory_fraction(fraction)?;
        state.set_fraction(config.memory_fraction);
        Ok(())
    }

    /// The device it takes memory from.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The settings in force.
    pub fn config(&self) -> Config {
        self.state.lock().config.clone()
    }

    /// All counters, as they are now.
    pub fn stats(&self) -> Stats {
        let state = self.state.lock();
        state.ledger.stats(state.config.max_split_size)
    }

    /// What stitching has done and holds; all zero where memory is not stitched.
    pub fn stitching(&self) -> Stitching {
        self.state.lock().stitching()
    }

    /// Starts all peaks anew at the current values.
    pub fn reset_peak_stats(&self) {
        self.state.lock().ledger.reset_peaks();
    }

    /// Starts all sums and event counts anew at zero.
    pub fn reset_accumulated_stats(&self) {
        self.state.lock().ledger.reset_sums();
    }

    /// How scattered free memory is, as `stream` sees it.
    pub fn fragmentation(&self, stream: StreamId) -> Fragmentation {
        self.state.lock().fragmentation(stream)
    }

    /// The largest request that `stream` would have served now, after all that the ladder does
    /// short of waiting for pending blocks. With expandable segments a slightly larger one may
    /// succeed. What is set aside for a planned step counts as free, and is given up for the rest of
    /// that step.
    ///
    /// # Errors
    /// When the device cannot tell how much is free.
    pub fn largest_servable(&self, stream: StreamId) -> Result<Bytes, Error> {
        let mut state = self.state.lock();
        state.disengage();
        state.largest_servable(stream)
    }

    /// How much host memory the allocator's own books take.
    pub fn bookkeeping(&self) -> Bookkeeping {
        self.state.lock().bookkeeping()
    }

    /// The streams that have been seen.
    pub fn streams(&self) -> Vec<StreamId> {
        self.state.lock().streams.iter().collect()
    }

    /// Adds a callback that frees memory when a request finds none cached, before the device is
    /// asked for more. It may free, and allocate, from this allocator. A callback that owns an [`Arc`]
    /// of the allocator, or an allocation that does, keeps it alive for good: give it a
    /// [`Weak`](std::sync::Weak) one.
    pub fn on_shortage(&self, callback: impl FnMut() -> bool + Send + 'static) {
        self.late_callbacks.lock().push(Box::new(callback));
        self.has_callbacks.store(true, Ordering::Relaxed);
    }

    /// Adds an observer that is told of every request that runs out of memory. It runs without
    /// the lock.
    pub fn on_out_of_memory(&self, observer: impl Fn(&OutOfMemory) + Send + Sync + 'static) {
        self.observers.lock().push(Arc::new(observer));
    }

    /// Walks every invariant of the books; for tests and for reporting bugs.
    ///
    /// # Errors
    /// The first broken invariant, in words.
    pub fn check(&self) -> Result<(), String> {
        self.state.lock().check()
    }

    /// Looks at the device under the lock: `look` must not use the allocator.
    pub fn with_device<T>(&self, look: impl FnOnce(&D) -> T) -> T {
        look(&self.state.lock().device)
    }
}

impl<D: Device> Drop for CachingAllocator<D> {
    fn drop(&mut self) {
        self.state.get_mut().close();
    }
}

impl<D: Device> fmt::Debug for CachingAllocator<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct("CachingAllocator")
            .field("allocated_bytes", &stats.allocated_bytes.all.current)
            .field("reserved_bytes", &stats.reserved_bytes.all.current)
            .finish_non_exhaustive()
    }
}
