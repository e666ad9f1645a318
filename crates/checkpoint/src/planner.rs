//! What to keep, what to recompute and what to offload: the planners.

mod costs;
mod exact;
mod grid;
mod group;
mod knapsack;
mod least;
mod optimal;
mod pareto;
mod periodic;
mod schedule;
mod selective;
mod three_way;
mod unfold;

pub use optimal::{Effort, Optimal, PlanError, Proof, least_bytes, optimal, optimal_with};
pub use pareto::pareto;
pub use periodic::{every_kth, keep_all, revolve, revolve_runs, sequential};
pub use selective::{Candidate, Fate, Policy, SelectError, Selection, select};
pub use three_way::three_way;
