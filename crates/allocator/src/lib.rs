//! A caching allocator for device memory: `PyTorch`'s policies exactly, and better ones.
//!
//! Start reading at [`CachingAllocator::allocate`]: it takes the lock and tries the first rungs of
//! the ladder (`state.rs` finds and cuts a block). `acquire.rs` is the rest of the ladder, on one
//! page; `release.rs` is the way back. `policy/` answers one question per file.
//!
//! - [`Config::pytorch`] makes every decision that `PyTorch` 2.15's allocator makes, with the same
//!   counters to the byte; [`Config::parse`] reads its option string.
//! - [`Config::default`] searches again after every step that frees memory, grows segments by pages,
//!   and collects garbage without being told a memory fraction.
//! - Works on any [`Device`](freeboard_device::Device); names none.
#![forbid(unsafe_code)]

mod acquire;
mod allocation;
mod allocator;
mod block;
mod check;
mod config;
mod error;
mod events;
mod expandable;
mod free_list;
mod inspect;
mod lock;
mod oom;
mod pending;
mod policy;
mod pool;
mod private;
mod raw;
mod reclaim;
mod record;
mod release;
mod request;
mod segment;
mod servable;
mod state;
mod stats;
mod steady;
mod stitch;
mod watch;

pub use allocation::{Allocation, Borrowed};
pub use allocator::CachingAllocator;
pub use config::{
    Config, ConfigError, ConfigSource, ConfigWarning, ENVIRONMENT, Parsed, PinnedConfig, Reserve,
    Roundup,
};
pub use error::Error;
pub use inspect::{Bookkeeping, Fragmentation};
pub use oom::{OutOfMemory, Place, Stitched};
pub use private::{PoolId, PoolOptions, PoolUse};
pub use record::{Backtraces, HistoryOptions, Scope, scope};
pub use stats::{Stat, StatByPool, Stats};
pub use steady::Planning;
pub use stitch::Stitching;
