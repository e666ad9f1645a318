//! Mixed precision for training: a gradient scaler that behaves as `torch.amp.GradScaler`, the
//! casting rules of autocast, and the tools around a narrow range of numbers.
//!
//! - [`GradScaler`] scales the loss, unscales gradients, skips steps, moves the scale; on any device
//!   that computes, or on plain slices ([`GradScaler::on_host`]). [`ScalerConfig`] has what peers lack.
//! - [`FusedAdamW`] and [`FusedSgd`] decide on the device; [`MasterWeights`] and [`Casts`] keep f32
//!   beside f16 or bf16, with stochastic rounding if wanted.
//! - [`autocast`]: in which type an operation runs, as `PyTorch` 2.15 has it.
//! - [`range`](mod@range): what a cast would lose; [`fp8`]: delayed scaling as Transformer Engine has
//!   it.
//! - [`host`]: multiply and check slices, without any device.
//!
//! Start reading at `scaler.rs` and `step.rs`; `rule.rs` is how the scale moves, `site.rs` what lies
//! on a device, `kernels.rs` what runs there.
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
pub use kernels::round::Half;
pub use master::{Casts, MasterId, MasterWeights, Rounding};
pub use optimizer::{FusedOptimizer, Optimizer, OptimizerId, Predicate};
pub use outcome::{Bad, FirstBad, Outcome, Skip};
pub use rule::{Change, Numbers, Rule};
pub use saved::{Own, SavedScaler, StateError};
pub use scaler::GradScaler;
pub use step::StepError;
pub use tensor::{Float, Layout, RawTensor, Tensors};
