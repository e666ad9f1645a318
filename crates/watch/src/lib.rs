//! What a training loop needs around the allocator.
#![forbid(unsafe_code)]

mod headroom;
mod log;
mod stable;
mod timeline;

pub use headroom::{Headroom, HeadroomError, check_headroom};
pub use log::{Level, Line, LogError, LogOptions, MemoryLog};
pub use stable::{Grower, Growth, Stable, StableError};
pub use timeline::Timeline;
