//! Mixed precision for training: a gradient scaler that behaves as `torch.amp.GradScaler`, the
//! casting rules of autocast, and the tools around a narrow range of numbers.
#![allow(unsafe_code, reason = "kernels work on bare addresses; each block says why it may")]

pub mod fp8;
mod kernels;
