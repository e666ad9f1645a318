//! The kernels: their parameters here, what they do on the host in `kernels/*.rs`, what they do on a
//! GPU in `kernels/*.cu`, and the PTX made from that.
//!
//! A kernel gets one structure. A list of tensors lies in it, so that nothing has to be uploaded
//! before a launch; what does not fit goes into the next launch.

use std::{ptr, slice};

use bytemuck::Pod;
use freeboard_device::{Compute, DeviceError, Grid, Kernel, Module};
use freeboard_units::StreamId;

use crate::rule::Rule;

#[cfg(test)]
mod cuda_tests;
pub(crate) mod list;
pub(crate) mod multiply;
pub(crate) mod optimizers;
pub(crate) mod range;
pub(crate) mod round;
mod update;

/// The scaler's own kernels.
pub(crate) static SCALER: Module =
    Module { name: "freeboard scaler", ptx: include_str!("kernels/scaler.ptx") };

// As the assertions in `common.cuh` and `scaler.cu`.
const _: () = assert!(size_of::<list::Entry>() == 16 && size_of::<list::MultiplyList>() == 4000);
const _: () = assert!(size_of::<list::Found>() == 16 && size_of::<list::State>() == 64);
const _: () = assert!(size_of::<list::UpdateScale>() == 72 && size_of::<Rule>() == 40);

/// Its parameter is a [`list::MultiplyList`].
pub(crate) static MULTIPLY_LIST: Kernel =
    Kernel { name: "freeboard_multiply", module: &SCALER, host: multiply::multiply };

/// Its parameter is a [`list::UpdateScale`].
pub(crate) static UPDATE_SCALE: Kernel =
    Kernel { name: "freeboard_update_scale", module: &SCALER, host: update::update };

/// Where an address of a device that is this process's memory points to.
#[expect(clippy::cast_possible_truncation, reason = "an address of this process is a usize")]
pub(crate) fn pointer<T>(address: u64) -> *mut T {
    ptr::with_exposed_provenance_mut(address as usize)
}

/// Launches a kernel with its parameter.
///
/// # Safety
/// As for [`Compute::launch`].
pub(crate) unsafe fn launch<P: Pod, D: Compute>(
    device: &D,
    kernel: &'static Kernel,
    grid: Grid,
    parameter: &P,
    stream: StreamId,
) -> Result<(), DeviceError> {
    let words = bytemuck::cast_slice(slice::from_ref(parameter));
    // SAFETY: the caller promises it.
    unsafe { device.launch(kernel, grid, words, stream) }
}

/// The parameter in the words of a launch.
pub(crate) fn parameter<P: Pod>(words: &[u64]) -> &P {
    bytemuck::from_bytes(bytemuck::cast_slice(words))
}
