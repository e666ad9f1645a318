//! [`AdamWConfig`] and [`SgdConfig`], and what the kernels are told of them.

use freeboard_device::Kernel;

use super::FusedError;
use crate::kernels::optimizers::{ADAM, INTO_GRADIENT, MAXIMIZE, NESTEROV, SGD};

/// The settings of a group of parameters: [`AdamWConfig`] or [`SgdConfig`].
pub trait Settings: Sealed {}

/// What an optimizer asks of its settings.
pub trait Sealed: Copy {
    const KERNEL: &'static Kernel;

    fn check(&self) -> Result<(), FusedError>;
    fn learning_rate(&mut self) -> &mut f64;
    /// How many moments a parameter has.
    fn moments(&self) -> usize;
    /// Learning rate, betas, and the decay that is not of the gradient.
    fn rates(&self) -> [f64; 4];
    fn flags(&self) -> u32;
    fn constants(&self) -> [f32; 6];
}

/// The settings of [`FusedAdamW`](super::FusedAdamW), named as `torch.optim.AdamW`'s, with its
/// defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// The learning rate, 0 or more; 0.001.
    pub lr: f64,
    /// How much of the two moments is kept in a step, each 0 or more and below 1; 0.9 and 0.999.
    pub betas: (f64, f64),
    /// What is added to the divisor, 0 or more; 1e-8.
    pub eps: f64,
    /// Weight decay, 0 or more; 0.01.
    pub weight_decay: f64,
    /// Whether weight decay shrinks parameters (`AdamW`), or is a part of gradients (`Adam`); true.
    pub decoupled: bool,
    /// Whether to go up instead of down; no.
    pub maximize: bool,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 1e-2,
            decoupled: true,
            maximize: false,
        }
    }
}

/// The settings of [`FusedSgd`](super::FusedSgd), named as `torch.optim.SGD`'s, with its defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdConfig {
    /// The learning rate, 0 or more; 0.001.
    pub lr: f64,
    /// How much of the momentum is kept in a step, 0 or more; 0, which takes no memory.
    pub momentum: f64,
    /// How much of a gradient does not go into the momentum; 0.
    pub dampening: f64,
    /// Weight decay, 0 or more; 0.
    pub weight_decay: f64,
    /// Whether the momentum looks ahead; no. It needs momentum, and no dampening.
    pub nesterov: bool,
    /// Whether to go up instead of down; no.
    pub maximize: bool,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
            maximize: false,
        }
    }
}

fn allow(
    is_fine: bool,
    setting: &'static str,
    value: f64,
    allowed: &'static str,
) -> Result<(), FusedError> {
    if is_fine { Ok(()) } else { Err(FusedError::Setting { setting, value, allowed }) }
}

fn not_negative(setting: &'static str, value: f64) -> Result<(), FusedError> {
    allow(value >= 0.0 && value.is_finite(), setting, value, "finite and not negative")
}

fn flag(is_set: bool, flag: u32) -> u32 {
    if is_set { flag } else { 0 }
}

#[expect(clippy::cast_possible_truncation, reason = "elements are f32")]
const fn narrow(value: f64) -> f32 {
    value as f32
}

impl Settings for AdamWConfig {}

impl Sealed for AdamWConfig {
    const KERNEL: &'static Kernel = &ADAM;

    fn check(&self) -> Result<(), FusedError> {
        not_negative("lr", self.lr)?;
        for (setting, beta) in [("betas.0", self.betas.0), ("betas.1", self.betas.1)] {
            allow((0.0..1.0).contains(&beta), setting, beta, "0 or more and below 1")?;
        }
        not_negative("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)
    }

    fn learning_rate(&mut self) -> &mut f64 {
        &mut self.lr
    }

    fn moments(&self) -> usize {
        2
    }

    fn rates(&self) -> [f64; 4] {
        let (beta1, beta2) = self.betas;
        let decay = if self.decoupled { self.weight_decay } else { 0.0 };
        [self.lr, beta1, beta2, decay]
    }

    fn flags(&self) -> u32 {
        let is_in_gradient = !self.decoupled && self.weight_decay != 0.0;
        flag(self.maximize, MAXIMIZE) | flag(is_in_gradient, INTO_GRADIENT)
    }

    fn constants(&self) -> [f32; 6] {
        let (beta1, beta2) = self.betas;
        [1.0 - beta1, beta2, 1.0 - beta2, self.eps, self.weight_decay, 0.0].map(narrow)
    }
}

impl Settings for SgdConfig {}

impl Sealed for SgdConfig {
    const KERNEL: &'static Kernel = &SGD;

    fn check(&self) -> Result<(), FusedError> {
        not_negative("lr", self.lr)?;
        not_negative("momentum", self.momentum)?;
        not_negative("weight_decay", self.weight_decay)?;
        allow(self.dampening.is_finite(), "dampening", self.dampening, "finite")?;
        let is_fine = !self.nesterov || self.momentum > 0.0;
        allow(is_fine, "momentum", self.momentum, "more than 0 with `nesterov`")?;
        let is_fine = !self.nesterov || self.dampening == 0.0;
        allow(is_fine, "dampening", self.dampening, "0 with `nesterov`")
    }

    fn learning_rate(&mut self) -> &mut f64 {
        &mut self.lr
    }

    fn moments(&self) -> usize {
        usize::from(self.momentum != 0.0)
    }

    fn rates(&self) -> [f64; 4] {
        [self.lr, 0.0, 0.0, 0.0]
    }

    fn flags(&self) -> u32 {
        flag(self.maximize, MAXIMIZE)
            | flag(self.weight_decay != 0.0, INTO_GRADIENT)
            | flag(self.nesterov, NESTEROV)
    }

    fn constants(&self) -> [f32; 6] {
        [self.momentum, 1.0 - self.dampening, self.weight_decay, 0.0, 0.0, 0.0].map(narrow)
    }
}
