//! [`EstimateError`]: why there is no estimate.

use crate::{cards, presets};

/// Why there is no estimate; the text names the place and the remedy.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EstimateError {
    /// A number that must be at least 1 is 0.
    #[error("{field} is 0; it must be at least 1")]
    Zero {
        /// Which number.
        field: &'static str,
    },
    /// One number does not divide another.
    #[error("{whole} {value} cannot be divided by {part} {by}; make it a multiple")]
    Indivisible {
        /// What is to be divided.
        whole: &'static str,
        /// How much that is.
        value: u32,
        /// What it is to be divided by.
        part: &'static str,
        /// How much that is.
        by: u32,
    },
    /// More experts serve a token than there are.
    #[error("{active} experts per token of {experts}; a token cannot have more than there are")]
    Experts {
        /// Experts per token.
        active: u32,
        /// Experts there are.
        experts: u32,
    },
    /// A part of the parameters that is none.
    #[error("the trainable part {value} must be above 0 and at most 1, like 0.25")]
    Fraction {
        /// What was given.
        value: f64,
    },
    /// A sequence that is longer than the table of positions.
    #[error("sequence {sequence} is longer than the {positions} positions the model has learned")]
    Positions {
        /// Tokens per sequence.
        sequence: u32,
        /// Rows of the table.
        positions: u32,
    },
    /// A number of bytes that cannot be written down.
    #[error("{what} come to 2^63 or more; make the model, batch or sequence smaller")]
    TooLarge {
        /// What is too large.
        what: &'static str,
    },
    /// Settings that do not go together.
    #[error("{setting} does not go with {with}; {remedy}")]
    Conflict {
        /// What was asked.
        setting: &'static str,
        /// What is in its way.
        with: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// No model has this name.
    #[error("there is no model '{name}'; there are {}, or give its config.json", presets::names().collect::<Vec<_>>().join(", "))]
    UnknownModel {
        /// What was asked for.
        name: String,
    },
    /// No card has this name.
    #[error("'{name}' is neither a card nor a size; the cards are {}, and a size is written like 24GiB", cards::names().collect::<Vec<_>>().join(", "))]
    UnknownCard {
        /// What was asked for.
        name: String,
    },
    /// The text is not JSON, or not an object.
    #[error("it is no JSON object as expected: {problem}")]
    Json {
        /// What the parser says.
        problem: String,
    },
    /// A number, or another value, that must be there is not.
    #[error("{place} is missing; add it")]
    Missing {
        /// The key, with the layer it should be in.
        place: String,
    },
    /// A value that cannot be used.
    #[error("{place}: {value} cannot be used; {remedy}")]
    Value {
        /// The key, with the layer it is in.
        place: String,
        /// What is there.
        value: String,
        /// What may stand there.
        remedy: &'static str,
    },
    /// A key with a meaning that is not known.
    #[error(
        "{key}: this key is not known, and may change the model's size; leave it out if it does not"
    )]
    UnknownKey {
        /// The key.
        key: String,
    },
}
