//! What can be wrong with a chain.

use std::fmt;

/// One number of a layer, named as in the chain's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Time of the forward pass.
    ForwardTime,
    /// Time of the backward pass.
    BackwardTime,
    /// Size of the output.
    OutputBytes,
    /// Size of all that the backward pass needs apart from the input.
    SavedBytes,
    /// Memory that only the forward pass needs while it runs.
    ForwardExtraBytes,
    /// Memory that only the backward pass needs while it runs.
    BackwardExtraBytes,
}

impl fmt::Display for Cost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ForwardTime => "forward_time",
            Self::BackwardTime => "backward_time",
            Self::OutputBytes => "output_bytes",
            Self::SavedBytes => "saved_bytes",
            Self::ForwardExtraBytes => "forward_extra_bytes",
            Self::BackwardExtraBytes => "backward_extra_bytes",
        })
    }
}

/// Why a chain cannot be planned for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// There is nothing to plan.
    #[error("the chain has no layers; give at least one")]
    Empty,
    /// A time is negative, NaN or infinite.
    #[error("layer {layer} (`{name}`): {cost} is {value}; a time is a finite number from 0 on")]
    Time {
        /// Which layer, from 1.
        layer: usize,
        /// Its name.
        name: String,
        /// Which number.
        cost: Cost,
        /// What it is.
        value: f64,
    },
    /// A number of bytes is missing, negative, NaN, infinite or not whole.
    #[error("{place} is {value}; bytes are a whole number from 0 to 2^53")]
    Bytes {
        /// Where: the layer with its name and the number's, or `input_bytes`.
        place: String,
        /// What it is, as written.
        value: String,
    },
    /// A number is not there.
    #[error("layer {layer} (`{name}`): {cost} is missing; measure it, or give 0")]
    Missing {
        /// Which layer, from 1.
        layer: usize,
        /// Its name.
        name: String,
        /// Which number.
        cost: Cost,
    },
    /// All sizes together are more than any machine has.
    #[error("the sizes of all layers together exceed 2^63 bytes; are they in bytes?")]
    TooLarge,
    /// The times of all layers together are no finite number.
    #[error("the times of all layers together are not a finite number")]
    TooLong,
    /// The text is not a chain.
    #[error(
        "not a chain: {0}; a chain is {{\"input_bytes\", \"layers\": [{{\"name\", \"forward_time\", …}}]}}"
    )]
    Format(String),
}
