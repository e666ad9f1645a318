//! What to keep and what to recompute: the planners.

mod costs;
mod exact;
mod grid;
mod least;
mod optimal;
mod unfold;

pub use optimal::{
    Effort, Optimal, PlanError, Proof, keep_all, least_bytes, optimal, optimal_with,
};
