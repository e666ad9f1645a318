//! Typed buffers over cached device memory.
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
