//! [`FusedError`]: why an optimizer or a cast did not do as asked.

use freeboard_buffer::BufferError;
use freeboard_device::DeviceError;
use freeboard_units::{DeviceId, Dtype, StreamId};

/// Why an optimizer or a cast did not do as asked. Except where a variant says otherwise, nothing has
/// changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FusedError {
    /// A setting that makes no sense.
    #[error("{setting} of {value}: it must be {allowed}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What it was to be.
        value: f64,
        /// What it may be.
        allowed: &'static str,
    },
    /// More groups than a kernel takes.
    #[error("an optimizer has {most} groups of parameters at most: use another for the rest")]
    TooManyGroups {
        /// How many there may be.
        most: usize,
    },
    /// A group or a parameter of another optimizer.
    #[error("the {what} is not of this optimizer: use what it gave when it was added")]
    Unknown {
        /// `group` or `parameter`.
        what: &'static str,
    },
    /// A buffer that has another length than its parameter.
    #[error("{tensor}: the {what} has {len} elements, the parameter {expected}")]
    Length {
        /// The parameter's name.
        tensor: String,
        /// Which buffer.
        what: &'static str,
        /// Its elements.
        len: usize,
        /// The parameter's.
        expected: usize,
    },
    /// A buffer of another type than was asked for.
    #[error("{tensor}: the {what} is {has}, not {asked}")]
    Type {
        /// The parameter's name.
        tensor: String,
        /// Which buffer.
        what: &'static str,
        /// Its type; `none` if there is no such buffer.
        has: &'static str,
        /// What was asked for.
        asked: Dtype,
    },
    /// Memory on another stream.
    #[error("{tensor}: the {what} is on {stream}, the work on {expected}: allocate it there")]
    WrongStream {
        /// The tensor's name.
        tensor: String,
        /// Which buffer.
        what: &'static str,
        /// Its stream.
        stream: StreamId,
        /// Where the work is.
        expected: StreamId,
    },
    /// Memory on another device.
    #[error("{tensor}: the {what} is on {device}, the work on {expected}: copy it there")]
    WrongDevice {
        /// The tensor's name.
        tensor: String,
        /// Which buffer.
        what: &'static str,
        /// Its device.
        device: DeviceId,
        /// Where the work is.
        expected: DeviceId,
    },
    /// A scaler whose work is elsewhere.
    #[error(
        "the scaler works on {device}, {stream}, the optimizer on {own_device}, {own_stream}: give \
         both the same"
    )]
    Scaler {
        /// The scaler's device.
        device: DeviceId,
        /// The scaler's stream.
        stream: StreamId,
        /// The optimizer's device.
        own_device: DeviceId,
        /// The optimizer's stream.
        own_stream: StreamId,
    },
    /// Memory of the optimizer or of a tensor.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The device failed. A step may be done for some parameters and not for others; the next step
    /// begins with the others, and does not count again. A cast may be done in part.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
