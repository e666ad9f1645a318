//! Allocation traces, and the programs that would have written them.
//!
//! A [`Trace`] is what a program asked of its allocator, in order: sizes, streams and lifetimes,
//! and nothing of where the memory lay. It is read from a small text format ([`trace`]), or made
//! by a [`Workload`]: a model of a training or serving program, exact to the byte for its seed
//! ([`workload`]). The same trace can then be run under any allocator and any policy.
//!
//! ```
//! use freeboard_replay::{Trace, workload};
//! use freeboard_units::Bytes;
//!
//! let order = workload::find("h1-order").expect("a scenario of this crate").trace(0);
//! assert_eq!(order.peak_requested, Bytes::mib(128));
//!
//! let mut text = Vec::new();
//! order.write(&mut text)?;
//! assert_eq!(Trace::parse("h1-order", &text)?, order);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod compare;
pub mod files;
pub mod least;
pub mod picture;
pub mod run;
pub mod timing;
pub mod trace;
pub mod workload;

pub use run::{Run, RunError, RunOptions};
pub use trace::{Op, OpKind, Trace, TraceBuilder, TraceError};
pub use workload::Workload;
