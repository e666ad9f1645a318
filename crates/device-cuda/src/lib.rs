//! A device made of an NVIDIA GPU: [`CudaDevice`] implements the traits of `freeboard-device`.
//!
//! The driver library is found at run time ([`Driver`]); a machine without one gets an answer that
//! says what to install ([`Unavailable`]), never a panic. Building needs no CUDA toolkit.
//!
//! Start reading at `device.rs` (how a device comes to be); then `memory.rs`, `order.rs`,
//! `transfer.rs` and `compute.rs`, one per trait. `books.rs` holds what the device remembers of its memory.
//!
//! # Why the unsafe code is sound
//!
//! - Every function is loaded from the library under the name and with the type that NVIDIA
//!   documents for it. All return a plain number: a code that is newer than this crate is a number
//!   like any other, where a closed Rust `enum` would be undefined behaviour.
//! - The driver dereferences handles. No handle reaches it that it did not give to this process and
//!   that is not alive: safe methods take numbers of ours ([`StreamId`], [`EventId`], [`Handle`]),
//!   which are looked up; what is looked up is held until the call returns, so that no other thread
//!   can destroy it meanwhile. Handles from elsewhere come in through unsafe methods, or with an
//!   owner that is kept ([`CudaDevice::stream_of`]).
//! - Addresses are only compared and passed on; the unsafe methods of
//!   [`Transfer`](freeboard_device::Transfer) say what they must point to.
//! - The library is never unloaded, and a device keeps the primary context until it is dropped.
//!
//! [`StreamId`]: freeboard_units::StreamId
//! [`EventId`]: freeboard_units::EventId
//! [`Handle`]: freeboard_device::Handle
#![allow(unsafe_code, reason = "a driver is called through C; the argument is above")]

mod abi;
mod books;
mod code;
mod compute;
mod context;
mod device;
mod driver;
mod interop;
mod memory;
mod order;
mod share;
mod streams;
mod survey;
mod timing;
mod transfer;
mod unavailable;

pub use code::{CODES, KnownCode, Reason};
pub use device::{CudaDevice, CudaOptions};
pub use driver::{Driver, ENVIRONMENT};
pub use survey::{Report, Survey, survey};
pub use timing::Mark;
pub use unavailable::Unavailable;
