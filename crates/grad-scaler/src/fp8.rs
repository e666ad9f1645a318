//! FP8: numbers of one byte, casts with their scale, and delayed scaling as Transformer Engine does
//! it.
//!
//! - [`Fp8E4M3`] and [`Fp8E5M2`] are the types; [`quantize`] and [`dequantize`] cast slices.
//! - [`Fp8Recipe`] says how scales follow from the magnitudes of earlier steps, [`Fp8Meta`] keeps
//!   both for the tensors of one direction, [`Fp8State`] is what a checkpoint keeps.
//! - [`Fp8Scaling`] does the same in a device's memory; the host waits for none of it.

pub(crate) mod convert;
mod device;
mod error;
mod meta;
pub(crate) mod recipe;
pub(crate) mod slices;
mod state;
mod types;

pub use device::Fp8Scaling;
pub use error::Fp8Error;
pub use meta::Fp8Meta;
pub use recipe::{AmaxCompute, Direction, Fp8Format, Fp8Recipe, UpdateRule};
pub use slices::{dequantize, quantize};
pub use state::Fp8State;
pub use types::{Fp8, Fp8E4M3, Fp8E5M2, Overflow, Wide};
