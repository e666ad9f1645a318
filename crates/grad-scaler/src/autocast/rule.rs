//! [`Rule`]: what autocast does to an op; [`Backend`]: whose lists.

use std::fmt;

/// Whose lists: PyTorch keeps one set for each kind of device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Backend {
    /// GPUs, and what most code means by autocast.
    #[default]
    Cuda,
    /// The processor: other ops, hardly any with a fixed output type.
    Cpu,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cuda => "cuda",
            Self::Cpu => "cpu",
        })
    }
}

/// What autocast does to an op. It casts floating-point inputs only, and never an `F64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Inputs are cast to the scope's lower type (PyTorch: `lower_precision_fp`).
    Lower,
    /// Inputs are cast to `F16`, whatever the scope's type. `_cudnn_rnn` on CUDA: PyTorch runs
    /// cuDNN's LSTM, GRU and RNN in `F16` even under a `BF16` scope.
    F16,
    /// Inputs are cast to `F32` (PyTorch: `fp32`).
    F32,
    /// Inputs stay; the op is told to give `F32` unless the caller names an output type or the first
    /// input is not to be cast (PyTorch: `fp32_set_opt_dtype`).
    F32Output,
    /// Inputs stay; the op is told to give `F32`, or the first input's type where that is not to be
    /// cast (PyTorch: `fp32_append_dtype`).
    F32Appended,
    /// Inputs are cast to `F32` if one of them is, otherwise to the scope's lower type (PyTorch:
    /// `promote`). Refused where one has another type, an `F64` aside, before an `F32` was seen. The
    /// optional bias of `bilinear` is cast and does not decide.
    Widest,
    /// Refused (PyTorch: `binary_cross_entropy` on CUDA).
    Banned,
    /// Left alone: the op runs in the types its inputs have.
    Passthrough,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lower => "lower",
            Self::F16 => "float16",
            Self::F32 => "float32",
            Self::F32Output => "float32 output",
            Self::F32Appended => "float32 output, appended",
            Self::Widest => "widest",
            Self::Banned => "banned",
            Self::Passthrough => "passthrough",
        })
    }
}
