//! How much memory a training run will need, before it runs.
//!
//! Arithmetic over shapes: a [`Transformer`] (by name in [`presets`], from a Hugging Face
//! `config.json`, or written out) or a [`LayerTable`]; and a [`Training`]: batch, sequence, types,
//! optimizer, checkpointing, `ZeRO`, offload. [`estimate`] gives the bytes on each device at every
//! [`Moment`] of a step that may be the peak; [`largest_batch`] and [`advise`] search over it.
//!
//! ```
//! use freeboard_estimate::{Checkpoint, Model, Training, When, cards, estimate, largest_batch, presets};
//!
//! let model = Model::Transformer(presets::find("gpt2-xl")?);
//! let training =
//!     Training { batch: 8, sequence: 974, checkpoint: Checkpoint::Every(1), ..Training::default() };
//! assert_eq!(estimate(&model, &training)?.peak().when, When::Step);
//! assert!(largest_batch(&model, &training, cards::find("a100-40")?)? >= 8);
//! # Ok::<(), freeboard_estimate::EstimateError>(())
//! ```
//!
//! Sources. Weights, gradients, optimizer state and who has which part: Rajbhandari et al., `ZeRO`
//! (arXiv 1910.02054), 2 + 2 + 12 bytes per parameter with 16-bit weights and Adam. Activations:
//! Korthikanti et al. (arXiv 2205.05198), taken apart operation by operation in [`Row`]. The rest
//! stands where it is used.
#![forbid(unsafe_code)]

mod activations;
mod budget;
pub mod cards;
mod config;
mod count;
mod error;
mod fit;
mod json;
mod model;
pub mod presets;
mod profile;
mod report;
mod table;
mod training;

pub use activations::{Activations, Kind, Row};
pub use budget::estimate;
pub use error::EstimateError;
pub use fit::{Advice, advise, largest_batch};
pub use model::{Attention, Biases, Experts, Mlp, Norm, Place, Positions, Transformer, Weight};
pub use report::{Category, Estimate, Model, Moment, Part, When};
pub use table::{LayerTable, TableLayer};
pub use training::{Checkpoint, Loss, Offload, Optimizer, Precision, Step, Trainable, Training};
