//! Trading time for memory: which activations of a training step to keep, to recompute or to offload.
//!
//! A model is a [`Chain`] of layers with their bytes and times ([`Graph`] makes one of what is none). A
//! planner makes a [`Plan`] of it: the operations of one step, in order, with the memory they need at
//! most and the time they take. [`check`] runs any plan by the rules; all figures come from it.
//! A [`Runner`] executes it over the program's own [`Segment`]s.
//!
//! | planner | makes |
//! |---|---|
//! | [`optimal`] | the least time in a budget |
//! | [`three_way`] | the same, with values on the host meanwhile |
//! | [`keep_all`], [`every_kth`], [`sequential`], [`revolve`] | what is done elsewhere |
//! | [`pareto`] | what each budget buys |
//! | [`select`] | what a single layer keeps of its operations' results |
#![forbid(unsafe_code)]

mod chain;
mod draw;
mod error;
mod graph;
mod link;
mod plan;
mod planner;
mod random;
mod run;
mod validate;

pub use chain::{Chain, Layer};
pub use draw::curve_picture;
pub use error::{ChainError, Cost};
pub use graph::{Graph, GraphError};
pub use link::Link;
pub use plan::{Operation, Plan, Stored};
pub use planner::{
    Candidate, Effort, Fate, Optimal, PlanError, Policy, Proof, SelectError, Selection, every_kth,
    keep_all, least_bytes, optimal, optimal_with, pareto, revolve, revolve_runs, select,
    sequential, three_way,
};
pub use random::Random;
pub use run::{
    Check, Fingerprint, Held, Meter, Moves, Nested, NestedState, Offload, PeakWatch, Place,
    ProfileError, Profiler, Report, RunError, Runner, RunnerError, Segment, Stay, Tensor, Verdict,
};
pub use validate::{Checked, InvalidPlan, check};
