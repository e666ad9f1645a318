//! `PyTorch`'s snapshot files: real ones, changed ones, hostile ones, and ours.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its data has failed")]

mod data;
mod hostile;
mod mutation;
mod real;
mod round_trip;
mod viewer;
