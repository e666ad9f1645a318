//! [`Optimizer`]: what the scaler asks of one, and the name it goes by.

use std::sync::atomic::{AtomicU32, Ordering};

use freeboard_units::{Address, DeviceId, StreamId};

use crate::{ScalerError, Tensors};

/// An optimizer, as the scaler sees it: it lists its gradients, and it steps.
pub trait Optimizer {
    /// What a step returns.
    type Output;
    /// Why a step may fail.
    type Error;

    /// Adds its gradients to the list, always in the same order; parameters without one are left
    /// out.
    ///
    /// # Errors
    /// When a gradient cannot be listed.
    fn gradients<'a>(&'a mut self, list: &mut Tensors<'a>) -> Result<(), ScalerError>;

    /// Whether its steps are [`step_fused`](crate::GradScaler::step_fused). Then the host does not
    /// ask for what was found when gradients are unscaled before the step; no.
    fn is_fused(&self) -> bool {
        false
    }

    /// Updates the parameters by gradients that are unscaled and finite.
    ///
    /// # Errors
    /// As the optimizer says.
    fn step(&mut self) -> Result<Self::Output, Self::Error>;
}

/// An optimizer whose kernels decide for themselves, so that the host need not wait: they do nothing
/// if the device has found a number that is not finite, and unscale as they go.
pub trait FusedOptimizer: Optimizer {
    /// Puts the step on the predicate's stream.
    ///
    /// # Errors
    /// As the optimizer says.
    fn step_if(&mut self, predicate: Predicate) -> Result<Self::Output, Self::Error>;
}

/// What the kernels of a [`FusedOptimizer`] look at. The numbers stay valid for work that is put on
/// the stream before the scaler's next [`update`](crate::GradScaler::update).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predicate {
    /// The device.
    pub device: DeviceId,
    /// The stream that the step is to be put on.
    pub stream: StreamId,
    /// The address of an f32 there: 0.0 if the step is to be done (`PyTorch`'s `found_inf`).
    pub found: Address,
    /// The address of an f32 there, by which gradients are still to be multiplied: one over the
    /// scale. None if they were unscaled already.
    pub inverse_scale: Option<Address>,
}

/// The name of an optimizer to its scaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OptimizerId {
    pub(crate) scaler: u32,
    pub(crate) number: usize,
}

/// A number that no other scaler of this process has.
pub(crate) fn new_scaler() -> u32 {
    static MADE: AtomicU32 = AtomicU32::new(0);
    MADE.fetch_add(1, Ordering::Relaxed)
}

/// Where an optimizer is between two updates, as `PyTorch`'s `OptState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Ready,
    Unscaled,
    Stepped,
}

/// What the scaler knows of an optimizer.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) stage: Stage,
    /// The sites that looked at its gradients since the last update, and what the host knows of
    /// what they found.
    pub(crate) looked: Vec<(usize, Option<bool>)>,
    /// How many gradients it listed last; as many will fit into the next list at once.
    pub(crate) listed: usize,
}

impl Slot {
    pub(crate) const fn new(name: String) -> Self {
        Self { name, stage: Stage::Ready, looked: Vec::new(), listed: 0 }
    }

    /// As an update leaves it.
    pub(crate) fn reset(&mut self) {
        self.stage = Stage::Ready;
        self.looked.clear();
    }

    pub(crate) fn check_unscale(&self) -> Result<(), ScalerError> {
        let optimizer = || self.name.clone();
        match self.stage {
            Stage::Ready => Ok(()),
            Stage::Unscaled => Err(ScalerError::AlreadyUnscaled { optimizer: optimizer() }),
            Stage::Stepped => Err(ScalerError::UnscaleAfterStep { optimizer: optimizer() }),
        }
    }

    /// The optimizer's gradients.
    pub(crate) fn list<'a, O: Optimizer>(
        &mut self,
        optimizer: &'a mut O,
    ) -> Result<Tensors<'a>, ScalerError> {
        let mut list = Tensors::with_room(self.listed);
        optimizer.gradients(&mut list)?;
        self.listed = list.len();
        Ok(list)
    }

    pub(crate) fn check_step(&self) -> Result<(), ScalerError> {
        match self.stage {
            Stage::Ready | Stage::Unscaled => Ok(()),
            Stage::Stepped => Err(ScalerError::AlreadyStepped { optimizer: self.name.clone() }),
        }
    }
}
