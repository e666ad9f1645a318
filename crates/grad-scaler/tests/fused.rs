//! The fused optimizers and casts, on the calling thread, on streams that are threads, and through the
//! kernels that GPUs run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unsafe_code, reason = "names a driver library")]

#[path = "fused/common.rs"]
mod common;
#[path = "fused/faults.rs"]
mod faults;
#[path = "fused/master.rs"]
mod master;
#[path = "fused/misuse.rs"]
mod misuse;
#[path = "fused/random.rs"]
mod random;
#[path = "fused/scaler.rs"]
mod scaler;
#[path = "fused/torch.rs"]
mod torch;
