//! Typed buffers over cached device memory, views of them, and pinned host memory.
//!
//! - [`DeviceBuffer`] owns memory of a [`CachingAllocator`](freeboard_allocator::CachingAllocator),
//!   on any device that implements [`Transfer`](freeboard_device::Transfer). [`View`] and
//!   [`ViewMut`] are parts of it; all of them copy, fill and reinterpret.
//! - Work goes to the buffer's home stream. [`OnStream`] and [`OnStreamMut`] lend it to another one,
//!   with the waits that takes.
//! - [`PinnedAllocator`] keeps page-locked host memory; [`Pinned`] is a piece of it, and
//!   [`InFlight`] a transfer that owns such a piece until it is done.
//! - `cuda` (a feature, on by default; it needs no CUDA toolkit) makes buffers on a GPU arguments of
//!   cudarc's functions and kernels.
//!
//! What waits for what: methods that take or give a slice or a `Vec` of this process wait until
//! the copy is done, so that the memory is the caller's again when they return. All others put
//! their work on the stream and return.
//!
//! ```
//! use std::sync::Arc;
//!
//! use freeboard_allocator::{CachingAllocator, Config};
//! use freeboard_buffer::DeviceBuffer;
//! use freeboard_device::Order;
//! use freeboard_device_host::HostDevice;
//! use freeboard_units::{Bytes, StreamId};
//!
//! let device = HostDevice::new(Bytes::mib(64))?;
//! let copies = device.create_stream()?;
//! let allocator = Arc::new(CachingAllocator::new(device, Config::default())?);
//!
//! let mut weights = DeviceBuffer::<f32, _>::zeroed(&allocator, 1000, StreamId::DEFAULT)?;
//! weights.slice_mut(..500)?.fill(0.5)?;
//! weights.on_mut(copies)?.slice_mut(999..)?.copy_from_slice(&[2.0])?;
//! assert_eq!(weights.slice(498..501)?.to_vec()?, [0.5, 0.5, 0.0]);
//! assert_eq!(weights.cast::<u32>()?.slice(999..)?.to_vec()?, [2.0_f32.to_bits()]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to start reading
//!
//! `order.rs`: who may use memory when. `transfer.rs`: the only place where bytes are moved, with
//! the argument why that is sound. `methods.rs`: what buffers, views and guards have in common.
//! `pinned/cache.rs`: the cache of pinned memory.
#![allow(unsafe_code, reason = "puts transfers on streams; each block says why it may")]

mod buffer;
#[cfg(feature = "cuda")]
pub mod cuda;
mod element;
mod error;
mod guard;
mod in_flight;
mod methods;
mod order;
mod pinned;
mod transfer;
mod view;

pub use buffer::DeviceBuffer;
pub use element::Element;
pub use error::BufferError;
pub use guard::{OnStream, OnStreamMut};
pub use in_flight::{InFlight, Refused};
pub use pinned::{Pinned, PinnedAllocator, PinnedPolicy, PinnedStats};
pub use view::{View, ViewMut};
