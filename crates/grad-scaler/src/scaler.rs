//! [`GradScaler`]: what it holds, how the loss is scaled and gradients are unscaled.

use std::fmt;
use std::sync::Arc;

use freeboard_allocator::CachingAllocator;
use freeboard_device::Compute;
use freeboard_units::{Dtype, StreamId};

use crate::config::ScalerConfig;
use crate::history::{History, ScaleChange};
use crate::kernels::list::{CHECK, CHECK_AFTER, MULTIPLY, State};
use crate::optimizer::{Optimizer, OptimizerId, Slot, Stage, new_scaler};
use crate::rule::Rule;
use crate::site::Site;
use crate::tensor::{Home, Tensor, Tensors};
use crate::{ScalerError, ScalerStats};

/// Scales the loss so that small gradients survive in f16, unscales them before the step, skips the
/// steps whose gradients are not finite, and finds the scale that is just not too large.
///
/// It is `torch.amp.GradScaler`, to the bit, unless the configuration asks for more. The scale, its
/// growth tracker and what was found in gradients live on the device.
///
/// ```
/// use freeboard_device_host::HostDevice;
/// use freeboard_grad_scaler::{GradScaler, Optimizer, Outcome, ScalerConfig, ScalerError, Tensors};
///
/// struct Sgd { weights: Vec<f32>, gradients: Vec<f32> }
///
/// impl Optimizer for Sgd {
///     type Output = ();
///     type Error = std::convert::Infallible;
///
///     fn gradients<'a>(&'a mut self, list: &mut Tensors<'a>) -> Result<(), ScalerError> {
///         list.push_slice("weights", &mut self.gradients);
///         Ok(())
///     }
///
///     fn step(&mut self) -> Result<(), Self::Error> {
///         for (weight, gradient) in self.weights.iter_mut().zip(&self.gradients) {
///             *weight -= 0.1 * gradient;
///         }
///         Ok(())
///     }
/// }
///
/// let mut scaler = GradScaler::on_host(ScalerConfig::default())?;
/// let id = scaler.add_optimizer("sgd");
/// let mut sgd = Sgd { weights: vec![1.0], gradients: vec![0.0] };
///
/// let factor = scaler.start()?; // 65536: multiply the loss by it, or use `scale`
/// sgd.gradients[0] = factor * 0.5; // the backward pass
/// assert_eq!(scaler.step(id, &mut sgd)?, Outcome::Stepped(()));
/// scaler.update()?;
/// assert_eq!(sgd.weights, [0.95]);
///
/// sgd.gradients[0] = f32::INFINITY;
/// let outcome = scaler.step(id, &mut sgd)?;
/// assert_eq!(outcome.skip().unwrap().to_string(), "weights[0] on device 0 is infinite");
/// scaler.update()?;
/// assert_eq!(scaler.scale_factor()?, 32768.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct GradScaler<D: Compute> {
    id: u32,
    pub(crate) config: ScalerConfig,
    pub(crate) rule: Rule,
    /// The devices; the first is home.
    pub(crate) sites: Vec<Site<D>>,
    pub(crate) slots: Vec<Slot>,
    /// Whether anything was scaled.
    pub(crate) started: bool,
    /// The numbers on the devices; unknown to the host after an update that depended on what only
    /// the device knows.
    pub(crate) known: Option<State>,
    pub(crate) history: History,
}

impl<D: Compute + Send + Sync + 'static> GradScaler<D> {
    /// A scaler whose numbers live in memory of `allocator`, and whose work is put on `stream`.
    ///
    /// # Errors
    /// When the configuration makes no sense, or the device refuses the kernels.
    pub fn new(
        allocator: &Arc<CachingAllocator<D>>,
        stream: StreamId,
        config: ScalerConfig,
    ) -> Result<Self, ScalerError> {
        let rule = Rule::new(&config)?;
        Ok(Self {
            id: new_scaler(),
            history: History::new(config.history),
            config,
            rule,
            sites: vec![Site::new(allocator, stream, true)?],
            slots: Vec::new(),
            started: false,
            known: Some(State::new(rule.start())),
        })
    }

    /// Lets gradients be on another device, too; the scaler's work there is put on `stream`.
    ///
    /// # Errors
    /// When it has the device already, or the device refuses the kernels.
    pub fn add_device(
        &mut self,
        allocator: &Arc<CachingAllocator<D>>,
        stream: StreamId,
    ) -> Result<(), ScalerError> {
        let device = allocator.device().id();
        if self.sites.iter().any(|site| site.ground.device == device) {
            return Err(ScalerError::KnownDevice { device });
        }
        self.numbers()?; // the new device gets the same
        self.sites.push(Site::new(allocator, stream, false)?);
        Ok(())
    }

    /// Gives an optimizer a name to this scaler; `name` is for errors.
    pub fn add_optimizer(&mut self, name: impl Into<String>) -> OptimizerId {
        self.slots.push(Slot::new(name.into()));
        OptimizerId { scaler: self.id, number: self.slots.len() - 1 }
    }

    /// How it was made, as later changed by [`load`](Self::load).
    #[must_use]
    pub const fn config(&self) -> &ScalerConfig {
        &self.config
    }

    /// Multiplies outputs (the loss, as a rule) by the scale, in place, on their devices. Does
    /// nothing if the scaler is disabled.
    ///
    /// # Errors
    /// When an output is on a device or stream that is not the scaler's, or a device fails.
    #[expect(clippy::needless_pass_by_value, reason = "the list, a set of borrows, is used up")]
    pub fn scale(&mut self, outputs: Tensors<'_>) -> Result<(), ScalerError> {
        if !self.config.enabled {
            return Ok(());
        }
        self.check(&outputs.list, true)?;
        self.begin()?;
        for site in &mut self.sites {
            if let Some((scale, _)) = site.scale_and_inverse() {
                site.multiply(&outputs.list, scale, None, MULTIPLY)?;
            }
        }
        Ok(())
    }

    /// The scale, for code that multiplies the loss itself; counts as scaling. 1 if the scaler is
    /// disabled. Waits only if the last update was left to the device.
    ///
    /// # Errors
    /// When a device fails.
    pub fn start(&mut self) -> Result<f32, ScalerError> {
        if self.config.enabled {
            self.begin()?;
        }
        self.scale_factor()
    }

    /// The scale; 1 if the scaler is disabled. Waits only if the last update was left to the device.
    ///
    /// # Errors
    /// When a device fails.
    pub fn scale_factor(&mut self) -> Result<f32, ScalerError> {
        if self.config.enabled { Ok(self.numbers()?.scale) } else { Ok(1.0) }
    }

    /// Divides an optimizer's gradients by the scale, in place, and notes whether one is not finite.
    /// For code that looks at gradients before the step, as clipping does; otherwise
    /// [`step`](Self::step) does it. Does not wait.
    ///
    /// # Errors
    /// Before anything was scaled, twice, after the step; for gradients that cannot be unscaled;
    /// when a device fails.
    pub fn unscale<O: Optimizer>(
        &mut self,
        id: OptimizerId,
        optimizer: &mut O,
    ) -> Result<(), ScalerError> {
        let fused = optimizer.is_fused();
        let number = self.slot(id)?;
        let list = self.slots[number].list(optimizer)?;
        self.unscale_tensors(id, list)?;
        if !fused && self.config.enabled {
            self.start_reads(id.number);
        }
        Ok(())
    }

    /// The same, for a list of gradients.
    ///
    /// # Errors
    /// As [`unscale`](Self::unscale).
    #[expect(clippy::needless_pass_by_value, reason = "the list, a set of borrows, is used up")]
    pub fn unscale_tensors(
        &mut self,
        id: OptimizerId,
        gradients: Tensors<'_>,
    ) -> Result<(), ScalerError> {
        let number = self.slot(id)?;
        if !self.config.enabled {
            return Ok(());
        }
        self.check_started("unscale")?;
        self.slots[number].check_unscale()?;
        self.check(&gradients.list, self.config.f16_gradients)?;
        let after = if self.config.check_after { CHECK_AFTER } else { 0 };
        self.look(number, &gradients.list, CHECK | MULTIPLY | after)?;
        self.slots[number].stage = Stage::Unscaled;
        Ok(())
    }

    /// Multiplies an optimizer's gradients or only looks at them, on all their devices.
    pub(crate) fn look(
        &mut self,
        number: usize,
        gradients: &[Tensor<'_>],
        flags: u32,
    ) -> Result<(), ScalerError> {
        self.begin()?;
        let looked = &mut self.slots[number].looked;
        looked.clear(); // of a call that failed half way
        for (place, site) in self.sites.iter_mut().enumerate() {
            if !gradients.iter().any(|tensor| site.ground.has(tensor)) {
                continue;
            }
            let Some((_, inverse)) = site.scale_and_inverse() else { continue };
            site.multiply(gradients, inverse, site.found(number), flags)?;
            looked.push((place, None));
        }
        Ok(())
    }

    /// Starts to bring what was found to the host. If that fails, the step tries again.
    fn start_reads(&mut self, number: usize) {
        for &(place, _) in &self.slots[number].looked {
            if let Err(error) = self.sites[place].start_read(number) {
                tracing::debug!(%error, "what was found is not on its way yet");
            }
        }
    }

    /// Puts the numbers on every device where they are not.
    pub(crate) fn begin(&mut self) -> Result<(), ScalerError> {
        let count = self.slots.len();
        if !self.sites.iter().all(|site| site.is_ready(count)) {
            let state = self.numbers()?;
            self.sites.iter_mut().try_for_each(|site| site.prepare(&state, count))?;
        }
        self.started = true;
        Ok(())
    }

    /// The numbers, read from the home device if only that knows them.
    pub(crate) fn numbers(&mut self) -> Result<State, ScalerError> {
        if let Some(known) = self.known {
            return Ok(known);
        }
        let state = self.sites[0].read_state()?.unwrap_or_else(|| State::new(self.rule.start()));
        self.history.caught_up(&state);
        self.known = Some(state);
        Ok(state)
    }

    pub(crate) fn slot(&self, id: OptimizerId) -> Result<usize, ScalerError> {
        if id.scaler == self.id { Ok(id.number) } else { Err(ScalerError::UnknownOptimizer) }
    }

    pub(crate) fn check_started(&self, call: &'static str) -> Result<(), ScalerError> {
        if self.started { Ok(()) } else { Err(ScalerError::NotStarted { call }) }
    }

    /// Every tensor is on a device and a stream of this scaler, and of a type that is allowed.
    pub(crate) fn check(&self, list: &[Tensor<'_>], f16: bool) -> Result<(), ScalerError> {
        for tensor in list {
            let name = || tensor.name.to_owned();
            let site = self.sites.iter().find(|site| site.ground.has(tensor));
            let Some(site) = site else {
                return Err(match tensor.home {
                    Home::Device(device, _) => {
                        ScalerError::UnknownDevice { tensor: name(), device }
                    }
                    Home::Process => {
                        let device = self.sites[0].ground.device;
                        ScalerError::ProcessMemory { tensor: name(), device }
                    }
                });
            };
            site.ground.check(tensor)?;
            if tensor.dtype == Dtype::F16 && !f16 {
                return Err(ScalerError::F16Gradients { tensor: name() });
            }
        }
        Ok(())
    }

    /// Calls `observer` at every growth and backoff that the host gets to know of, and every time
    /// that the scale would have moved and did not.
    pub fn on_change(&mut self, observer: impl FnMut(&ScaleChange) + Send + 'static) {
        self.history.observe(Box::new(observer));
    }

    /// The latest changes of the scale that the host knows of, oldest first.
    #[must_use]
    pub fn history(&self) -> impl ExactSizeIterator<Item = &ScaleChange> {
        self.history.iter()
    }

    /// What it has done so far. Waits only if the last update was left to the device.
    ///
    /// # Errors
    /// When a device fails.
    pub fn stats(&mut self) -> Result<ScalerStats, ScalerError> {
        Ok(ScalerStats::from(self.numbers()?))
    }
}

impl<D: Compute> fmt::Debug for GradScaler<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GradScaler")
            .field("config", &self.config)
            .field("optimizers", &self.slots)
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}
