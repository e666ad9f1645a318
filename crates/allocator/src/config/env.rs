//! Settings from the environment.

use super::{Config, ConfigError, Parsed};

/// The variables that are looked at, in this order; the first one that is set counts.
pub const ENVIRONMENT: [&str; 3] =
    ["FREEBOARD_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"];

/// Settings that were found in the environment.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigSource {
    /// The variable's name.
    pub variable: &'static str,
    /// What it says.
    pub parsed: Parsed,
}

impl Config {
    /// The settings of the first variable of [`ENVIRONMENT`] that is set, if one is.
    ///
    /// `FREEBOARD_ALLOC_CONF` changes [`Config::default`]; the other two ask for `PyTorch`'s policy
    /// with their settings.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn from_environment() -> Result<Option<ConfigSource>, ConfigError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// As [`Config::from_environment`], with the variables from elsewhere.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn from_variables(
        look_up: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<ConfigSource>, ConfigError> {
        for variable in ENVIRONMENT {
            let Some(options) = look_up(variable) else { continue };
            let base = if variable == ENVIRONMENT[0] { Self::default() } else { Self::pytorch() };
            let parsed = base.parse_onto(&options)?;
            return Ok(Some(ConfigSource { variable, parsed }));
        }
        Ok(None)
    }
}
