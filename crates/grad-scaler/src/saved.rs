//! [`SavedScaler`]: a scaler's state, as PyTorch's checkpoints have it and a little more.

use freeboard_device::Compute;
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, ScalerConfig};
use crate::kernels::list::State;
use crate::rule::{Numbers, Rule};
use crate::{GradScaler, ScalerError};

/// The version of [`Own`] that this crate writes.
const VERSION: u32 = 1;

/// A scaler's state, for checkpoints.
///
/// Its first five fields are those of `torch.amp.GradScaler.state_dict()`, by the same names, so
/// that each reads what the other wrote; all of them are missing if the scaler was disabled. What
/// `PyTorch` has not is in `freeboard`; `PyTorch` ignores it.
///
/// ```
/// use freeboard_grad_scaler::SavedScaler;
///
/// let torch = r#"{"scale": 1024.0, "growth_factor": 2.0, "backoff_factor": 0.5,
///                 "growth_interval": 2000, "_growth_tracker": 17}"#;
/// let saved: SavedScaler = serde_json::from_str(torch)?;
/// assert_eq!(saved.growth_tracker, Some(17));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedScaler {
    /// The scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// [`ScalerConfig::growth_factor`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_factor: Option<f64>,
    /// [`ScalerConfig::backoff_factor`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_factor: Option<f64>,
    /// [`ScalerConfig::growth_interval`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_interval: Option<i64>,
    /// Updates without a skip since the scale last moved.
    #[serde(rename = "_growth_tracker", skip_serializing_if = "Option::is_none")]
    pub growth_tracker: Option<i64>,
    /// What `PyTorch` does not have; missing in its checkpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeboard: Option<Own>,
}

/// The part of a scaler's state that `PyTorch` does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// The version of this form: 1.
    pub version: u32,
    /// Skips that are still tolerated.
    #[serde(default)]
    pub hysteresis: i32,
    /// As in [`ScalerStats`](crate::ScalerStats).
    #[serde(default)]
    pub updates: u64,
    /// As in [`ScalerStats`](crate::ScalerStats).
    #[serde(default)]
    pub skipped: u64,
    /// As in [`ScalerStats`](crate::ScalerStats).
    #[serde(default)]
    pub grew: u64,
    /// As in [`ScalerStats`](crate::ScalerStats).
    #[serde(default)]
    pub backed_off: u64,
    /// As in [`ScalerStats`](crate::ScalerStats).
    #[serde(default)]
    pub at_floor: u64,
}

/// Why a saved state cannot be taken over.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// There is nothing in it.
    #[error(
        "the saved state is empty, as a disabled scaler's is: load it into a disabled scaler, or \
         start without it"
    )]
    Empty,
    /// One of `PyTorch`'s five keys is missing.
    #[error("the saved state has no {key:?}: it is incomplete, take an earlier checkpoint")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A number that no scaler has.
    #[error("the saved state has {key:?} {value}: it must be {must}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it holds.
        value: f64,
        /// What it may hold.
        must: &'static str,
    },
    /// The settings in it make no sense, by themselves or with this scaler's floor and cap.
    #[error("the saved state does not fit: {0}")]
    Config(#[from] ConfigError),
    /// It was written by a later version of this crate.
    #[error("the saved state has version {version}, this crate reads up to {VERSION}: upgrade it")]
    Version {
        /// The version.
        version: u32,
    },
}

impl<D: Compute + Send + Sync + 'static> GradScaler<D> {
    /// The state, for a checkpoint. Save it between iterations, after the update: what was found in
    /// gradients since then is not part of it. Waits only if the last update was left to the device.
    ///
    /// # Errors
    /// When a device fails.
    pub fn save(&mut self) -> Result<SavedScaler, ScalerError> {
        if !self.config.enabled {
            return Ok(SavedScaler::default());
        }
        let State { updates, skipped, grew, backed_off, at_floor, .. } = self.numbers()?;
        let Numbers { scale, growth_tracker, hysteresis } = self.numbers()?.numbers();
        let version = VERSION;
        Ok(SavedScaler {
            scale: Some(scale.into()),
            growth_factor: Some(self.config.growth_factor),
            backoff_factor: Some(self.config.backoff_factor),
            growth_interval: Some(self.config.growth_interval.into()),
            growth_tracker: Some(growth_tracker.into()),
            freeboard: Some(Own {
                version,
                hysteresis,
                updates,
                skipped,
                grew,
                backed_off,
                at_floor,
            }),
        })
    }

    /// Goes on from a saved state: scale, tracker, factors and interval become what they were;
    /// floor, cap and the like stay as this scaler was made. A disabled scaler ignores it.
    ///
    /// # Errors
    /// When the state is empty, incomplete, of a later version, or makes no sense; when a device
    /// fails.
    pub fn load(&mut self, saved: &SavedScaler) -> Result<(), ScalerError> {
        if !self.config.enabled {
            return Ok(());
        }
        let (config, state) = saved.check(&self.config)?;
        let rule = Rule::new(&config).map_err(StateError::from)?;
        for place in 0..self.sites.len() {
            if let Err(error) = self.sites[place].put_state(&state) {
                self.sites.iter_mut().for_each(crate::site::Site::forget);
                return Err(error);
            }
        }
        (self.config, self.rule, self.known) = (config, rule, Some(state));
        Ok(())
    }
}

impl SavedScaler {
    /// The configuration and the numbers that a scaler goes on with.
    fn check(&self, current: &ScalerConfig) -> Result<(ScalerConfig, State), StateError> {
        if *self == Self::default() {
            return Err(StateError::Empty);
        }
        let own = self.freeboard;
        if let Some(Own { version, .. }) = own.filter(|own| own.version > VERSION) {
            return Err(StateError::Version { version });
        }
        let missing = |key| StateError::Missing { key };
        let scale = self.scale.ok_or(missing("scale"))?;
        let tracker = self.growth_tracker.ok_or(missing("_growth_tracker"))?;
        let interval = self.growth_interval.ok_or(missing("growth_interval"))?;
        let config = ScalerConfig {
            initial_scale: scale,
            growth_factor: self.growth_factor.ok_or(missing("growth_factor"))?,
            backoff_factor: self.backoff_factor.ok_or(missing("backoff_factor"))?,
            growth_interval: whole("growth_interval", interval)?,
            ..current.clone()
        };
        let rule = Rule::new(&config)?;
        let growth_tracker: u32 = whole("_growth_tracker", tracker)?;
        let growth_tracker = i32::try_from(growth_tracker).unwrap_or(i32::MAX);
        let start = rule.start();
        let hysteresis = own.map_or(start.hysteresis, |own| own.hysteresis);
        let hysteresis = hysteresis.clamp(0, start.hysteresis);
        let mut state = State::new(Numbers { growth_tracker, hysteresis, ..start });
        if let Some(own) = own {
            let Own { updates, skipped, grew, backed_off, at_floor, .. } = own;
            state = State { updates, skipped, grew, backed_off, at_floor, ..state };
        }
        // What a scaler of this kind begins with is not the checkpoint's business.
        let initial_scale = current.initial_scale;
        Ok((ScalerConfig { initial_scale, ..config }, state))
    }
}

/// A count that fits into 31 bits.
fn whole(key: &'static str, value: i64) -> Result<u32, StateError> {
    let count = u32::try_from(value).ok().filter(|&count| i32::try_from(count).is_ok());
    #[expect(clippy::cast_precision_loss, reason = "for words only")]
    let value = value as f64;
    count.ok_or(StateError::Value { key, value, must: "a whole number from 0 to 2147483647" })
}
