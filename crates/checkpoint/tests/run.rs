//! Plans run on layers that really compute, in counted memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "run/errors.rs"]
mod errors;
#[path = "run/model.rs"]
mod model;
#[path = "run/nested.rs"]
mod nested;
#[path = "run/numbers.rs"]
mod numbers;
#[path = "run/offload.rs"]
mod offload;
#[path = "run/plans.rs"]
mod plans;
#[path = "run/profile.rs"]
mod profile;
