//! Buffers, views and pinned memory on a device of this machine's memory, whose streams run.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod buffers;
mod cache_program;
mod common;
mod faults;
mod faulty;
mod model;
mod pinned;
mod streams;
mod views;
