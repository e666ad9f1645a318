//! [`Fp8Error`]: why a cast or an update was not done.

use freeboard_buffer::BufferError;
use freeboard_device::DeviceError;
use freeboard_units::{DeviceId, Dtype, StreamId};

/// Why a cast or an update was not done. Except after an error of the device, nothing has changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fp8Error {
    /// A history in which nothing can be remembered.
    #[error("an amax history of {len} rows: it needs 1 to {most}")]
    HistoryLength {
        /// The rows asked for.
        len: usize,
        /// The most there can be.
        most: usize,
    },
    /// A margin that leaves no scale.
    #[error("a margin of {margin}: 2^-margin must be a normal number, so take -100 to 100")]
    Margin {
        /// What the recipe said.
        margin: f32,
    },
    /// A list of no tensors, or too many.
    #[error("scales for {tensors} tensors: there can be 1 to {most}")]
    Tensors {
        /// The tensors asked for.
        tensors: usize,
        /// The most there can be.
        most: usize,
    },
    /// A tensor that there is no scale for.
    #[error("there is no tensor {index}: the scales are those of {tensors} tensors")]
    Index {
        /// The number asked for.
        index: usize,
        /// How many there are.
        tensors: usize,
    },
    /// A cast between two of different lengths.
    #[error("{input} elements cannot be cast to {output}: take slices or views of equal length")]
    LengthMismatch {
        /// Elements to read.
        input: usize,
        /// Elements to write.
        output: usize,
    },
    /// A cast to the other FP8 type.
    #[error("these scales are for {expected}, not {dtype}: cast to that, or change the format")]
    OtherType {
        /// What was to be written or read.
        dtype: Dtype,
        /// What the recipe has for this direction.
        expected: Dtype,
    },
    /// A magnitude that is none.
    #[error("an amax of {amax}: it must be 0 or more, or infinite")]
    Amax {
        /// What was to be recorded.
        amax: f32,
    },
    /// A tensor on another stream than its scale.
    #[error("the tensor is on {stream}, its scale on {expected}: lend it there with `on`")]
    OtherStream {
        /// The tensor's stream.
        stream: StreamId,
        /// The scales' stream.
        expected: StreamId,
    },
    /// A tensor on another device than its scale.
    #[error("the tensor is on {device}, its scale on {expected}: copy one of them")]
    OtherDevice {
        /// The tensor's device.
        device: DeviceId,
        /// The scales' device.
        expected: DeviceId,
    },
    /// A state that this version does not read.
    #[error("a state of version {version}: this reads version {expected}")]
    StateVersion {
        /// The state's version.
        version: u32,
        /// The version that is read.
        expected: u32,
    },
    /// A state whose parts do not fit.
    #[error("{part} of the state does not fit: {reason}")]
    State {
        /// The name of the part.
        part: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The reduction over the group failed.
    #[error("the amaxes could not be reduced over the group: {0}")]
    Reduction(String),
    /// No memory, or the device failed on it.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The device failed. What is in the memory that was to be written is not known.
    #[error("the device failed: {0}")]
    Device(#[from] DeviceError),
}
