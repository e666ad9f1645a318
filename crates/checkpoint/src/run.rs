//! Running a plan: segments, what they save, what moves to the host, and what it all measured.
//!
//! A program describes each of its layers as a [`Segment`]: a forward pass, one that saves what the
//! backward pass needs, and the backward pass. [`Profiler`] measures them and makes a `Chain`; a
//! planner makes a `Plan` of it; [`Runner`] runs that, step after step. [`PeakWatch`] compares the
//! step's peak with the plan's. Several layers with a plan of their own are one segment as
//! [`Nested`]. What stores values on the host is an [`Offload`]; [`Meter`] is the allocator's
//! statistics.
//!
//! # What is in memory
//!
//! Exactly what the operations' rules say. A runner owns every a(i), saved(i) and gradient, and
//! drops what an operation forgets as soon as that operation has run. The gradient of a(n) is made
//! by the program's loss as soon as saved(n) first exists. What a(i) a layer reads lies plain or
//! inside saved(i); neither is copied.
//!
//! # Recomputing what was computed
//!
//! A layer that runs again sees the same: its input, its own state behind `&self`, and the same
//! [`Random`](crate::Random). To be sure, give [`Segment::fingerprint`]; then each recomputed a(i)
//! is compared with the first one: by size, shape and type, or by [`Check::Values`] with a sampled
//! hash of its values.
//!
//! A recomputation ends where the last value that a backward pass needs exists: the last layer of a
//! recomputed stretch runs as [`Segment::forward_for_backward`], and a nested chain leaves out each
//! forward pass that only leads to its output.
//!
//! # Several gradients of one output
//!
//! [`Runner::run_many`] takes them all backward together, layer by layer, in the memory of one
//! recomputation; [`Runner::forward`] holds the step, and [`Held::backward`] takes one after the
//! other.
//!
//! # When something fails
//!
//! A [`RunError`] names the layer, the operation and whether it was a recomputation, and hands out
//! the program's own error ([`RunError::is_from`]: was it out of memory?). After it, and after a
//! panic in a segment, all values of the step are dropped; what had been added to gradients of
//! parameters stays added.

mod error;
mod fingerprint;
mod meter;
mod nested;
mod offload;
mod pass;
mod profile;
mod report;
mod runner;
mod script;
mod segment;
mod state;

pub use error::{Place, RunError, RunnerError, Tensor};
pub use fingerprint::Fingerprint;
pub use meter::Meter;
pub use nested::{Nested, NestedState};
pub use offload::{Offload, Stay};
pub use profile::{ProfileError, Profiler};
pub use report::{PeakWatch, Report, Verdict};
pub use runner::{Check, Held, Runner};
pub use segment::Segment;
pub use state::Moves;
