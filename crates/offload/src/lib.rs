//! Activations, parameters and optimizer state in pinned host memory, and their copies beside
//! computation.
//!
//! - [`Mover`] moves values ([`Movable`]: one buffer or a structure of several) out and back, on
//!   streams of its own. It is the [`Offload`](freeboard_checkpoint::Offload) of checkpointed steps.
//! - [`Shelf`] holds values on the host that are used one after the other, and fetches ahead.
//! - [`HostOptimizer`] keeps f32 parameters and moments on the host and steps there: only gradients go
//!   out, and new parameters come back.
//! - [`measure_link`] tells a planner how fast copies are.
//!
//! A copy out comes after what the buffer's home stream had been given when it was begun, and a
//! buffer's memory goes to nobody else before the copy is done: `freeboard_buffer` sees to both. A
//! copy back goes to memory that is fresh, and home waits for it when the value is wanted, not before.
//!
//! Start reading at `mover.rs`; `movable.rs` is how bytes of any type are moved, `lent.rs` holds the
//! one guard that outlives a call.
#![allow(unsafe_code, reason = "keeps a buffer beside the guard that borrows it; see `lent.rs`")]

mod checkpoint;
mod error;
mod host_optimizer;
mod lane;
mod lent;
mod link;
mod movable;
mod mover;
mod shelf;
mod stats;

pub use error::{OffloadError, Stuck};
pub use host_optimizer::{
    HostAdamW, HostOptimizer, HostOptimizerConfig, HostParameterId, HostSgd, Values,
};
pub use link::measure_link;
pub use movable::{Buffers, BuffersMut, Movable};
pub use mover::{Away, Leaving, Mover, MoverConfig, Returning};
pub use shelf::Shelf;
pub use stats::MoverStats;
