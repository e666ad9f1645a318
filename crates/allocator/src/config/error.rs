//! What can be wrong, or odd, about settings.

use std::fmt;

use super::Config;

/// What an option string says, and what is odd about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The settings.
    pub config: Config,
    /// Settings that do nothing or were read in an unexpected way.
    pub warnings: Vec<ConfigWarning>,
}

/// A setting that is accepted but will surprise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigWarning {
    /// The key it is about.
    pub key: String,
    /// What happens, and what to do about it.
    pub message: String,
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no such key. Look for a typing error; `known` lists the keys there are.
    #[error("unknown key '{key}' (character {position}); {hint}")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// Where it begins, in characters from 1.
        position: usize,
        /// The nearest known key, or all of them.
        hint: String,
    },
    /// The string is not made of `key:value` pairs.
    #[error("'{text}' (character {position}): {remedy}")]
    Syntax {
        /// The part that could not be read.
        text: String,
        /// Where it begins, in characters from 1.
        position: usize,
        /// What to write instead.
        remedy: String,
    },
    /// The value is not allowed for this key.
    #[error("{key}: '{value}' is not allowed: it must be {expected}")]
    Value {
        /// The key.
        key: String,
        /// The value as written.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// Two settings exclude each other.
    #[error("{key}: {conflict}")]
    Contradiction {
        /// The key to change.
        key: String,
        /// With what it conflicts, and the remedy.
        conflict: String,
    },
}

impl ConfigError {
    pub(super) fn out_of_range(key: &str, value: impl fmt::Display, expected: &str) -> Self {
        Self::Value { key: key.into(), value: value.to_string(), expected: expected.into() }
    }
}
