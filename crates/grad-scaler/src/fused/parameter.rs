//! [`Parameter`]: a tensor that an optimizer updates, and the buffers that belong to it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use freeboard_allocator::CachingAllocator;
use freeboard_buffer::{BufferError, DeviceBuffer};
use freeboard_device::Compute;
use freeboard_units::{DeviceId, Dtype, StreamId};
use half::{bf16, f16};

use super::FusedError;
use crate::kernels::list::tagged;
use crate::{Casts, Float, Half, ScalerError, Tensors};

/// A buffer of any type that gradients have; made from a [`DeviceBuffer`] with `into`.
pub struct FloatBuffer<D: Compute>(Kind<D>);

enum Kind<D: Compute> {
    F64(DeviceBuffer<f64, D>),
    F32(DeviceBuffer<f32, D>),
    F16(DeviceBuffer<f16, D>),
    BF16(DeviceBuffer<bf16, D>),
}

macro_rules! from {
    ($($number:ty => $variant:ident),*) => {
        $(impl<D: Compute> From<DeviceBuffer<$number, D>> for FloatBuffer<D> {
            fn from(buffer: DeviceBuffer<$number, D>) -> Self {
                Self(Kind::$variant(buffer))
            }
        })*
    };
}
from!(f64 => F64, f32 => F32, f16 => F16, bf16 => BF16);

/// The same for whatever type the buffer has.
macro_rules! each {
    ($kind:expr, $buffer:ident => $result:expr) => {
        match $kind {
            Kind::F64($buffer) => $result,
            Kind::F32($buffer) => $result,
            Kind::F16($buffer) => $result,
            Kind::BF16($buffer) => $result,
        }
    };
}

impl<D: Compute> FloatBuffer<D> {
    /// What its elements are.
    #[must_use]
    pub const fn dtype(&self) -> Dtype {
        match self.0 {
            Kind::F64(_) => Dtype::F64,
            Kind::F32(_) => Dtype::F32,
            Kind::F16(_) => Dtype::F16,
            Kind::BF16(_) => Dtype::BF16,
        }
    }

    fn about(&self) -> About {
        each!(&self.0, buffer => About::of(buffer))
    }

    /// Its address and type, for a kernel that writes it.
    fn for_kernel(&mut self) -> Result<u64, BufferError> {
        let dtype = self.dtype();
        Ok(tagged(each!(&mut self.0, buffer => buffer.view_mut().for_kernel())?, dtype))
    }
}

impl<D: Compute + 'static> FloatBuffer<D> {
    /// The buffer, if its elements are `T`.
    #[must_use]
    pub fn get<T: Float>(&self) -> Option<&DeviceBuffer<T, D>> {
        each!(&self.0, buffer => (buffer as &dyn Any).downcast_ref())
    }

    /// The buffer, if its elements are `T`.
    pub fn get_mut<T: Float>(&mut self) -> Option<&mut DeviceBuffer<T, D>> {
        each!(&mut self.0, buffer => (buffer as &mut dyn Any).downcast_mut())
    }
}

impl<D: Compute> fmt::Debug for FloatBuffer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        each!(&self.0, buffer => buffer.fmt(f))
    }
}

/// What must fit.
struct About {
    len: usize,
    stream: StreamId,
    device: DeviceId,
}

impl About {
    fn of<T: Float, D: Compute>(buffer: &DeviceBuffer<T, D>) -> Self {
        let device = buffer.allocator().device().id();
        Self { len: buffer.len(), stream: buffer.stream(), device }
    }
}

/// A tensor to be updated: a name for reports, its values in f32, its gradient, and, where the model
/// computes in f16 or bf16, the copy that it computes with.
#[derive(Debug)]
#[must_use]
pub struct Parameter<D: Compute> {
    pub(super) name: String,
    pub(super) values: DeviceBuffer<f32, D>,
    pub(super) gradient: Option<FloatBuffer<D>>,
    pub(super) copy: Option<FloatBuffer<D>>,
    /// As many as the settings have.
    pub(super) moments: Vec<DeviceBuffer<f32, D>>,
    pub(super) group: usize,
}

/// The addresses of a parameter's buffers, with types.
pub(super) struct Addresses {
    pub(super) values: u64,
    pub(super) gradient: u64,
    pub(super) first: u64,
    pub(super) second: u64,
    pub(super) copy: u64,
}

impl<D: Compute> Parameter<D> {
    /// A parameter with no gradient and no copy: steps leave it alone until it has a gradient.
    pub fn new(name: impl Into<String>, values: DeviceBuffer<f32, D>) -> Self {
        let (gradient, copy, moments) = (None, None, Vec::new());
        Self { name: name.into(), values, gradient, copy, moments, group: 0 }
    }

    /// With this gradient: a buffer of f32, f16, bf16 or f64.
    pub fn with_gradient(self, gradient: impl Into<FloatBuffer<D>>) -> Self {
        Self { gradient: Some(gradient.into()), ..self }
    }

    /// With a copy of the values in f16 or bf16, which every step writes anew.
    pub fn with_copy<T: Half>(self, copy: DeviceBuffer<T, D>) -> Self
    where
        FloatBuffer<D>: From<DeviceBuffer<T, D>>,
    {
        Self { copy: Some(copy.into()), ..self }
    }

    /// Whether all buffers fit the parameter, and are where the optimizer works.
    pub(super) fn check(&self, device: DeviceId, stream: StreamId) -> Result<(), FusedError> {
        self.check_one("parameter", &About::of(&self.values), device, stream)?;
        for (what, buffer) in [("gradient", &self.gradient), ("copy", &self.copy)] {
            if let Some(buffer) = buffer {
                self.check_one(what, &buffer.about(), device, stream)?;
            }
        }
        Ok(())
    }

    /// Whether a gradient fits.
    pub(super) fn check_gradient(&self, gradient: &FloatBuffer<D>) -> Result<(), FusedError> {
        let About { device, stream, .. } = About::of(&self.values);
        self.check_one("gradient", &gradient.about(), device, stream)
    }

    fn check_one(
        &self,
        what: &'static str,
        about: &About,
        expected_device: DeviceId,
        expected: StreamId,
    ) -> Result<(), FusedError> {
        let About { len, stream, device } = *about;
        let tensor = || self.name.clone();
        if device != expected_device {
            let expected = expected_device;
            return Err(FusedError::WrongDevice { tensor: tensor(), what, device, expected });
        }
        if stream != expected {
            return Err(FusedError::WrongStream { tensor: tensor(), what, stream, expected });
        }
        if len != self.values.len() {
            let expected = self.values.len();
            return Err(FusedError::Length { tensor: tensor(), what, len, expected });
        }
        Ok(())
    }

    /// Makes moments of zeros.
    pub(super) fn add_moments(
        &mut self,
        allocator: &Arc<CachingAllocator<D>>,
        count: usize,
    ) -> Result<(), BufferError> {
        let (len, stream) = (self.values.len(), self.values.stream());
        let moment = |_| DeviceBuffer::zeroed(allocator, len, stream);
        self.moments = (0..count).map(moment).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Adds the gradient to a list, if there is one.
    pub(super) fn list<'a>(&'a mut self, list: &mut Tensors<'a>) -> Result<(), ScalerError> {
        let Some(gradient) = &mut self.gradient else { return Ok(()) };
        each!(&mut gradient.0, buffer => list.push(&self.name, buffer.view_mut()))
    }

    /// Adds the copy to what is to be cast, if there is one.
    pub(super) fn list_copy<'a>(&'a mut self, casts: &mut Casts<'a, D>) -> Result<(), FusedError> {
        let values = self.values.view();
        match self.copy.as_mut().map(|copy| &mut copy.0) {
            Some(Kind::F16(copy)) => casts.down(&self.name, values, copy.view_mut()),
            Some(Kind::BF16(copy)) => casts.down(&self.name, values, copy.view_mut()),
            _ => Ok(()),
        }
    }

    /// Where everything is, for a kernel; none without a gradient.
    pub(super) fn for_kernel(&mut self) -> Result<Option<Addresses>, BufferError> {
        let Some(gradient) = &mut self.gradient else { return Ok(None) };
        let mut moments = [0; 2];
        for (address, moment) in moments.iter_mut().zip(&mut self.moments) {
            *address = moment.view_mut().for_kernel()?.get();
        }
        let [first, second] = moments;
        Ok(Some(Addresses {
            values: self.values.view_mut().for_kernel()?.get(),
            gradient: gradient.for_kernel()?,
            first,
            second,
            copy: self.copy.as_mut().map_or(Ok(0), FloatBuffer::for_kernel)?,
        }))
    }
}
