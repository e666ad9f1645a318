//! [`PinnedAllocator`]: page-locked host memory, kept for the next transfer.

pub(crate) mod books;
mod cache;
mod memory;
pub(crate) mod pass;
mod policy;
mod worker;

use std::fmt;
use std::sync::Arc;

use freeboard_allocator::CachingAllocator;
use freeboard_device::Transfer;

use crate::BufferError;
use crate::element::{Element, check_alignment, size_of_many};
use books::Slab;
use cache::Cache;
use worker::Worker;

pub use books::PinnedStats;
pub use memory::Pinned;
pub use policy::PinnedPolicy;

/// A caching allocator of pinned host memory: pages that stay where they are, so that a device
/// copies from and to them without a detour and while the program goes on.
///
/// Pinning takes the driver milliseconds, so blocks are kept when they are dropped. Sizes are
/// rounded up to powers of two, 512 bytes or more, and a request gets a free block of its class; so
/// does `PyTorch`. What a transfer still uses is handed out only after its stream is past it.
/// Clones are the same allocator, which lives as long as the last of its blocks. Its end waits for
/// transfers that still use its memory.
///
/// ```
/// use std::sync::Arc;
///
/// use freeboard_allocator::{CachingAllocator, Config};
/// use freeboard_buffer::{DeviceBuffer, PinnedAllocator};
/// use freeboard_device_host::HostDevice;
/// use freeboard_units::{Bytes, StreamId};
///
/// let device = HostDevice::new(Bytes::mib(64))?;
/// let allocator = Arc::new(CachingAllocator::new(device, Config::default())?);
/// let host = PinnedAllocator::new(&allocator)?;
/// let mut batch = DeviceBuffer::<f32, _>::zeroed(&allocator, 1024, StreamId::DEFAULT)?;
///
/// let transfer = batch.upload(host.from_slice(&[1.5; 1024])?)?; // returns at once
/// let back = transfer.wait()?;
/// assert_eq!(back[..], [1.5; 1024]);
/// drop(back); // cached: the next request of this size costs no driver call
/// assert_eq!(host.stats().cached, Bytes::kib(4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PinnedAllocator<D: Transfer>(Arc<Shared<D>>);

/// What the allocator and its blocks share.
struct Shared<D: Transfer> {
    cache: Arc<Cache<D>>,
    /// Looks after the cache, if wanted; ends before the cache does.
    _worker: Option<Worker<D>>,
}

impl<D: Transfer> Clone for PinnedAllocator<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D: Transfer + Send + Sync + 'static> PinnedAllocator<D> {
    /// An allocator on the same device as `owner`, with the `pinned_` settings of its
    /// configuration.
    ///
    /// # Errors
    /// When the settings ask for a reserve and there is no memory for it.
    pub fn new(owner: &Arc<CachingAllocator<D>>) -> Result<Self, BufferError> {
        Self::with_policy(owner, PinnedPolicy::from(&owner.config().pinned))
    }

    /// An allocator on the same device as `owner`.
    ///
    /// # Errors
    /// When the policy asks for a reserve and there is no memory for it, or for a background thread
    /// and there is none.
    pub fn with_policy(
        owner: &Arc<CachingAllocator<D>>,
        policy: PinnedPolicy,
    ) -> Result<Self, BufferError> {
        let background = policy.background;
        let cache = Arc::new(Cache::new(Arc::clone(owner), policy)?);
        let worker = if background { Some(Worker::start(&cache)?) } else { None };
        Ok(Self(Arc::new(Shared { cache, _worker: worker })))
    }
}

impl<D: Transfer> PinnedAllocator<D> {
    /// Room for `len` elements. They are zero, or what a former user of the block left.
    ///
    /// # Errors
    /// [`BufferError::PinnedOutOfMemory`] after everything cached was given back;
    /// [`BufferError::Device`] when the device fails.
    pub fn allocate<T: Element>(&self, len: usize) -> Result<Pinned<T, D>, BufferError> {
        let size = size_of_many::<T>(len)?;
        if size.is_zero() {
            return Ok(Pinned::new(None, len, self.clone()));
        }
        let slab = self.0.cache.take(size)?;
        let address = address_of(&slab);
        let pinned = Pinned::new(Some(slab), len, self.clone());
        check_alignment::<T>(address)?;
        Ok(pinned)
    }

    /// A pinned copy of `elements`.
    ///
    /// # Errors
    /// As [`allocate`](Self::allocate).
    pub fn from_slice<T: Element>(&self, elements: &[T]) -> Result<Pinned<T, D>, BufferError> {
        let mut pinned = self.allocate(elements.len())?;
        pinned.copy_from_slice(elements);
        Ok(pinned)
    }

    /// Makes blocks free whose streams are past them, and gives back what was unused for too long or
    /// is too much, as the policy says. The background thread calls it; without one, whoever wants.
    ///
    /// # Errors
    /// When the device fails; blocks that it did not take back are kept.
    pub fn maintain(&self) -> Result<(), BufferError> {
        Ok(self.0.cache.maintain()?)
    }

    /// Gives every unused block back to the device, but the reserve.
    ///
    /// # Errors
    /// When the device fails; blocks that it did not take back are kept.
    pub fn empty_cache(&self) -> Result<(), BufferError> {
        Ok(self.0.cache.empty()?)
    }

    /// All counters, as they are now.
    #[must_use]
    pub fn stats(&self) -> PinnedStats {
        self.0.cache.stats()
    }

    /// What it keeps, and for how long.
    #[must_use]
    pub fn policy(&self) -> &PinnedPolicy {
        self.0.cache.policy()
    }

    /// Walks every invariant of the books, while no other thread allocates or drops; for tests and
    /// for reporting bugs.
    ///
    /// # Errors
    /// The first broken invariant, in words.
    pub fn check(&self) -> Result<(), String> {
        self.0.cache.check()
    }

    fn cache(&self) -> &Cache<D> {
        &self.0.cache
    }
}

fn address_of(slab: &Slab) -> freeboard_units::Address {
    freeboard_units::Address::new(slab.start.addr().get() as u64)
}

impl<D: Transfer> fmt::Debug for PinnedAllocator<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedAllocator").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
