//! The nodes that a checkpoint puts into candle's graph.
//!
//! ```text
//! argument 1   argument 2          the inputs and variables that the outputs depend on
//!     │            │
//!   Hand ◀──────  Hand ◀── Root ◀── Output ◀── the rest of the program
//! ```
//!
//! Between them runs a token of one element. In the backward pass every `Output` notes its gradient,
//! `Root`, which candle reaches once all of them have, computes the gradients of the arguments, and
//! every `Hand` hands one of them out.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, DType, Error, Layout, MetalStorage, Result,
    Shape, Storage, Tensor,
};

use crate::mail::Mail;
use crate::segment::Segment;

/// A token: one element, whose values mean nothing but in `Root`'s gradient.
pub(crate) fn token(device: &candle_core::Device) -> Result<Tensor> {
    Tensor::zeros(1, DType::F32, device)
}

/// The storage of one of candle's devices.
pub(crate) trait Stored: BackendStorage<Device: BackendDevice<Storage = Self>> {}

impl<S: BackendStorage<Device: BackendDevice<Storage = S>>> Stored for S {}

/// The elements of a tensor, one after the other.
fn dense<S: Stored>(storage: &S, layout: &Layout) -> Result<(S, Shape)> {
    let mut copy = storage.device().zeros_impl(layout.shape(), storage.dtype())?;
    storage.copy_strided_src(&mut copy, 0, layout)?;
    Ok((copy, layout.shape().clone()))
}

/// Hands the gradient of an argument out.
pub(crate) struct Hand {
    pub(crate) mail: Arc<Mail>,
    pub(crate) number: usize,
}

impl CustomOp2 for Hand {
    fn name(&self) -> &'static str {
        "freeboard-checkpoint-argument"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        token: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        dense(token, layout)
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        token: &CudaStorage,
        layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        dense(token, layout)
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        token: &MetalStorage,
        layout: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        dense(token, layout)
    }

    fn bwd(
        &self,
        argument: &Tensor,
        token: &Tensor,
        _: &Tensor,
        _: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = match self.mail.take(self.number) {
            // candle asks every node that is no variable for its gradient.
            None if !argument.is_variable() => Some(argument.zeros_like()?),
            gradient => gradient,
        };
        let token = if token.track_op() { Some(token.zeros_like()?) } else { None };
        Ok((gradient, token))
    }
}

/// Computes the gradients of all arguments.
pub(crate) struct Root(pub(crate) Arc<Segment>);

impl CustomOp1 for Root {
    fn name(&self) -> &'static str {
        "freeboard-checkpoint"
    }

    fn cpu_fwd(&self, token: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        dense(token, layout)
    }

    fn cuda_fwd(&self, token: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        dense(token, layout)
    }

    fn metal_fwd(&self, token: &MetalStorage, layout: &Layout) -> Result<(MetalStorage, Shape)> {
        dense(token, layout)
    }

    fn bwd(&self, token: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        self.0.backward(gradient)?;
        Ok(Some(token.zeros_like()?))
    }
}

/// An output of the function. Its value was computed elsewhere.
pub(crate) struct Output {
    pub(crate) mail: Arc<Mail>,
    pub(crate) number: usize,
    /// The value, until the node is made.
    pub(crate) value: Mutex<Option<Tensor>>,
}

impl Output {
    fn value<S>(&self, copy: impl Fn(&Storage, &Layout) -> Option<Result<S>>) -> Result<S> {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner).take();
        let value = value.ok_or_else(|| Error::msg("a node is made once"))?;
        let (storage, layout) = value.storage_and_layout();
        copy(&storage, layout).unwrap_or_else(|| Err(Error::msg("an output changed its device")))
    }
}

impl CustomOp1 for Output {
    fn name(&self) -> &'static str {
        "freeboard-checkpoint-output"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.value(|storage, layout| match storage {
            Storage::Cpu(storage) => Some(dense(storage, layout)),
            _ => None,
        })
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.value(|storage, layout| match storage {
            Storage::Cuda(storage) => Some(dense(storage, layout)),
            _ => None,
        })
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout) -> Result<(MetalStorage, Shape)> {
        self.value(|storage, layout| match storage {
            Storage::Metal(storage) => Some(dense(storage, layout)),
            _ => None,
        })
    }

    fn bwd(&self, token: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        self.mail.put(self.number, gradient.clone());
        Ok(Some(token.ones_like()?))
    }
}
