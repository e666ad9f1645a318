//! [`Error`]: why a call failed, with its numbers and what to do.

use freeboard_device::DeviceError;
use freeboard_units::Address;

use crate::config::ConfigError;
use crate::oom::OutOfMemory;
use crate::private::PoolId;

/// Why the allocator did not do as asked. The allocator is as it was before the call.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No memory for this request, after everything that the settings allow has been tried.
    ///
    /// Free something, ask for less, or look at the report: it tells exhaustion, a limit and
    /// fragmentation apart.
    #[error("{0}")]
    OutOfMemory(Box<OutOfMemory>),
    /// The device failed for another reason than memory. Live allocations are untouched.
    #[error("the device failed: {0}")]
    Device(#[from] DeviceError),
    /// The address was not handed out by [`allocate_raw`](crate::CachingAllocator::allocate_raw),
    /// or has been freed already.
    #[error("no allocation starts at {address}: it was freed before, or comes from elsewhere")]
    UnknownAddress {
        /// The address as given.
        address: Address,
    },
    /// The allocator distinguishes at most 65,535 streams in its lifetime.
    #[error("more than 65,535 streams: use streams again instead of making new ones")]
    TooManyStreams,
    /// There is no such private pool, or it was released by all its users.
    #[error("{pool} does not exist (any more)")]
    UnknownPool {
        /// The pool as given.
        pool: PoolId,
    },
    /// Allocations already go to this pool.
    #[error("allocations already go to {pool}: end that before beginning again")]
    PoolInUse {
        /// The pool as given.
        pool: PoolId,
    },
    /// Allocations do not go to this pool.
    #[error("allocations do not go to {pool}: begin before ending")]
    PoolNotInUse {
        /// The pool as given.
        pool: PoolId,
    },
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Error {
    /// The report, if the call ran out of memory.
    #[must_use]
    pub fn out_of_memory(&self) -> Option<&OutOfMemory> {
        match self {
            Self::OutOfMemory(report) => Some(report),
            _ => None,
        }
    }
}
