//! A device made of arithmetic: every byte counted, every call checked, nothing behind the
//! addresses.
//!
//! [`SimDevice`] answers the calls of [`freeboard_device`] as a GPU's driver would, on any machine
//! and the same way every time. What it simulates:
//!
//! - **Capacity.** Physical memory runs out exactly when it is used up, in whole granules.
//! - **Addresses.** Plain allocations and reservations lie in two address spaces, each filled from
//!   the lowest address that fits; what is given back grows together with its neighbours.
//! - **Mappings.** Handles, reservations, aliases, access rights; memory comes back when a handle
//!   is both released and mapped nowhere.
//! - **Time.** A clock in ticks that moves only when told to or waited for: an event is done
//!   a set number of ticks after it was recorded.
//! - **Cost.** What the calls would have cost a driver, by a [`CostModel`] of assumed numbers.
//! - **Failure.** Any call can be made to fail, see [`FaultPlan`].
//!
//! What it does not simulate: the contents of memory, kernels and copies, streams running side by
//! side (they all share the one clock), peer access, and the driver's own fragmentation.
//!
//! It is stricter than a driver. A call that the contract forbids is refused with a reason, changes
//! nothing, and stays visible in [`SimDevice::violations`].
//!
//! ```
//! use freeboard_device::Memory;
//! use freeboard_device_sim::{Call, SimDevice};
//! use freeboard_units::Bytes;
//!
//! let device = SimDevice::new(Bytes::mib(64));
//! let range = device.reserve(Bytes::mib(128))?; // addresses cost nothing
//! let page = device.create(Bytes::mib(20))?;
//! let low = freeboard_units::AddressRange::new(range.start(), Bytes::mib(20));
//! device.map(low, page)?;
//! device.set_access(low)?;
//! assert!(device.can_access(low) && !device.can_access(range));
//!
//! assert!(device.allocate(Bytes::mib(45)).unwrap_err().is_out_of_memory());
//! assert!(device.map(low, page).is_err()); // mapped there already
//! assert_eq!((device.violations(), device.count(Call::MemMap)), (1, 2));
//!
//! device.release(page)?;
//! assert_eq!(device.used(), Bytes::mib(20)); // the mapping still holds it
//! device.unmap(low)?;
//! device.unreserve(range)?;
//! assert!(device.is_empty());
//! # Ok::<(), freeboard_device::DeviceError>(())
//! ```
#![forbid(unsafe_code)]

mod device;
mod inspect;

mod address_space;
mod clock;
mod mapping;
mod model;
mod physical;

mod call;
mod call_log;
mod cost;
mod fault;

pub use call::Call;
pub use call_log::{Argument, LoggedCall};
pub use cost::{CallCost, CostModel};
pub use device::{SimConfig, SimDevice};
pub use fault::{Fault, FaultPlan};
pub use inspect::Held;
