//! What is recognised, how it is planned, and how it is served, against brute force.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "planning/plans.rs"]
mod plans;
#[path = "planning/program.rs"]
mod program;
#[path = "planning/recognition.rs"]
mod recognition;
#[path = "planning/serving.rs"]
mod serving;
