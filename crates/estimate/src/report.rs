//! [`Estimate`]: bytes by what they are for, moment by moment.

use std::fmt;

use freeboard_units::Bytes;
use serde::Serialize;

use crate::{Activations, LayerTable, Transformer};

/// What is trained: a shape, or layers with numbers of their own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Model {
    /// A decoder.
    Transformer(Transformer),
    /// Layers one after the other.
    Table(LayerTable),
}

/// What bytes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Category {
    /// Weights as the model holds them.
    Parameters,
    /// Weights in the compute type, or gathered from other devices, while they are used.
    Copies,
    /// Gradients of weights.
    Gradients,
    /// What the optimizer keeps, with f32 copies of weights.
    Optimizer,
    /// What the forward pass keeps.
    Activations,
    /// Logits, and what the loss makes of them.
    Logits,
    /// What an operation needs while it runs.
    Temporary,
    /// What libraries keep.
    Workspace,
    /// What the driver keeps.
    Context,
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Parameters => "parameters",
            Self::Copies => "weight copies",
            Self::Gradients => "gradients",
            Self::Optimizer => "optimizer state",
            Self::Activations => "activations",
            Self::Logits => "logits and loss",
            Self::Temporary => "temporary",
            Self::Workspace => "workspace",
            Self::Context => "context",
        })
    }
}

/// Moments of a training step at which memory may be at its peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum When {
    /// The loss is there.
    Forward,
    /// The gradient of the logits is made.
    Loss,
    /// The last block's gradients are made.
    LastBlock,
    /// The first block's gradients are made.
    FirstBlock,
    /// The gradients of a table's layer are made; the first is 1.
    Layer(u32),
    /// The embedding's gradient is made.
    Embedding,
    /// The optimizer updates weights.
    Step,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forward => "end of the forward pass",
            Self::Loss => "backward pass of the loss",
            Self::LastBlock => "backward pass of the last block",
            Self::FirstBlock => "backward pass of the first block",
            Self::Layer(layer) => return f.pad(&format!("backward pass of layer {layer}")),
            Self::Embedding => "backward pass of the embedding",
            Self::Step => "optimizer step",
        })
    }
}

/// Bytes with one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What they are for.
    pub category: Category,
    /// How many.
    pub bytes: Bytes,
    /// How they were worked out; letters as in [`crate::Row::formula`], V for the vocabulary.
    pub formula: String,
}

/// All that is live at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Which moment.
    pub when: When,
    /// All together.
    pub total: Bytes,
    /// What they are, without what is nothing.
    pub parts: Vec<Part>,
}

impl Moment {
    /// The bytes with this purpose.
    #[must_use]
    pub fn bytes(&self, category: Category) -> Bytes {
        self.parts.iter().filter(|part| part.category == category).map(|part| part.bytes).sum()
    }
}

/// What a training step needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// Parameters, on all devices together.
    pub parameters: u64,
    /// How many of them, and of adapters, are trained, on one tensor-parallel device.
    pub trained: u64,
    /// Moments in order of time. Never empty.
    pub moments: Vec<Moment>,
    /// What lies in this machine's memory, per device.
    pub host: Vec<Part>,
    /// What each operation keeps, where the model is a transformer.
    pub activations: Option<Activations>,
}

impl Estimate {
    /// The moment that needs most, the earliest of several.
    ///
    /// # Panics
    /// When someone has emptied [`Self::moments`].
    #[must_use]
    pub fn peak(&self) -> &Moment {
        let most = self.moments.iter().rev().max_by_key(|moment| moment.total);
        most.expect("an estimate has moments")
    }

    /// A moment by its name, if the model has it.
    #[must_use]
    pub fn at(&self, when: When) -> Option<&Moment> {
        self.moments.iter().find(|moment| moment.when == when)
    }
}
