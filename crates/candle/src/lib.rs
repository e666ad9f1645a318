//! Freeboard for [candle](candle_core).
#![forbid(unsafe_code)]

pub mod autocast;
mod checkpoint;
mod dropout;
mod dtype;
mod error;
mod form;
mod mail;
mod nodes;
mod reach;
mod scaler;
mod segment;
mod sequential;

pub use checkpoint::{Checkpoint, checkpoint};
pub use dropout::dropout;
pub use error::{Error, Kind, Pass};
pub use freeboard_checkpoint::{Plan, Random};
pub use freeboard_grad_scaler::{Change, OptimizerId, Outcome, ScalerConfig, Skip};
pub use scaler::{Scaler, named_variables};
pub use sequential::{checkpoint_plan, checkpoint_sequential};
