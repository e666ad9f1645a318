//! Training steps within a budget in bytes.
//!
//! - [`Budget`] says how much a step may take: what is free, less what others need.
//! - [`ClosedLoop`] measures a model, plans its step within the budget, runs it, and compares what the
//!   plan predicts with what the allocator measured. When memory runs out all the same, it tightens the
//!   budget, plans again and runs the step again with the same numbers.
//! - [`AllocatorMeter`] measures with a caching allocator's statistics.
//!
//! Start reading at `closed_loop.rs`.
#![forbid(unsafe_code)]

mod budget;
mod closed_loop;
mod meter;
mod shortage;

pub use budget::{Budget, BudgetError};
pub use closed_loop::{ClosedLoop, LoopConfig, LoopError, Outcome, Planning, Replan, Step};
pub use meter::AllocatorMeter;
pub use shortage::Shortage;
