//! Values that go to the host and back, on devices whose streams really run.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod common;
mod devices;
mod faults;
#[allow(dead_code, reason = "the tests of another crate use more of it")]
#[path = "../../../buffer/tests/buffer/faulty.rs"]
mod faulty;
mod moves;
mod optimizer;
mod programs;
mod shelf;
