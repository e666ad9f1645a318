//! The numbers of memory management, each with its meaning in its type.
//!
//! A size, an address and a stream are all `u64` to the machine, and mixing them up is the oldest
//! bug of every allocator. Here they do not mix: [`Bytes`] counts, [`Address`] points,
//! [`AddressRange`] covers, [`StreamId`] orders. KiB means 1,024 everywhere.
//!
//! ```
//! use freeboard_units::{Address, AddressRange, Bytes};
//!
//! let segment = AddressRange::new(Address::new(0x1000_0000), Bytes::mib(20));
//! assert_eq!(segment.size().to_string(), "20.00 MiB");
//! assert!(segment.contains(segment.start() + Bytes::kib(512)));
//! assert_eq!("1.5GiB".parse::<Bytes>()?, Bytes::mib(1536));
//! # Ok::<(), freeboard_units::ParseBytesError>(())
//! ```
#![forbid(unsafe_code)]

mod address;
mod bytes;
mod dtype;
mod id;
mod philox;

pub use address::{Address, AddressRange};
pub use bytes::{Bytes, ParseBytesError};
pub use dtype::{Dtype, ParseDtypeError};
pub use id::{DeviceId, EventId, StreamId};
pub use philox::philox;
