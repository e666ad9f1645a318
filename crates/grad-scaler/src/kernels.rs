//! The kernels: their parameters here, what they do on the host in `kernels/*.rs`, what they do on a
//! GPU in `kernels/*.cu`, and the PTX made from that.
//!
//! A kernel gets one structure. A list of tensors lies in it, so that nothing has to be uploaded
//! before a launch; what does not fit goes into the next launch.

#[cfg(test)]
mod cuda_tests;
pub(crate) mod list;
pub(crate) mod multiply;

use freeboard_device::Module;

use crate::rule::Rule;

/// The kernels of the scaler for GPUs.
pub(crate) static SCALER: Module =
    Module { name: "freeboard scaler", ptx: include_str!("kernels/scaler.ptx") };

// As the assertions in `common.cuh` and `scaler.cu`.
const _: () = assert!(size_of::<list::Entry>() == 16 && size_of::<list::MultiplyList>() == 4000);
const _: () = assert!(size_of::<list::Found>() == 16 && size_of::<list::State>() == 64);
const _: () = assert!(size_of::<list::UpdateScale>() == 72 && size_of::<Rule>() == 40);
