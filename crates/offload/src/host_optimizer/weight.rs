//! [`Weight`]: a parameter on both sides, and its gradient on the way.

use std::any::Any;
use std::sync::Arc;

use freeboard_allocator::CachingAllocator;
use freeboard_buffer::{BufferError, DeviceBuffer, InFlight};
use freeboard_device::{Compute, DeviceError};
use freeboard_device_host::HostDevice;
use freeboard_grad_scaler::fused::{FloatBuffer, Parameter, ParameterId, Settings};
use freeboard_grad_scaler::{Float, Fused, FusedError, Optimizer, ScalerError};
use freeboard_units::{Bytes, Dtype, StreamId};
use half::{bf16, f16};

use crate::{Mover, OffloadError};

type HostAllocator = Arc<CachingAllocator<HostDevice>>;

/// A type that parameters have on the device: f32, f16 or bf16.
pub trait Values: Float + Into<f32> + Sealed {}

/// What the host does with such a type.
pub trait Sealed: Sized {
    /// The parameter on the host, with a copy in this type if it is not f32.
    fn with_copy(
        parameter: Parameter<HostDevice>,
        len: usize,
        host: &HostAllocator,
        stream: StreamId,
    ) -> Result<Parameter<HostDevice>, BufferError>;

    /// The values on the host in this type.
    fn of<S: Settings>(
        fused: &Fused<S, HostDevice>,
        id: ParameterId,
    ) -> Result<&DeviceBuffer<Self, HostDevice>, FusedError>
    where
        Self: Float;
}

impl Values for f32 {}

impl Sealed for f32 {
    fn with_copy(
        parameter: Parameter<HostDevice>,
        _: usize,
        _: &HostAllocator,
        _: StreamId,
    ) -> Result<Parameter<HostDevice>, BufferError> {
        Ok(parameter)
    }

    fn of<S: Settings>(
        fused: &Fused<S, HostDevice>,
        id: ParameterId,
    ) -> Result<&DeviceBuffer<Self, HostDevice>, FusedError> {
        fused.values(id)
    }
}

macro_rules! halves {
    ($($half:ty),*) => {
        $(impl Values for $half {}

        impl Sealed for $half {
            fn with_copy(
                parameter: Parameter<HostDevice>,
                len: usize,
                host: &HostAllocator,
                stream: StreamId,
            ) -> Result<Parameter<HostDevice>, BufferError> {
                let copy = DeviceBuffer::<$half, _>::uninit(host, len, stream)?;
                Ok(parameter.with_copy(copy))
            }

            fn of<S: Settings>(
                fused: &Fused<S, HostDevice>,
                id: ParameterId,
            ) -> Result<&DeviceBuffer<Self, HostDevice>, FusedError> {
                fused.copy(id)
            }
        })*
    };
}
halves!(f16, bf16);

/// A gradient on its way: gives it to its parameter.
pub(super) type Pending<S, D> =
    Box<dyn FnOnce(&Mover<D>, &mut Weight<S, D>) -> Result<(), OffloadError>>;

/// New values on their way to the device: waits for them.
pub(super) type Sent<D> = Box<dyn FnOnce(&Mover<D>) -> Result<(), OffloadError>>;

/// A parameter: on the device, and with all that belongs to it, on the host.
pub(super) struct Weight<S: Settings, D: Compute> {
    pub(super) name: String,
    pub(super) len: usize,
    on_device: Box<dyn OnDevice<S, D>>,
    /// Alone in it, so that it steps alone.
    pub(super) fused: Fused<S, HostDevice>,
    pub(super) id: ParameterId,
    /// It has a gradient that was not used yet.
    pub(super) ready: bool,
    /// The device has the values from before a step.
    stale: bool,
}

/// A parameter on the device, whatever its type.
trait OnDevice<S: Settings, D: Compute>: Any {
    /// Begins to copy the values on the host to it; home waits for that.
    fn send(
        &mut self,
        name: &str,
        mover: &Mover<D>,
        fused: &Fused<S, HostDevice>,
        id: ParameterId,
    ) -> Result<Sent<D>, FusedError>;
    fn dtype(&self) -> Dtype;
    fn as_any(&self) -> &dyn Any;
}

impl<T: Values, S: Settings, D: Compute + 'static> OnDevice<S, D> for DeviceBuffer<T, D> {
    fn send(
        &mut self,
        name: &str,
        mover: &Mover<D>,
        fused: &Fused<S, HostDevice>,
        id: ParameterId,
    ) -> Result<Sent<D>, FusedError> {
        let mut pinned = mover.host().allocate::<T>(self.len())?;
        T::of(fused, id)?.copy_to_slice(&mut pinned)?; // after the update, which is on that stream
        let begin = mover.back.begin_after(self.stream());
        let copy = self.on_mut(mover.back.stream)?.upload(pinned).map_err(BufferError::from)?;
        mover.back.end(begin);
        let failed =
            OffloadError::buffer(name.to_owned(), "waiting for new values to be on the device");
        Ok(Box::new(move |mover| mover.wait(copy).map(drop).map_err(failed)))
    }

    fn dtype(&self) -> Dtype {
        T::DTYPE
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl<S: Settings + 'static, D: Compute + 'static> Weight<S, D> {
    pub(super) fn new<T: Values>(
        name: String,
        values: DeviceBuffer<T, D>,
        fused: Fused<S, HostDevice>,
        id: ParameterId,
    ) -> Self {
        let len = values.len();
        Self { name, len, on_device: Box::new(values), fused, id, ready: false, stale: false }
    }

    pub(super) fn values<T: Values>(&self) -> Result<&DeviceBuffer<T, D>, OffloadError> {
        let (parameter, has, asked) = (self.name.clone(), self.on_device.dtype(), T::DTYPE);
        let found = self.on_device.as_any().downcast_ref();
        found.ok_or(OffloadError::Type { parameter, has, asked })
    }

    /// Puts the update on the host's stream, if there is a gradient for it.
    pub(super) fn update(&mut self) -> Result<(), OffloadError> {
        if self.ready {
            self.fused.step().map_err(on_host(&self.name, "updating it"))?;
            (self.ready, self.stale) = (false, true);
        }
        Ok(())
    }

    /// Begins to copy new values to the device, if it has old ones.
    pub(super) fn send(&mut self, mover: &Mover<D>) -> Result<Option<Sent<D>>, OffloadError> {
        if !self.stale {
            return Ok(None);
        }
        let sent = self.on_device.send(&self.name, mover, &self.fused, self.id);
        let sent = sent.map_err(on_host(&self.name, "copying new values to the device"))?;
        self.stale = false;
        mover.count(Bytes::ZERO, self.on_device.dtype().size() * self.len as u64);
        Ok(Some(sent))
    }
}

/// A gradient that is being copied to the host.
pub(super) fn pending<G: Float, S: Settings, D: Compute + 'static>(
    copy: InFlight<G, D>,
) -> Pending<S, D>
where
    FloatBuffer<HostDevice>: From<DeviceBuffer<G, HostDevice>>,
{
    Box::new(move |mover, weight| {
        let doing = "waiting for its gradient";
        let pinned = mover.wait(copy).map_err(OffloadError::buffer(&weight.name, doing))?;
        let taken = weight.take_over(&pinned);
        taken.map_err(on_host(&weight.name, "taking over its gradient"))
    })
}

impl<S: Settings, D: Compute> Weight<S, D> {
    /// Takes a gradient; the memory of the last one, if it has the same type.
    fn take_over<G: Float>(&mut self, numbers: &[G]) -> Result<(), FusedError>
    where
        FloatBuffer<HostDevice>: From<DeviceBuffer<G, HostDevice>>,
    {
        self.ready = false;
        if let Ok(gradient) = self.fused.gradient_mut::<G>(self.id) {
            gradient.copy_from_slice(numbers)?;
        } else {
            let values = self.fused.values(self.id)?;
            let gradient = DeviceBuffer::from_slice(values.allocator(), numbers, values.stream())?;
            self.fused.set_gradient(self.id, Some(gradient.into()))?;
        }
        self.ready = true;
        Ok(())
    }
}

/// What went wrong on the host, for a parameter.
pub(super) fn on_host(
    parameter: &str,
    doing: &'static str,
) -> impl FnOnce(FusedError) -> OffloadError {
    let parameter = parameter.to_owned();
    move |source| OffloadError::Host { parameter, doing, source }
}

/// As a scaler tells it.
pub(super) fn for_scaler(error: OffloadError) -> ScalerError {
    match error {
        OffloadError::Buffer { source, .. }
        | OffloadError::Host { source: FusedError::Buffer(source), .. } => source.into(),
        error => DeviceError::InvalidCall { call: "gradients", reason: error.to_string() }.into(),
    }
}
