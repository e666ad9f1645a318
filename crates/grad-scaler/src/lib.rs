//! Mixed precision for training: a gradient scaler that behaves as `torch.amp.GradScaler`, the
//! casting rules of autocast, and the tools around a narrow range of numbers.
#![allow(unsafe_code, reason = "kernels work on bare addresses; each block says why it may")]

pub mod autocast;
mod config;
mod error;
pub mod fp8;
pub mod fused;
mod history;
pub mod host;
mod kernels;
mod master;
mod on_host;
mod optimizer;
mod outcome;
pub mod range;
mod rule;
mod saved;
mod scaler;
mod site;
mod step;
mod tensor;

pub use config::{ConfigError, Hysteresis, Refill, ScalerConfig};
pub use error::ScalerError;
pub use fused::{AdamWConfig, Fused, FusedAdamW, FusedError, FusedSgd, SgdConfig};
pub use history::{ScaleChange, ScalerStats};
pub use kernels::optimizers::round::Half;
pub use master::{Casts, MasterId, MasterWeights, Rounding};
pub use optimizer::{FusedOptimizer, Optimizer, OptimizerId, Predicate};
pub use outcome::{Bad, FirstBad, Outcome, Skip};
pub use rule::{Change, Numbers, Rule};
pub use saved::{Own, SavedScaler, StateError};
pub use scaler::GradScaler;
pub use step::StepError;
pub use tensor::{Float, Layout, RawTensor, Tensors};
