//! Checkpointing: the time of planning, and what the runtime adds to a program's own work.
//!
//! `cargo bench --bench checkpoint`.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

mod planning;
mod runtime;

use criterion::{criterion_group, criterion_main};

criterion_group!(benches, planning::planning, runtime::runtime);
criterion_main!(benches);
