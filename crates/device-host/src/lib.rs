//! A device made of this machine's memory: bytes that are there, streams that run.
//!
//! [`HostDevice`] answers the calls of [`freeboard_device`] as a GPU would, and what an allocator
//! does wrong shows as it would there, only more plainly:
//!
//! - **Memory.** Pages of one memory file, mapped where one wants them, at several addresses at
//!   once if one wants that. Touching an address without a page faults. Memory that is released
//!   goes back to the operating system, and a capacity says how much there is.
//! - **Streams.** A thread each. Work is done in the order it was put on a stream, at the same time
//!   as that of other streams. Memory that is used again too early holds the wrong bytes. Or, if
//!   one wants that, whoever puts work on a stream does it at once ([`Streams::Caller`]).
//! - **Errors.** Copies and fills look before they touch. Work on memory that is not mapped fails
//!   as an illegal address does on a GPU: the device is lost, and every later call says so.
//! - **Books.** What the contract forbids is refused by the books of a simulated device, which this
//!   device keeps beside the memory. They count calls, find leaks and fail on demand
//!   ([`HostDevice::books`]).
//!
//! It needs Linux: the memory file is `memfd_create`'s.
//!
//! ```
//! use freeboard_device::{Memory, Order, Pattern, Transfer};
//! use freeboard_device_host::HostDevice;
//! use freeboard_units::{AddressRange, Bytes};
//!
//! let device = HostDevice::new(Bytes::mib(64))?;
//! let stream = device.create_stream()?;
//! let start = device.allocate(Bytes::kib(4))?;
//! let mut seen = [0_u32; 2];
//! // Sound: the allocation is 4 KiB, nobody else has it, and `seen` is waited for.
//! unsafe { device.fill(AddressRange::new(start, Bytes::kib(4)), Pattern::U32(7), stream)? };
//! unsafe { device.download(seen.as_mut_ptr().cast(), start, Bytes::new(8), stream)? };
//! device.synchronize_stream(stream)?;
//! assert_eq!(seen, [7, 7]);
//! # Ok::<(), freeboard_device::DeviceError>(())
//! ```
#![allow(unsafe_code, reason = "maps memory and copies bytes; each block says why it may")]

mod compute;
mod device;
mod failure;
mod memory;
mod order;
mod os;
mod pages;
mod pinned;
mod stream;
mod transfer;
mod work;

pub use device::{HostConfig, HostDevice, Streams};
