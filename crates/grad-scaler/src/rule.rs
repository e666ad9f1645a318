//! [`Rule`]: how the scale moves after a step, on one page, as numbers only.
//!
//! Without floor, cap and hysteresis this is `PyTorch`'s rule to the bit. [`Rule`] and [`Numbers`]
//! have a fixed layout, so that a kernel on a device can be given the same bytes.

use bytemuck::{CheckedBitPattern, NoUninit, Pod, Zeroable};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, Refill, ScalerConfig};

/// [`Refill::OnGrowth`] in a [`Rule`].
const ON_GROWTH: u32 = 0;
/// [`Refill::OnCleanStep`] in a [`Rule`].
const ON_CLEAN_STEP: u32 = 1;

/// What an update reads and writes: 12 bytes, in this order, without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable, Serialize, Deserialize)]
#[repr(C)]
pub struct Numbers {
    /// What the loss is multiplied by.
    pub scale: f32,
    /// Clean steps since the scale last grew or a step was skipped.
    pub growth_tracker: i32,
    /// The scale falls when this counts down to 0; it stays there until refilled.
    pub hysteresis: i32,
}

/// What an update knows: 40 bytes, in this order, without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Rule {
    growth_factor: f64,
    backoff_factor: f64,
    /// 0 where there is none.
    floor: f32,
    /// Infinity where there is none.
    cap: f32,
    growth_interval: i32,
    /// 1 where there is none.
    hysteresis: i32,
    refill: u32,
    /// Only the first numbers need it.
    initial_scale: f32,
}

/// What an update did to the scale; the number is what a kernel writes for it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, CheckedBitPattern, NoUninit,
)]
#[repr(u32)]
pub enum Change {
    /// A clean step, and the growth interval goes on.
    Unchanged = 0,
    /// A growth interval ended: multiplied by the growth factor.
    Grew = 1,
    /// A growth interval ended: set to the cap, because it would have grown beyond it.
    Capped = 2,
    /// A growth interval ended: left as it was, because it would not have been finite.
    NotFinite = 3,
    /// A skipped step: multiplied by the backoff factor, but not below the floor.
    BackedOff = 4,
    /// A skipped step, and hysteresis bears it: left as it was.
    Tolerated = 5,
    /// A skipped step, and the scale was no higher than the floor (0 without one), where it
    /// stays.
    AtFloor = 6,
}

impl Rule {
    /// The rule of a configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where [`ScalerConfig::validate`] has one.
    pub fn new(config: &ScalerConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let (count, refill) = match config.hysteresis {
            None => (1, ON_GROWTH),
            Some(hysteresis) => match hysteresis.refill {
                Refill::OnGrowth => (hysteresis.count, ON_GROWTH),
                Refill::OnCleanStep => (hysteresis.count, ON_CLEAN_STEP),
            },
        };
        Ok(Self {
            growth_factor: config.growth_factor,
            backoff_factor: config.backoff_factor,
            floor: config.floor.unwrap_or(0.0),
            cap: config.cap.unwrap_or(f32::INFINITY),
            growth_interval: config.growth_interval.cast_signed(),
            hysteresis: count.cast_signed(),
            refill,
            initial_scale: config.initial_scale_f32(),
        })
    }

    /// The numbers before the first step.
    #[must_use]
    pub const fn start(&self) -> Numbers {
        Numbers { scale: self.initial_scale, growth_tracker: 0, hysteresis: self.hysteresis }
    }

    /// The numbers after a step, and what became of the scale. `found`: some gradient of the step
    /// was not finite.
    ///
    /// ```
    /// use freeboard_grad_scaler::{Change, Rule, ScalerConfig};
    ///
    /// let rule = Rule::new(&ScalerConfig::default())?;
    /// let (numbers, change) = rule.next(rule.start(), true);
    /// assert_eq!((numbers.scale, change), (32_768.0, Change::BackedOff));
    /// # Ok::<(), freeboard_grad_scaler::ConfigError>(())
    /// ```
    #[must_use]
    pub fn next(&self, now: Numbers, found: bool) -> (Numbers, Change) {
        let mut next = now;
        if found {
            next.growth_tracker = 0;
            next.hysteresis = if now.hysteresis > 1 { now.hysteresis - 1 } else { 0 };
            if next.hysteresis > 0 {
                return (next, Change::Tolerated);
            }
            next.scale = times(now.scale, self.backoff_factor);
            if self.floor > 0.0 {
                next.scale = next.scale.max(self.floor);
            }
            let was_there = now.scale <= self.floor;
            return (next, if was_there { Change::AtFloor } else { Change::BackedOff });
        }
        if self.refill == ON_CLEAN_STEP {
            next.hysteresis = self.hysteresis;
        }
        // Only numbers that somebody made up can wrap: a tracker starts at 0 and ends at the
        // interval.
        next.growth_tracker = now.growth_tracker.wrapping_add(1);
        if next.growth_tracker != self.growth_interval {
            return (next, Change::Unchanged);
        }
        next.growth_tracker = 0;
        next.hysteresis = self.hysteresis;
        let grown = times(now.scale, self.growth_factor);
        if grown > self.cap {
            next.scale = self.cap;
            return (next, Change::Capped);
        }
        if !grown.is_finite() {
            return (next, Change::NotFinite);
        }
        next.scale = grown;
        (next, Change::Grew)
    }
}

/// The product in `f64`, rounded once to `f32`: `PyTorch`'s kernels do the same.
#[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
fn times(scale: f32, factor: f64) -> f32 {
    (f64::from(scale) * factor) as f32
}

#[cfg(test)]
mod tests;
