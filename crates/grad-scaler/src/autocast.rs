//! Autocast: in which type an op runs, as `torch.amp.autocast` of PyTorch 2.15 decides.
//!
//! ```
//! use freeboard_grad_scaler::autocast::{autocast, cast_for, dtype_for};
//! use freeboard_units::Dtype::{F16, F32, F64, I64};
//!
//! autocast(F16, || {
//!     // An op of ours asks which type its inputs must have.
//!     let casts = cast_for("matmul", &[F32, F32])?;
//!     assert_eq!(casts.input(F32), F16);
//!     // A double and an integer are never touched.
//!     assert_eq!((casts.input(F64), casts.input(I64)), (F64, I64));
//!     // Or, shorter: in which type does it run?
//!     assert_eq!(dtype_for("layer_norm", &[F16, F32, F32])?, F32);
//!     assert_eq!(dtype_for("relu", &[F16])?, F16);
//!     Ok::<_, freeboard_grad_scaler::autocast::AutocastError>(())
//! })??;
//! // Outside every scope nothing is cast.
//! assert_eq!(dtype_for("matmul", &[F32, F32])?, F32);
//! # Ok::<_, freeboard_grad_scaler::autocast::AutocastError>(())
//! ```
//!
//! The lists ([`ops()`]) are those of `aten/src/ATen/autocast_mode.cpp`, read out of PyTorch 2.15 as
//! it runs, and so is what each rule does ([`Rule`]). Only floating-point tensors on the op's own
//! backend take part; leave others (a zero-dimensional CPU tensor among CUDA's) out of what is
//! asked. In-place ops (`addmm_`) and those that write to an `out` tensor are on no list, as in
//! PyTorch. A function made of several ops is not either, unless it runs as one op would
//! (`cross_entropy`, `interpolate`): ask for its parts.
//!
//! State belongs to a thread ([`Scope`]); [`Policy`] carries it to another. [`cached_cast`] keeps
//! casts of weights for as long as a thread is in a scope.
#![forbid(unsafe_code)]

mod cache;
mod casts;
mod cpu;
mod cuda;
mod error;
mod ops;
mod rule;
mod scope;

pub use cache::{CacheStats, WeightKey, cache_stats, cached_cast, clear_cache};
pub use casts::{Casts, promote};
pub use error::AutocastError;
pub use ops::{Table, ops, rule_of};
pub use rule::{Backend, Rule};
pub use scope::{
    Autocast, Policy, Scope, autocast, autocast_off, cast_for, cast_for_on, dtype_for, dtype_for_on,
};
