//! [`ScalerError`]: why the scaler did not do as asked.

use freeboard_buffer::BufferError;
use freeboard_device::DeviceError;
use freeboard_units::{DeviceId, Dtype, StreamId};

use crate::{ConfigError, StateError};

/// Why the scaler did not do as asked. Except where a variant says otherwise, nothing has changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScalerError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An optimizer that this scaler did not register.
    #[error("the optimizer is not of this scaler: register it with `add_optimizer`")]
    UnknownOptimizer,
    /// Nothing was scaled yet, so the gradients cannot have been.
    #[error("{call} before anything was scaled: call `scale` on the loss first")]
    NotStarted {
        /// What was called.
        call: &'static str,
    },
    /// Unscaled twice between two updates.
    #[error("{optimizer}: `unscale` was already called since the last `update`")]
    AlreadyUnscaled {
        /// The optimizer's name.
        optimizer: String,
    },
    /// Unscaled after the step.
    #[error("{optimizer}: `unscale` is called after `step`; call it before, or `update` first")]
    UnscaleAfterStep {
        /// The optimizer's name.
        optimizer: String,
    },
    /// Stepped twice between two updates.
    #[error("{optimizer}: `step` was already called since the last `update`")]
    AlreadyStepped {
        /// The optimizer's name.
        optimizer: String,
    },
    /// No gradient was looked at, so nobody knows whether one was infinite.
    ///
    /// A step that fails so has unscaled its (empty) list of gradients, as in `PyTorch`: unscaling
    /// again before the next update is an error.
    #[error("{call}: no gradient was checked for infinities since the last update; {advice}")]
    NoInfChecks {
        /// What was called.
        call: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Gradients in f16, whose range the scale was to make up for.
    #[error(
        "{tensor}: the gradient is f16. Keep parameters and gradients in f32 (a master copy), or \
         set `f16_gradients` if overflow and underflow of the unscaled gradients are acceptable"
    )]
    F16Gradients {
        /// The tensor's name.
        tensor: String,
    },
    /// Elements that cannot be scaled: integers, or a type that is too narrow.
    #[error("{tensor}: elements of {dtype} cannot be scaled; f64, f32, f16 and bf16 can")]
    NotScalable {
        /// The tensor's name.
        tensor: String,
        /// Its type.
        dtype: Dtype,
    },
    /// A sparse tensor.
    #[error(
        "{tensor} is sparse: add up elements with equal indices, and pass the values as a dense \
         tensor"
    )]
    Sparse {
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor on a device that the scaler does not know.
    #[error("{tensor} is on {device}, which the scaler does not know: call `add_device`")]
    UnknownDevice {
        /// The tensor's name.
        tensor: String,
        /// Where it is.
        device: DeviceId,
    },
    /// A device that the scaler knows already.
    #[error("the scaler has {device} already")]
    KnownDevice {
        /// The device.
        device: DeviceId,
    },
    /// A tensor on another stream than the scaler's.
    #[error("{tensor} is on {stream}, the scaler on {expected}: lend it there with `on_mut`")]
    WrongStream {
        /// The tensor's name.
        tensor: String,
        /// Its stream.
        stream: StreamId,
        /// The scaler's stream on that device.
        expected: StreamId,
    },
    /// Memory of this process, given to a scaler whose device does not see it.
    #[error("{tensor} is memory of this process, which {device} does not see: copy it there")]
    ProcessMemory {
        /// The tensor's name.
        tensor: String,
        /// The scaler's device.
        device: DeviceId,
    },
    /// A decision on the device, for gradients on several devices, none of which knows all.
    #[error("{optimizer} has gradients on several devices: use `step`, which asks them all")]
    SeveralDevices {
        /// The optimizer's name.
        optimizer: String,
    },
    /// A scale that is no scale.
    #[error("a scale of {scale} cannot be set: it must be positive and finite")]
    NewScale {
        /// What was to be set.
        scale: f32,
    },
    /// The saved state cannot be taken over.
    #[error(transparent)]
    State(#[from] StateError),
    /// Memory of the scaler or of a gradient.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The device failed. Gradients that the failed call was to unscale are unscaled in part: zero
    /// them, and repeat the backward pass.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
