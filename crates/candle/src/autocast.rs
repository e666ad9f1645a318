//! Autocast for candle's tensors: in which type an operation runs, as PyTorch decides.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use freeboard_candle::autocast::{self, Dtype, Scope};
//!
//! let x = Tensor::ones((2, 3), DType::F32, &Device::Cpu)?;
//! let y = Scope::new(Dtype::BF16)?.run(|| autocast::matmul(&x, &x.t()?))?;
//! assert_eq!(y.dtype(), DType::BF16);
//! assert_eq!(autocast::matmul(&x, &x.t()?)?.dtype(), DType::F32); // outside
//! # Ok::<(), freeboard_candle::Error>(())
//! ```
//!
//! A [`Scope`] holds for its thread; a [checkpoint](crate::Checkpoint) runs its function again under
//! the scope it ran in first. Tensors on the CPU are cast by PyTorch's lists for the CPU, all others
//! by those for CUDA. Casts are part of candle's graph; none is kept for later.

use candle_core::shape::Dim;
use candle_core::{Module, Tensor};
use candle_nn::Linear;
use freeboard_grad_scaler::autocast::cast_for_on;
pub use freeboard_grad_scaler::autocast::{Autocast, AutocastError, Backend, Policy, Rule, Scope};
pub use freeboard_units::Dtype;

use crate::Error;
use crate::dtype::{ours, theirs};

/// The arguments of the operation `op`, named as in PyTorch, each in the type that autocast wants.
///
/// Where autocast sets the type of the output instead (a softmax on CUDA), arguments get it, as
/// PyTorch's own operations then do. Types that PyTorch does not have are left alone.
///
/// # Errors
/// [`Error::Autocast`] for an operation that is refused; when candle cannot cast.
pub fn cast_args(op: &str, tensors: &[&Tensor]) -> Result<Vec<Tensor>, Error> {
    let backend = if tensors.iter().all(|tensor| tensor.device().is_cpu()) {
        Backend::Cpu
    } else {
        Backend::Cuda
    };
    let dtypes: Vec<Dtype> = tensors.iter().filter_map(|tensor| ours(tensor.dtype())).collect();
    let casts = cast_for_on(backend, op, &dtypes)?;
    let cast = tensors.iter().map(|tensor| {
        let Some(dtype) = ours(tensor.dtype()).filter(|dtype| dtype.is_float()) else {
            return Ok((*tensor).clone());
        };
        let to = casts.output().unwrap_or_else(|| casts.input(dtype));
        Ok(tensor.to_dtype(theirs(to).unwrap_or(tensor.dtype()))?)
    });
    cast.collect()
}

/// [`Tensor::matmul`] in the type that autocast wants.
///
/// # Errors
/// As [`cast_args`]; when candle cannot multiply them.
pub fn matmul(left: &Tensor, right: &Tensor) -> Result<Tensor, Error> {
    let cast = cast_args("matmul", &[left, right])?;
    Ok(cast[0].matmul(&cast[1])?)
}

/// A linear layer in the type that autocast wants.
///
/// # Errors
/// As [`cast_args`]; when candle cannot multiply them.
pub fn linear(layer: &Linear, x: &Tensor) -> Result<Tensor, Error> {
    let tensors: Vec<&Tensor> = [x, layer.weight()].into_iter().chain(layer.bias()).collect();
    let mut cast = cast_args("linear", &tensors)?.into_iter();
    let (Some(x), Some(weight)) = (cast.next(), cast.next()) else {
        return Ok(layer.forward(x)?);
    };
    Ok(Linear::new(weight, cast.next()).forward(&x)?)
}

/// [`candle_nn::ops::softmax`] in the type that autocast wants.
///
/// # Errors
/// As [`cast_args`]; when there is no such dimension.
pub fn softmax<D: Dim>(x: &Tensor, dimension: D) -> Result<Tensor, Error> {
    let cast = cast_args("softmax", &[x])?;
    Ok(candle_nn::ops::softmax(&cast[0], dimension)?)
}
