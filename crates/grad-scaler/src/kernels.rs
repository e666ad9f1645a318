//! The kernels: their parameters here, what they do on the host in `kernels/*.rs`, what they do on a
//! GPU in `kernels/*.cu`, and the PTX made from that.
//!
//! A kernel gets one structure. A list of tensors lies in it, so that nothing has to be uploaded
//! before a launch; what does not fit goes into the next launch.

pub(crate) mod list;
pub(crate) mod multiply;
mod update;
