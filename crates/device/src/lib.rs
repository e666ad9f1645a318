//! What a device must do: four small traits and one error.
//!
//! Everything that differs between a simulated device, this machine's memory and a GPU lies behind
//! [`Memory`] (who owns which bytes, at which address), [`Order`] (streams and events),
//! [`Transfer`] (what the bytes are) and [`Compute`] (kernels). The allocator is generic over the
//! first two and never names a device; buffers that users hold need the third, and what computes on
//! them the fourth.
//!
//! The contract, once for all methods:
//!
//! - **All or nothing.** A call that returns an error has changed nothing.
//! - **Strict.** A call that the contract forbids (an overlap, a double map, freeing what is not
//!   there) is [`DeviceError::InvalidCall`], never silently accepted.
//! - **Out of memory is an answer.** [`DeviceError::OutOfMemory`] says that the device holds too
//!   little *now*; reclaiming and asking again is a sensible reaction. No other error is.
//! - **Shared.** Methods take `&self`; an implementation does its own locking. `&D` and `Arc<D>`
//!   are devices where `D` is one, so that a test can keep an eye on the device it lent.
//! - **Sizes** given to the virtual-memory calls are multiples of [`Memory::granularity`].
#![deny(unsafe_code)]

mod compute;
mod error;
mod memory;
mod order;
mod transfer;

pub use compute::{Compute, Grid, Kernel, Module};
pub use error::{DeviceError, Result};
pub use memory::{Handle, Memory, MemoryInfo};
pub use order::Order;
pub use transfer::{Pattern, Transfer};

/// All that the caching allocator asks of a device.
pub trait Device: Memory + Order {}

impl<D: Memory + Order> Device for D {}
