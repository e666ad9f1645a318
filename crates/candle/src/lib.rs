//! Freeboard for [candle](candle_core): activation checkpointing under candle's own `backward`,
//! dropout that can be computed again, mixed precision.
//!
//! ```
//! use candle_core::{DType, Device, Module, Tensor};
//! use candle_nn::{VarBuilder, VarMap, linear};
//! use freeboard_candle::checkpoint;
//!
//! let variables = VarMap::new();
//! let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
//! let layer = linear(4, 4, builder)?;
//! let x = Tensor::ones((2, 4), DType::F32, &Device::Cpu)?;
//!
//! // Instead of `layer.forward(&x)?.gelu()?`, whose intermediate results are kept:
//! let y = checkpoint(move |x| layer.forward(&x[0])?.gelu(), &[&x])?;
//! let gradients = y.sum_all()?.backward()?;
//! assert!(variables.all_vars().iter().all(|variable| gradients.get(variable).is_some()));
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! | to | use |
//! |---|---|
//! | keep a block's inputs only, and compute it again in the backward pass | [`checkpoint()`], [`Checkpoint`] |
//! | do so for a list of modules, or as a [`Plan`] says | [`checkpoint_sequential`], [`checkpoint_plan`] |
//! | drop the same elements again | [`dropout()`] with a [`Random`] of its own |
//! | scale losses, unscale gradients, skip steps | [`Scaler`] |
//! | run operations in the types that PyTorch's autocast chooses | [`autocast`] |
//!
//! Errors are typed ([`Error`]) and become candle's with `?`; [`Error::of`] finds them in these.
//!
//! # What holds
//!
//! - Gradients have the bits of the plain run, for inputs, variables, nested checkpoints, any layout
//!   of inputs and outputs, several backward passes over one forward pass, and threads. The
//!   exception: where three or more gradients are added up for one tensor, some within a checkpoint
//!   and some outside, the order of the sum changes, and its last bit may.
//! - Afterwards, gradients hold no graph. candle's own do: a `GradStore` of a plain run keeps
//!   intermediate results until it is dropped.
//! - While a checkpoint's function runs, its own graph lives: candle cannot run without one. Inputs
//!   that are no variables are copied for that long, and the output is copied once.
//! - First derivatives only.
//!
//! # How it works
//!
//! The function runs on copies of its inputs that are variables; candle tells which inputs and
//! variables its output depends on, and the graph is dropped. The output becomes a node of its own
//! whose arguments are these. When candle asks it for gradients, the function runs again, candle's
//! own backward pass goes through its graph from the gradient that came in, and what arrives at the
//! arguments is handed to them. `nodes.rs` has a picture; start reading at `checkpoint.rs`, then
//! `segment.rs`.
//!
//! On a GPU (candle's feature `cuda`, passed on by ours of the same name) the same nodes run; it has
//! not been tried there.
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
