//! [`ScalerConfig`]: every knob of the gradient scaler, with its default and reason.

use serde::{Deserialize, Serialize};

/// How the scale moves.
///
/// [`ScalerConfig::default`] is `PyTorch`'s. Change what you need with struct update syntax:
///
/// ```
/// use freeboard_grad_scaler::ScalerConfig;
///
/// let config = ScalerConfig { floor: Some(1.0), ..ScalerConfig::default() };
/// config.validate()?;
/// # Ok::<(), freeboard_grad_scaler::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScalerConfig {
    /// The first scale, rounded to `f32` where it is used. Default: 65,536.
    pub initial_scale: f64,
    /// What the scale is multiplied by when it grows, above 1. Default: 2.
    pub growth_factor: f64,
    /// What the scale is multiplied by after a skipped step, between 0 and 1. Default: 0.5.
    pub backoff_factor: f64,
    /// How many clean steps in a row make the scale grow, from 1 to 2^31 - 1. Default: 2,000.
    pub growth_interval: u32,
    /// Whether anything is scaled at all. Default: yes.
    pub enabled: bool,
    /// The scale never falls below this. Default and `PyTorch`: none, it can fall to 0.
    pub floor: Option<f32>,
    /// The scale never grows above this. Default and `PyTorch`: none but the largest `f32`.
    pub cap: Option<f32>,
    /// How many steps may be skipped before the scale falls. Default and `PyTorch`: none, it
    /// falls at once.
    pub hysteresis: Option<Hysteresis>,
    /// Whether a gradient that is finite before and not after unscaling is found, too.
    /// Default and `PyTorch`: no.
    pub check_after: bool,
    /// Whether gradients may be `f16`. Default and `PyTorch`: no, it refuses them.
    pub f16_gradients: bool,
    /// How many changes of the scale are remembered. Default: 1,024; 0 remembers none.
    pub history: usize,
}

/// How many steps with a gradient that is not finite are borne before the scale falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hysteresis {
    /// The scale falls at this many such steps and at each after it, until refilled; 1 is as
    /// without hysteresis.
    pub count: u32,
    /// When the count is made full again.
    pub refill: Refill,
}

/// When a hysteresis is made full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refill {
    /// Where a growth interval ends: Megatron's rule in Python, and `DeepSpeed`'s default.
    OnGrowth,
    /// At every step whose gradients are all finite: the fused kernel of apex and Megatron
    /// (`update_scale_hysteresis`), and `DeepSpeed`'s `consecutive_hysteresis`.
    OnCleanStep,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value that is not allowed. Set the field to one that is.
    #[error("{field} is {value:?}: set it to {remedy}")]
    Value {
        /// The field of [`ScalerConfig`].
        field: &'static str,
        /// What it is.
        value: f64,
        /// What to set it to.
        remedy: &'static str,
    },
    /// Two values in the wrong order. Change one of them.
    #[error("{low} is {low_value:?} and {high} {high_value:?}: lower {low} or raise {high}")]
    Order {
        /// The field of the value that may not be the greater.
        low: &'static str,
        /// Its value.
        low_value: f32,
        /// The field of the value that may not be the smaller.
        high: &'static str,
        /// Its value.
        high_value: f32,
    },
}

impl Default for ScalerConfig {
    fn default() -> Self {
        Self::pytorch()
    }
}

impl ScalerConfig {
    /// The defaults of `torch.amp.GradScaler`, as of `PyTorch` 2.15.
    #[must_use]
    pub const fn pytorch() -> Self {
        Self {
            initial_scale: 65_536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
            enabled: true,
            floor: None,
            cap: None,
            hysteresis: None,
            check_after: false,
            f16_gradients: false,
            history: 1024,
        }
    }

    /// The defaults of the `fp16` section of `DeepSpeed`'s configuration, as of 0.19: from 2^16,
    /// every 1,000 steps, not below 1, a hysteresis of 2.
    ///
    /// At the start and after a skipped step `DeepSpeed` itself waits for one more clean step than
    /// its window, and its scale, a Python float, grows beyond the largest `f32`.
    #[must_use]
    pub const fn deepspeed() -> Self {
        Self {
            growth_interval: 1000,
            floor: Some(1.0),
            hysteresis: Some(Hysteresis { count: 2, refill: Refill::OnGrowth }),
            ..Self::pytorch()
        }
    }

    /// The defaults of Megatron's `OptimizerConfig`, as of Megatron Core 0.16: from 2^32, every
    /// 1,000 steps, not below 1, a hysteresis of 2.
    ///
    /// Megatron's own scale can grow to infinity.
    #[must_use]
    pub const fn megatron() -> Self {
        Self { initial_scale: 4_294_967_296.0, ..Self::deepspeed() }
    }

    /// The defaults of apex's `LossScaler`: as `PyTorch`'s, but not above 2^24.
    #[must_use]
    pub const fn apex() -> Self {
        Self { cap: Some(16_777_216.0), ..Self::pytorch() }
    }

    /// The defaults of flax's `DynamicScale`: as `PyTorch`'s, but it grows one step later, not
    /// below the smallest normal `f32` and up to the largest.
    #[must_use]
    pub const fn flax() -> Self {
        Self {
            growth_interval: 2001,
            floor: Some(f32::MIN_POSITIVE),
            cap: Some(f32::MAX),
            ..Self::pytorch()
        }
    }

    /// The first scale as the scaler uses it.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "rounded to the nearest, as PyTorch does")]
    pub fn initial_scale_f32(&self) -> f32 {
        self.initial_scale as f32
    }

    /// Whether every setting can be used.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first field that cannot, with its value and what to set it to.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let largest = f64::from(i32::MAX);
        let count = self.hysteresis.map_or(1.0, |hysteresis| f64::from(hysteresis.count));
        let positive = "a finite number above 0 that an f32 can hold";
        let initial = f64::from(self.initial_scale_f32());
        check("initial_scale", self.initial_scale, initial > 0.0 && initial.is_finite(), positive)?;
        let growth = self.growth_factor;
        let grows = growth > 1.0 && growth.is_finite();
        check("growth_factor", growth, grows, "a finite number above 1, such as 2")?;
        let backoff = self.backoff_factor;
        let falls = backoff > 0.0 && backoff < 1.0;
        check("backoff_factor", backoff, falls, "a number between 0 and 1, such as 0.5")?;
        let whole = "a whole number from 1 to 2147483647";
        let interval = f64::from(self.growth_interval);
        check("growth_interval", interval, (1.0..=largest).contains(&interval), whole)?;
        check("hysteresis.count", count, (1.0..=largest).contains(&count), whole)?;
        for (field, bound) in [("floor", self.floor), ("cap", self.cap)] {
            let Some(bound) = bound else { continue };
            let is_fine = bound > 0.0 && bound.is_finite();
            check(field, bound.into(), is_fine, "a finite number above 0, or leave it out")?;
        }
        let initial = Some(self.initial_scale_f32());
        in_order(("floor", self.floor), ("cap", self.cap))?;
        in_order(("floor", self.floor), ("initial_scale", initial))?;
        in_order(("initial_scale", initial), ("cap", self.cap))
    }
}

fn check(
    field: &'static str,
    value: f64,
    is_fine: bool,
    remedy: &'static str,
) -> Result<(), ConfigError> {
    if is_fine { Ok(()) } else { Err(ConfigError::Value { field, value, remedy }) }
}

fn in_order(
    (low, low_value): (&'static str, Option<f32>),
    (high, high_value): (&'static str, Option<f32>),
) -> Result<(), ConfigError> {
    match (low_value, high_value) {
        (Some(low_value), Some(high_value)) if low_value > high_value => {
            Err(ConfigError::Order { low, low_value, high, high_value })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
