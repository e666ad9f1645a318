//! What a training loop needs around the allocator: a log of its memory, a check that it does not grow,
//! one that enough is left, and a folder with everything that is known when it runs out.
//!
//! ```
//! use std::sync::Arc;
//! use freeboard_allocator::{CachingAllocator, Config};
//! use freeboard_device_sim::SimDevice;
//! use freeboard_units::{Bytes, StreamId};
//! use freeboard_watch::{MemoryLog, DumpOptions, Stable, check_headroom};
//!
//! # let folder = std::env::temp_dir().join(format!("freeboard-watch-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! let allocator = Arc::new(CachingAllocator::new(SimDevice::new(Bytes::gib(1)), Config::default())?);
//! let mut log = MemoryLog::open(folder.join("memory.jsonl"))?;
//! DumpOptions::new(folder.join("oom")).timeline(log.timeline()).attach(&allocator);
//! let mut watch = Stable::new(&allocator);
//! for _ in 0..50 {
//!     let activations = allocator.allocate(Bytes::mib(300), StreamId::DEFAULT)?;
//!     drop(activations);
//!     log.step(&allocator);
//!     watch.step()?; // fails where memory grows, and says what grows and when it runs out
//! }
//! println!("{}", check_headroom(&allocator, Bytes::mib(100))?);
//! log.finish()?;
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | what | cost |
//! |---|---|
//! | [`MemoryLog`] | every 10 steps a line: one call to the device and a walk over all blocks |
//! | [`Stable`], [`check_stable`] | a copy of the counters a step; now and then a snapshot |
//! | [`check_headroom`] | one call to the device |
//! | [`dump_on_oom`] | nothing until a request fails |
#![forbid(unsafe_code)]

mod bundle;
mod dump;
mod headroom;
mod log;
mod stable;
mod timeline;

pub use bundle::{Bundle, BundleError, Failed, Manifest, Piece, Report, Written};
pub use dump::{DumpOptions, OomDump, dump_on_oom};
pub use headroom::{Headroom, HeadroomError, check_headroom};
pub use log::{Level, Line, LogError, LogOptions, MemoryLog};
pub use stable::{Grower, Growth, Stable, StableError, check_stable};
pub use timeline::Timeline;
