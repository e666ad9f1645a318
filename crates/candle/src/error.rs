//! [`Error`]: why something was not done, and its way through candle's own errors.

use std::{error, fmt};

use candle_core::{DType, DeviceLocation, Shape};
use freeboard_grad_scaler::ScalerError;
use freeboard_grad_scaler::autocast::AutocastError;

/// Why something was not done. Nothing has changed then, except where a variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The function of a checkpoint failed.
    #[error("checkpoint `{name}`: its function failed in the {pass}: {source}")]
    Function {
        /// The checkpoint's name.
        name: String,
        /// When.
        pass: Pass,
        /// What the function returned.
        source: Box<candle_core::Error>,
    },
    /// The function of a checkpoint panicked when it ran again.
    #[error("checkpoint `{name}`: its function panicked in the {}: {message}", Pass::Again)]
    Panicked {
        /// The checkpoint's name.
        name: String,
        /// What it said.
        message: String,
    },
    /// The function ran again, but candle cannot differentiate what it did.
    #[error("checkpoint `{name}`: the backward pass through its function failed: {source}")]
    Backward {
        /// The checkpoint's name.
        name: String,
        /// What candle says.
        source: Box<candle_core::Error>,
    },
    /// The function uses a tensor that was computed before it from variables, and is no input.
    #[error(
        "checkpoint `{name}`: its function captured a tensor ({shape:?}, {dtype:?}) that was computed \
         from variables before it ran; pass it as an input, or detach it"
    )]
    Captured {
        /// The checkpoint's name.
        name: String,
        /// The tensor's shape.
        shape: Shape,
        /// Its type.
        dtype: DType,
    },
    /// The function returned another number of tensors when it ran again.
    #[error(
        "checkpoint `{name}`: its function returned {again} tensors when it ran again, {forward} in \
         the forward pass; it must depend on nothing but its inputs"
    )]
    Count {
        /// The checkpoint's name.
        name: String,
        /// How many there were in the forward pass.
        forward: usize,
        /// How many there are now.
        again: usize,
    },
    /// The function returned another kind of tensor when it ran again.
    #[error(
        "checkpoint `{name}`: output {output} is {again} when computed again, it was {forward} in \
         the forward pass; the function must depend on nothing but its inputs"
    )]
    Kind {
        /// The checkpoint's name.
        name: String,
        /// Which output, from 0.
        output: usize,
        /// What it was in the forward pass.
        forward: Box<Kind>,
        /// What it is now.
        again: Box<Kind>,
    },
    /// The function used other variables or inputs when it ran again.
    #[error(
        "checkpoint `{name}`: when computed again, its outputs depend on other variables or inputs \
         than in the forward pass; the function must not choose differently"
    )]
    Parameters {
        /// The checkpoint's name.
        name: String,
    },
    /// A value came out differently when it was computed again.
    #[error(
        "checkpoint `{name}`: output {output}, element {index} is {again:e} when computed again, it \
         was {forward:e} in the forward pass; draw random numbers from `Random`, and step the \
         optimizer after the backward pass"
    )]
    Value {
        /// The checkpoint's name.
        name: String,
        /// Which output, from 0.
        output: usize,
        /// Which element of it, in row-major order, from 0.
        index: usize,
        /// What it was in the forward pass.
        forward: f64,
        /// What it is now.
        again: f64,
    },
    /// An earlier backward pass failed half-way through a checkpoint with several outputs.
    #[error(
        "checkpoint `{name}`: an earlier backward pass through it has failed; run the forward pass \
         again"
    )]
    Unfinished {
        /// The checkpoint's name.
        name: String,
    },
    /// No segment, or more segments than modules.
    #[error("{segments} segments of {modules} modules: give from 1 to {modules}")]
    Segments {
        /// How many segments were asked for.
        segments: usize,
        /// How many modules there are.
        modules: usize,
    },
    /// A plan for another number of layers, or whose forward pass is not in order.
    #[error(
        "the plan does not run {modules} modules forward in order: {place}; plan for this chain"
    )]
    Plan {
        /// How many modules there are.
        modules: usize,
        /// Where it departs.
        place: String,
    },
    /// A probability that is none.
    #[error("dropout with a probability of {p}: give one from 0 on, below 1")]
    Probability {
        /// What was given.
        p: f32,
    },
    /// An element type that this cannot work on.
    #[error("{what}: elements of {dtype:?} are not supported; f64, f32, f16 and bf16 are")]
    Type {
        /// What was asked.
        what: String,
        /// The type.
        dtype: DType,
    },
    /// The gradient scaler refused.
    #[error(transparent)]
    Scaler(#[from] ScalerError),
    /// Autocast refused.
    #[error(transparent)]
    Autocast(#[from] AutocastError),
    /// candle failed.
    #[error(transparent)]
    Candle(Box<candle_core::Error>),
}

/// When a function ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// In the forward pass.
    Forward,
    /// In the backward pass, to compute again what was not kept.
    Again,
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "forward pass",
            Self::Again => "recomputation",
        })
    }
}

/// What a tensor is, apart from its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its shape.
    pub shape: Shape,
    /// Its type.
    pub dtype: DType,
    /// Where it is.
    pub device: DeviceLocation,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?} on {:?}", self.shape, self.dtype, self.device)
    }
}

impl Error {
    /// Finds this in an error of candle's, which is how it comes out of a backward pass.
    ///
    /// ```
    /// use freeboard_candle::Error;
    ///
    /// let error = candle_core::Error::from(Error::Probability { p: 2.0 }).context("in layer 3");
    /// assert!(matches!(Error::of(&error), Some(Error::Probability { .. })));
    /// ```
    #[must_use]
    pub fn of(error: &candle_core::Error) -> Option<&Self> {
        use candle_core::Error as Candle;
        match error {
            Candle::WrappedContext { wrapped, .. } => {
                wrapped.downcast_ref::<Carried>().map(|Carried(error)| error)
            }
            Candle::Context { inner, .. }
            | Candle::WithPath { inner, .. }
            | Candle::WithBacktrace { inner, .. } => Self::of(inner),
            _ => None,
        }
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Candle(Box::new(error))
    }
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => *error,
            error => {
                let context = "freeboard_candle::Error::of gives it typed".to_owned();
                Self::WrappedContext { wrapped: Box::new(Carried(error)), context }.bt()
            }
        }
    }
}

/// An [`Error`] inside one of candle's, which shows what it carries with `Debug`.
struct Carried(Error);

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl error::Error for Carried {}
