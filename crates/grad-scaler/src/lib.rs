//! Mixed precision for training: a gradient scaler that behaves as `torch.amp.GradScaler`, the
//! casting rules of autocast, and the tools around a narrow range of numbers.
#![allow(unsafe_code, reason = "kernels work on bare addresses; each block says why it may")]

mod config;
pub mod host;
mod kernels;
mod rule;

pub use config::{AtFloor, ConfigError, Hysteresis, Refill, ScalerConfig};
pub use rule::{Change, Numbers, Rule};
