//! [`FusedAdamW`] and [`FusedSgd`]: optimizers whose kernels decide on the device whether to step.

mod error;
mod launch;
mod parameter;
mod settings;

use std::fmt;
use std::sync::Arc;

use bytemuck::Zeroable;
use freeboard_allocator::CachingAllocator;
use freeboard_buffer::DeviceBuffer;
use freeboard_device::Compute;
use freeboard_units::{Address, StreamId};

pub use error::FusedError;
pub(crate) use launch::size_of_tag;
pub use parameter::{FloatBuffer, Parameter};
pub use settings::{AdamWConfig, Settings, SgdConfig};

use crate::kernels::optimizers::{GROUPS, OPTIMIZERS, Progress, UpdateList};
use crate::optimizer::{FusedOptimizer, Optimizer, Predicate, new_scaler};
use crate::{Casts, Float, Half, Rounding, ScalerError, Tensors};
use launch::Position;

/// `torch.optim.AdamW(fused=True)`, or `Adam` with [`decoupled`](AdamWConfig::decoupled) off.
///
/// ```
/// use std::sync::Arc;
/// use freeboard_allocator::{CachingAllocator, Config};
/// use freeboard_buffer::DeviceBuffer;
/// use freeboard_device::Order;
/// use freeboard_device_host::HostDevice;
/// use freeboard_grad_scaler::{AdamWConfig, FusedAdamW, GradScaler, ScalerConfig};
/// use freeboard_units::Bytes;
///
/// let device = HostDevice::new(Bytes::mib(64))?;
/// let stream = device.create_stream()?;
/// let allocator = Arc::new(CachingAllocator::new(device, Config::default())?);
///
/// let config = AdamWConfig { lr: 0.1, ..AdamWConfig::default() };
/// let mut adamw = FusedAdamW::new(&allocator, stream, config)?;
/// let values = DeviceBuffer::from_slice(&allocator, &[1.0_f32, -1.0], stream)?;
/// let weight = adamw.add_parameter("weight", values)?;
///
/// let mut scaler = GradScaler::new(&allocator, stream, ScalerConfig::default())?;
/// let id = scaler.add_optimizer("adamw");
/// for gradient in [0.5, f32::INFINITY, 0.5] {
///     let factor = scaler.start()?; // multiply the loss by it; the backward pass writes gradients
///     adamw.gradient_mut::<f32>(weight)?.copy_from_slice(&[factor * gradient; 2])?;
///     scaler.step_fused(id, &mut adamw)?; // nothing is waited for
///     scaler.update()?;
/// }
/// assert_eq!(adamw.steps(adamw.first_group())?, 2); // the infinite one was no step
/// let values = adamw.values(weight)?.to_vec()?;
/// assert!((values[0] - 0.798).abs() < 1e-3 && (values[1] + 1.198).abs() < 1e-3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type FusedAdamW<D> = Fused<AdamWConfig, D>;

/// `torch.optim.SGD(fused=True)`.
pub type FusedSgd<D> = Fused<SgdConfig, D>;

/// An optimizer that updates all its parameters in a few launches: see [`FusedAdamW`] and
/// [`FusedSgd`].
///
/// Where the predicate of a scaler says that a gradient is not finite, nothing changes, not even the
/// count of steps, which lives on the device. Otherwise gradients are unscaled as they are read, and
/// written back unscaled, as `PyTorch` does; it divides by the scale, and this multiplies by one over
/// the scale, which is the same number unless the scale is no power of two.
///
/// Parameters and moments are f32. `PyTorch`'s `amsgrad`, sparse gradients and parameters in other
/// types are not there.
pub struct Fused<S: Settings, D: Compute> {
    id: u32,
    allocator: Arc<CachingAllocator<D>>,
    stream: StreamId,
    groups: Vec<S>,
    parameters: Vec<Parameter<D>>,
    progress: DeviceBuffer<Progress, D>,
    rounding: Rounding,
    /// Where the next step begins: not at the start if the last one failed half way.
    begin: Option<Position>,
    /// Filled for each launch, so that it is not cleared for each.
    list: Box<UpdateList>,
}

/// A group of parameters with settings of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId {
    optimizer: u32,
    number: usize,
}

/// A parameter of an optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParameterId {
    optimizer: u32,
    number: usize,
}

impl<S: Settings, D: Compute + 'static> Fused<S, D> {
    /// An optimizer with one group of parameters, none yet. Its work is put on `stream`, and its own
    /// memory is `allocator`'s.
    ///
    /// # Errors
    /// When the settings make no sense, there is no memory, or the device refuses the kernels.
    pub fn new(
        allocator: &Arc<CachingAllocator<D>>,
        stream: StreamId,
        settings: S,
    ) -> Result<Self, FusedError> {
        settings.check()?;
        allocator.device().load(&OPTIMIZERS)?;
        Ok(Self {
            id: new_scaler(),
            allocator: Arc::clone(allocator),
            stream,
            groups: vec![settings],
            parameters: Vec::new(),
            progress: DeviceBuffer::zeroed(allocator, GROUPS, stream)?,
            rounding: Rounding::Nearest,
            begin: None,
            list: Box::new(UpdateList::zeroed()),
        })
    }

    /// The group that it was made with.
    #[must_use]
    pub const fn first_group(&self) -> GroupId {
        GroupId { optimizer: self.id, number: 0 }
    }

    /// Another group, whose parameters have other settings. It counts its own steps.
    ///
    /// # Errors
    /// When the settings make no sense, or there are 64 groups.
    pub fn add_group(&mut self, settings: S) -> Result<GroupId, FusedError> {
        settings.check()?;
        if self.groups.len() == GROUPS {
            return Err(FusedError::TooManyGroups { most: GROUPS });
        }
        self.groups.push(settings);
        Ok(GroupId { optimizer: self.id, number: self.groups.len() - 1 })
    }

    /// Adds a parameter to the first group, with a gradient of zeros in f32.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_parameter(
        &mut self,
        name: impl Into<String>,
        values: DeviceBuffer<f32, D>,
    ) -> Result<ParameterId, FusedError> {
        let gradient = DeviceBuffer::<f32, D>::zeroed(&self.allocator, values.len(), self.stream)?;
        self.add(self.first_group(), Parameter::new(name, values).with_gradient(gradient))
    }

    /// Adds a parameter to a group, with moments of zeros. Its copy, if it has one, is written now.
    ///
    /// # Errors
    /// When the group is another optimizer's, a buffer is on another device or stream or of another
    /// length, there is no memory, or the device fails.
    pub fn add(
        &mut self,
        group: GroupId,
        mut parameter: Parameter<D>,
    ) -> Result<ParameterId, FusedError> {
        parameter.group = self.group(group)?;
        parameter.check(self.allocator.device().id(), self.stream)?;
        parameter.add_moments(&self.allocator, self.groups[parameter.group].moments())?;
        let number = self.parameters.len();
        let mut casts = Casts::new();
        parameter.list_copy(&mut casts)?;
        casts.run(Rounding::Nearest, 0)?;
        self.parameters.push(parameter);
        Ok(ParameterId { optimizer: self.id, number })
    }

    /// The parameters, in the order in which they were added.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = ParameterId> + use<S, D> {
        let optimizer = self.id;
        (0..self.parameters.len()).map(move |number| ParameterId { optimizer, number })
    }

    /// How copies are rounded from now on; to nearest. Random bits are of the seed, the group's count
    /// of steps, the parameter's number and the element's.
    pub const fn set_rounding(&mut self, rounding: Rounding) {
        self.rounding = rounding;
    }

    /// A group's settings.
    ///
    /// # Errors
    /// When the group is another optimizer's.
    pub fn settings(&self, group: GroupId) -> Result<S, FusedError> {
        Ok(self.groups[self.group(group)?])
    }

    /// Changes a group's learning rate, from the next step on.
    ///
    /// # Errors
    /// When the group is another optimizer's, or the rate is negative or not finite.
    pub fn set_learning_rate(&mut self, group: GroupId, lr: f64) -> Result<(), FusedError> {
        let number = self.group(group)?;
        let mut settings = self.groups[number];
        *settings.learning_rate() = lr;
        settings.check()?;
        self.groups[number] = settings;
        Ok(())
    }

    /// How many steps a group has done. Waits for the device.
    ///
    /// # Errors
    /// When the group is another optimizer's, or the device fails.
    pub fn steps(&self, group: GroupId) -> Result<u64, FusedError> {
        let number = self.group(group)?;
        Ok(self.progress.slice(number..=number)?.to_vec()?[0].steps)
    }

    /// Sets how many steps a group has done: with [`moments_mut`](Self::moments_mut), to go on where
    /// another run was. A step that failed half way is given up.
    ///
    /// # Errors
    /// When the group is another optimizer's, or the device fails.
    pub fn set_steps(&mut self, group: GroupId, steps: u64) -> Result<(), FusedError> {
        let number = self.group(group)?;
        let progress = Progress { steps, ..Progress::default() };
        self.progress.slice_mut(number..=number)?.copy_from_slice(&[progress])?;
        self.begin = None;
        Ok(())
    }

    /// A parameter's values.
    ///
    /// # Errors
    /// When the parameter is another optimizer's.
    pub fn values(&self, id: ParameterId) -> Result<&DeviceBuffer<f32, D>, FusedError> {
        Ok(&self.parameters[self.parameter(id)?].values)
    }

    /// The same, to write to. A copy follows at the next step.
    ///
    /// # Errors
    /// When the parameter is another optimizer's.
    pub fn values_mut(&mut self, id: ParameterId) -> Result<&mut DeviceBuffer<f32, D>, FusedError> {
        let number = self.parameter(id)?;
        Ok(&mut self.parameters[number].values)
    }

    /// A parameter's gradient, to write to.
    ///
    /// # Errors
    /// When the parameter is another optimizer's, or its gradient is not there or of another type.
    pub fn gradient_mut<T: Float>(
        &mut self,
        id: ParameterId,
    ) -> Result<&mut DeviceBuffer<T, D>, FusedError> {
        let number = self.parameter(id)?;
        let Parameter { name, gradient, .. } = &mut self.parameters[number];
        let has = gradient.as_ref().map_or("none", |gradient| gradient.dtype().name());
        let found = gradient.as_mut().and_then(FloatBuffer::get_mut);
        found.ok_or_else(|| wrong_type(name, "gradient", has, T::DTYPE))
    }

    /// Gives a parameter another gradient, and returns the one that it had. Without one, steps leave
    /// the parameter alone.
    ///
    /// # Errors
    /// When the parameter is another optimizer's, or the gradient is on another device or stream, or
    /// of another length.
    pub fn set_gradient(
        &mut self,
        id: ParameterId,
        gradient: Option<FloatBuffer<D>>,
    ) -> Result<Option<FloatBuffer<D>>, FusedError> {
        let number = self.parameter(id)?;
        let parameter = &mut self.parameters[number];
        gradient.as_ref().map_or(Ok(()), |gradient| parameter.check_gradient(gradient))?;
        Ok(std::mem::replace(&mut parameter.gradient, gradient))
    }

    /// A parameter's copy in f16 or bf16.
    ///
    /// # Errors
    /// When the parameter is another optimizer's, or its copy is not there or of the other type.
    pub fn copy<T: Half>(&self, id: ParameterId) -> Result<&DeviceBuffer<T, D>, FusedError> {
        let Parameter { name, copy, .. } = &self.parameters[self.parameter(id)?];
        let has = copy.as_ref().map_or("none", |copy| copy.dtype().name());
        let found = copy.as_ref().and_then(FloatBuffer::get);
        found.ok_or_else(|| wrong_type(name, "copy", has, T::DTYPE))
    }

    /// A parameter's moments: two for Adam; one for SGD, none without momentum.
    ///
    /// # Errors
    /// When the parameter is another optimizer's.
    pub fn moments_mut(
        &mut self,
        id: ParameterId,
    ) -> Result<&mut [DeviceBuffer<f32, D>], FusedError> {
        let number = self.parameter(id)?;
        Ok(&mut self.parameters[number].moments)
    }

    fn group(&self, id: GroupId) -> Result<usize, FusedError> {
        let is_own = id.optimizer == self.id;
        if is_own { Ok(id.number) } else { Err(FusedError::Unknown { what: "group" }) }
    }

    fn parameter(&self, id: ParameterId) -> Result<usize, FusedError> {
        let is_own = id.optimizer == self.id;
        if is_own { Ok(id.number) } else { Err(FusedError::Unknown { what: "parameter" }) }
    }
}

fn wrong_type(
    tensor: &str,
    what: &'static str,
    has: &'static str,
    asked: freeboard_units::Dtype,
) -> FusedError {
    FusedError::Type { tensor: tensor.to_owned(), what, has, asked }
}

impl<S: Settings, D: Compute + 'static> Optimizer for Fused<S, D> {
    type Output = ();
    type Error = FusedError;

    fn gradients<'a>(&'a mut self, list: &mut Tensors<'a>) -> Result<(), ScalerError> {
        self.parameters.iter_mut().try_for_each(|parameter| parameter.list(list))
    }

    fn is_fused(&self) -> bool {
        true
    }

    fn step(&mut self) -> Result<(), FusedError> {
        self.launch(0, 0)
    }
}

impl<S: Settings, D: Compute + 'static> FusedOptimizer for Fused<S, D> {
    fn step_if(&mut self, predicate: Predicate) -> Result<(), FusedError> {
        let Predicate { device, stream, found, inverse_scale } = predicate;
        let (own_device, own_stream) = (self.allocator.device().id(), self.stream);
        if (device, stream) != (own_device, own_stream) {
            return Err(FusedError::Scaler { device, stream, own_device, own_stream });
        }
        self.launch(found.get(), inverse_scale.map_or(0, Address::get))
    }
}

impl<S: Settings, D: Compute> fmt::Debug for Fused<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fused")
            .field("groups", &self.groups.len())
            .field("parameters", &self.parameters.len())
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}
