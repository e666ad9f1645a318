//! The kernels: their parameters here, what they do on the host in `kernels/*.rs`, what they do on a
//! GPU in `kernels/*.cu`, and the PTX made from that.
//!
//! A kernel gets one structure. A list of tensors lies in it, so that nothing has to be uploaded
//! before a launch; what does not fit goes into the next launch.

pub(crate) mod list;
pub(crate) mod optimizers;
mod plain;
use plain::{multiply, update};

use freeboard_device::{Kernel, Module};

/// The scaler's own kernels.
pub(crate) static SCALER: Module =
    Module { name: "freeboard scaler", ptx: include_str!("kernels/scaler.ptx") };

pub(crate) static MULTIPLY_LIST: Kernel =
    Kernel { name: "freeboard_multiply", module: &SCALER, host: multiply };

pub(crate) static UPDATE_SCALE: Kernel =
    Kernel { name: "freeboard_update_scale", module: &SCALER, host: update };
