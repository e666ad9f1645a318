//! A CUDA driver for tests: loaded in place of `libcuda`, with real memory behind it and no GPU.
//!
//! Built as a shared library it exports the driver's functions (`api/`), with the driver's own
//! types and numbers, and further ones to steer it (`control.rs`). [`Fake`] loads it from a test
//! and steers it.
//!
//! - Device memory is this process's: an address works in a copy, a fill, and a kernel. Pages
//!   that are reserved but not mapped and opened cannot be touched (`memory.rs`).
//! - Wrong calls are refused with the driver's codes; capacity is counted.
//! - Streams do their work at once; a stream that is held keeps its events from being done.
//! - Any call can be made to fail with any code, and all calls are counted (`state.rs`).
//!
//! Every loaded copy of the library has its own state: tests that run side by side do not see one
//! another.
#![allow(unsafe_code, reason = "a driver is called from C, and its memory is the system's")]

mod api;
mod client;
mod control;
mod kernels;
mod memory;
mod physical;
mod state;
mod streams;

pub use client::{Fake, Live};
