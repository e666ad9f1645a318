//! Trading time for memory: which activations of a training step to keep, to recompute or to offload.
//!
//! A model is a [`Chain`] of layers with their bytes and times. A planner makes a [`Plan`] of it: the
//! operations of one step, in order, with the memory they need at most and the time they take.
#![forbid(unsafe_code)]

mod chain;
mod error;
mod plan;
mod random;
mod run;

pub use chain::{Chain, Layer};
pub use error::{ChainError, Cost};
pub use plan::{Operation, Plan, Stored};
pub use random::Random;
pub use run::{Fingerprint, Meter, Offload, Segment, Stay};
