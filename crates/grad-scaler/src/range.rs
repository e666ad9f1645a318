//! The dynamic range of tensors: what a cast to a narrow type would lose, and which scale would save
//! it.
//!
//! [`measure`] looks at tensors in this process's memory, [`Ranges`] at tensors on a device, in one
//! launch for 248 of them. Both make a [`RangeReport`] for each; [`RangeTable`] prints them,
//! [`suggest_scale`] draws the conclusion, and [`Histogram`] shows one tensor by powers of two.

mod device;
mod error;
mod histogram;
mod host;
mod report;
pub(crate) mod tally;
mod target;

pub use device::{DeviceTensor, Ranges};
pub use error::RangeError;
pub use histogram::Histogram;
pub use host::{HostTensor, measure};
pub use report::{RangeReport, RangeTable, suggest_scale};
pub use target::RangeTarget;
