//! [`HostOptimizer`]: f32 parameters and moments in host memory, updated there.

mod weight;

use std::collections::VecDeque;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_buffer::{DeviceBuffer, InFlight, View};
use freeboard_device::{Compute, Order};
use freeboard_device_host::{HostConfig, HostDevice};
use freeboard_grad_scaler::fused::{FloatBuffer, Parameter, Settings};
use freeboard_grad_scaler::{
    AdamWConfig, Float, Fused, FusedError, Optimizer, ScalerError, SgdConfig, Tensors,
};
use freeboard_units::{Bytes, DeviceId, StreamId};

use crate::{Mover, MoverConfig, MoverStats, OffloadError};

pub use weight::Values;
use weight::{Pending, Weight};

/// `AdamW` on the host.
pub type HostAdamW<D> = HostOptimizer<AdamWConfig, D>;
/// SGD on the host.
pub type HostSgd<D> = HostOptimizer<SgdConfig, D>;

/// What an optimizer on the host is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostOptimizerConfig {
    /// The most host memory for parameters, moments and gradients; 64 GiB. What is not used takes
    /// none.
    pub host_capacity: Bytes,
    /// How many tensors are in pinned memory at once in each direction, 1 or more; 2. One is copied
    /// while another is worked on.
    pub depth: usize,
    /// Whether copies are timed: see [`MoverConfig::timed`]; yes.
    pub timed: bool,
}

impl Default for HostOptimizerConfig {
    fn default() -> Self {
        Self { host_capacity: Bytes::gib(64), depth: 2, timed: true }
    }
}

/// An optimizer whose parameters in f32 and moments are in host memory (`ZeRO`-Offload, Ren et al.,
/// 2021). The device has what the model computes with: parameters in f32, f16 or bf16.
///
/// Gradients go out as they become ready, beside the rest of the backward pass. The step runs on the
/// host, tensor by tensor, and one tensor's new values are copied to the device while the next one is
/// updated. The arithmetic is [`Fused`]'s on a host device, so the numbers are that optimizer's, bit
/// by bit.
///
/// A [`GradScaler`](freeboard_grad_scaler::GradScaler) on [`host_allocator`](Self::host_allocator) and
/// [`host_stream`](Self::host_stream) takes it as any [`Optimizer`].
///
/// ```
/// use std::sync::Arc;
///
/// use freeboard_allocator::{CachingAllocator, Config};
/// use freeboard_buffer::DeviceBuffer;
/// use freeboard_device_host::HostDevice;
/// use freeboard_grad_scaler::AdamWConfig;
/// use freeboard_offload::{HostAdamW, HostOptimizerConfig};
/// use freeboard_units::{Bytes, StreamId};
///
/// let device = HostDevice::new(Bytes::mib(64))?; // or a GPU
/// let allocator = Arc::new(CachingAllocator::new(device, Config::default())?);
/// let settings = AdamWConfig { lr: 0.1, ..AdamWConfig::default() };
/// let mut adamw = HostAdamW::new(&allocator, settings, HostOptimizerConfig::default())?;
/// let values = DeviceBuffer::from_slice(&allocator, &[1.0_f32, -1.0], StreamId::DEFAULT)?;
/// let weight = adamw.add("weight", values)?;
///
/// let gradient = DeviceBuffer::from_slice(&allocator, &[0.5_f32, 0.5], StreamId::DEFAULT)?;
/// adamw.gradient_ready(weight, &gradient)?;
/// drop(gradient); // its memory is used again once the copy is done
/// adamw.step()?;
/// let values = adamw.values::<f32>(weight)?.to_vec()?;
/// assert!((values[0] - 0.899).abs() < 1e-3 && (values[1] + 1.099).abs() < 1e-3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct HostOptimizer<S: Settings, D: Compute> {
    mover: Mover<D>,
    host: Arc<CachingAllocator<HostDevice>>,
    host_stream: StreamId,
    settings: S,
    depth: usize,
    weights: Vec<Weight<S, D>>,
    /// Gradients on their way, oldest first, with the numbers of their parameters.
    arriving: VecDeque<(usize, Pending<S, D>)>,
}

/// A parameter of a [`HostOptimizer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostParameterId {
    optimizer: StreamId,
    number: usize,
}

impl<S: Settings + 'static, D: Compute + Send + Sync + 'static> HostOptimizer<S, D> {
    /// An optimizer with no parameters yet, for a device.
    ///
    /// # Errors
    /// When a setting makes no sense, or there are no streams or threads.
    pub fn new(
        allocator: &Arc<CachingAllocator<D>>,
        settings: S,
        config: HostOptimizerConfig,
    ) -> Result<Self, OffloadError> {
        let HostOptimizerConfig { host_capacity, depth, timed } = config;
        if depth == 0 {
            let (setting, value, allowed) = ("depth", depth, "1 or more");
            return Err(OffloadError::Setting { setting, value, allowed });
        }
        let doing = "memory of the host for an optimizer";
        // Its number only shows in errors; no GPU has it.
        let device = HostConfig { id: DeviceId::new(u32::MAX), ..HostConfig::new(host_capacity) };
        let device = HostDevice::with_config(device).map_err(OffloadError::device(doing))?;
        let host_stream = device.create_stream().map_err(OffloadError::device(doing))?;
        let host = CachingAllocator::new(device, Config::default())
            .map_err(|error| OffloadError::buffer("optimizer", doing)(error.into()))?;
        let host = Arc::new(host);
        Fused::new(&host, host_stream, settings).map_err(weight::on_host("settings", doing))?;
        let mover = Mover::new(allocator, MoverConfig { timed, ..MoverConfig::default() })?;
        let (weights, arriving) = (Vec::new(), VecDeque::new());
        Ok(Self { mover, host, host_stream, settings, depth, weights, arriving })
    }
}

impl<S: Settings + 'static, D: Compute + 'static> HostOptimizer<S, D> {
    /// Adds a parameter with the optimizer's settings, as it is on the device: f32, f16 or bf16. The
    /// f32 on the host are the same numbers, moments are zero. Waits for the device.
    ///
    /// # Errors
    /// When there is no host memory, or the device fails.
    pub fn add<T: Values>(
        &mut self,
        name: impl Into<String>,
        values: DeviceBuffer<T, D>,
    ) -> Result<HostParameterId, OffloadError> {
        let name = name.into();
        let numbers = values.to_vec().map_err(OffloadError::buffer(&name, "reading its values"))?;
        let masters: Vec<f32> = numbers.iter().map(|&number| number.into()).collect();
        let made = || -> Result<_, FusedError> {
            let mut fused = Fused::new(&self.host, self.host_stream, self.settings)?;
            let masters = DeviceBuffer::from_slice(&self.host, &masters, self.host_stream)?;
            let parameter = Parameter::new(&*name, masters);
            let parameter = T::with_copy(parameter, values.len(), &self.host, self.host_stream)?;
            let id = fused.add(fused.first_group(), parameter)?;
            Ok((fused, id))
        };
        let (fused, id) = made().map_err(weight::on_host(&name, "making room for it"))?;
        self.weights.push(Weight::new(name, values, fused, id));
        Ok(HostParameterId { optimizer: self.mover.out.stream, number: self.weights.len() - 1 })
    }

    /// Begins to copy a parameter's gradient to the host, after what its home stream has been given
    /// until now. The gradient may be dropped at once; who writes it waits for the copy, on the device.
    /// A second one before the step takes the first one's place.
    ///
    /// Where two others are on their way already (see [`HostOptimizerConfig::depth`]), waits for the
    /// older one.
    ///
    /// # Errors
    /// When the parameter is another optimizer's, lengths differ, there is no memory on the host, or
    /// the device fails. A gradient that was on its way may be lost with it: it is the one that is
    /// named, and has to be given again.
    pub fn gradient_ready<'g, G: Float>(
        &mut self,
        id: HostParameterId,
        gradient: impl Into<View<'g, G, D>>,
    ) -> Result<(), OffloadError>
    where
        FloatBuffer<HostDevice>: From<DeviceBuffer<G, HostDevice>>,
    {
        let number = self.number(id)?;
        let gradient = gradient.into();
        let Weight { name, len, .. } = &self.weights[number];
        if gradient.len() != *len {
            let (parameter, len, expected) = (name.clone(), gradient.len(), *len);
            return Err(OffloadError::Length { parameter, len, expected });
        }
        self.drain(self.depth - 1)?;
        let lane = &self.mover.out;
        let begin = lane.begin_after(gradient.stream());
        let sent = || -> Result<InFlight<G, D>, _> {
            let into = self.mover.host().allocate(gradient.len())?;
            // Leaked, the guard does not make home wait, but whoever gets the memory next.
            let lent = ManuallyDrop::new(gradient.on(lane.stream)?);
            Ok(lent.download(into)?)
        };
        let copy = sent().map_err(OffloadError::buffer(
            &self.weights[number].name,
            "copying its gradient to the host",
        ))?;
        lane.end(begin);
        self.mover.count(gradient.size(), Bytes::ZERO);
        self.arriving.push_back((number, weight::pending(copy)));
        Ok(())
    }

    /// Takes over gradients that are on their way, the oldest first, until so many are left.
    fn drain(&mut self, left: usize) -> Result<(), OffloadError> {
        while self.arriving.len() > left
            && let Some((number, take_over)) = self.arriving.pop_front()
        {
            take_over(&self.mover, &mut self.weights[number])?;
        }
        Ok(())
    }

    /// Updates the parameters that have a gradient, and begins to copy them to the device. Their home
    /// streams wait for that, on the device. Gradients are used up.
    ///
    /// # Errors
    /// When there is no pinned memory, or a device fails. Some parameters may be updated and others
    /// not: another call goes on with the others, and does not update again. A gradient that was lost
    /// on its way is named before any parameter is updated; give it again first.
    pub fn step(&mut self) -> Result<(), OffloadError> {
        self.drain(0)?;
        let mut copies: VecDeque<weight::Sent<D>> = VecDeque::new();
        for weight in &mut self.weights {
            weight.update()?;
            if copies.len() == self.depth
                && let Some(oldest) = copies.pop_front()
            {
                oldest(&self.mover)?;
            }
            copies.extend(weight.send(&self.mover)?);
        }
        Ok(())
    }

    /// A parameter's values on the device.
    ///
    /// # Errors
    /// When the parameter is another optimizer's, or of another type.
    pub fn values<T: Values>(
        &self,
        id: HostParameterId,
    ) -> Result<&DeviceBuffer<T, D>, OffloadError> {
        self.weights[self.number(id)?].values()
    }

    /// The optimizer of one parameter on the host, and its name there: f32 values, moments, steps,
    /// settings. What is written to the values reaches the device with the next step that the
    /// parameter has a gradient for.
    ///
    /// # Errors
    /// When the parameter is another optimizer's.
    pub fn on_host(
        &mut self,
        id: HostParameterId,
    ) -> Result<(&mut Fused<S, HostDevice>, freeboard_grad_scaler::fused::ParameterId), OffloadError>
    {
        let number = self.number(id)?;
        let weight = &mut self.weights[number];
        Ok((&mut weight.fused, weight.id))
    }

    /// Changes the learning rate of all parameters, from the next step on.
    ///
    /// # Errors
    /// When the rate is negative or not finite; then nothing is changed.
    pub fn set_learning_rate(&mut self, lr: f64) -> Result<(), OffloadError> {
        for weight in &mut self.weights {
            let group = weight.fused.first_group();
            let changed = weight.fused.set_learning_rate(group, lr);
            changed.map_err(weight::on_host(&weight.name, "changing the learning rate"))?;
        }
        Ok(())
    }

    /// Where parameters, moments and gradients are on the host.
    #[must_use]
    pub const fn host_allocator(&self) -> &Arc<CachingAllocator<HostDevice>> {
        &self.host
    }

    /// The stream of the host device that steps run on.
    #[must_use]
    pub const fn host_stream(&self) -> StreamId {
        self.host_stream
    }

    /// What was moved, and waited for.
    #[must_use]
    pub fn stats(&self) -> MoverStats {
        self.mover.stats()
    }

    /// Waits until all copies that were begun are done, and timed.
    ///
    /// # Errors
    /// When the device failed.
    pub fn synchronize(&self) -> Result<(), OffloadError> {
        self.mover.synchronize()
    }

    fn number(&self, id: HostParameterId) -> Result<usize, OffloadError> {
        // The stream for copies is its own, and of this device.
        let is_own = id.optimizer == self.mover.out.stream && id.number < self.weights.len();
        if is_own { Ok(id.number) } else { Err(OffloadError::Unknown) }
    }
}

impl<S: Settings + 'static, D: Compute + 'static> Optimizer for HostOptimizer<S, D> {
    type Output = ();
    type Error = OffloadError;

    /// Waits for gradients that are on their way, and lists all there are, on the host.
    fn gradients<'a>(&'a mut self, list: &mut Tensors<'a>) -> Result<(), ScalerError> {
        self.drain(0).map_err(weight::for_scaler)?;
        let ready = self.weights.iter_mut().filter(|weight| weight.ready);
        for weight in ready {
            weight.fused.gradients(list)?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), OffloadError> {
        Self::step(self)
    }
}

impl<S: Settings, D: Compute> fmt::Debug for HostOptimizer<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostOptimizer")
            .field("parameters", &self.weights.len())
            .field("gradients_arriving", &self.arriving.len())
            .finish_non_exhaustive()
    }
}
