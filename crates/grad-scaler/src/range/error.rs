//! [`RangeError`]: why a range was not measured.

use freeboard_buffer::BufferError;
use freeboard_device::DeviceError;
use freeboard_units::{Bytes, DeviceId, Dtype, StreamId};

/// Why a range was not measured.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// No tensors to look at.
    #[error("the list has no tensors: add those whose range is wanted")]
    NoTensors,
    /// Numbers that have no range to lose.
    #[error("{tensor}: {dtype} has no dynamic range to measure here; {measured} have")]
    NotMeasured {
        /// The tensor's name.
        tensor: String,
        /// Its type.
        dtype: Dtype,
        /// The types that can be measured there.
        measured: &'static str,
    },
    /// Bytes that are not numbers of the type.
    #[error("{tensor}: {size} are no whole, aligned numbers of {dtype}: pass all of its bytes")]
    Bytes {
        /// The tensor's name.
        tensor: String,
        /// How many bytes there are.
        size: Bytes,
        /// The type.
        dtype: Dtype,
    },
    /// A type that nothing is cast to here.
    #[error("{dtype} is no target: take float16, bfloat16, float8_e4m3fn or float8_e5m2")]
    NotATarget {
        /// The type.
        dtype: Dtype,
    },
    /// A factor that is none.
    #[error("a factor of {factor}: it must be finite and above 0")]
    Factor {
        /// What was passed.
        factor: f32,
    },
    /// No scale follows from reports without a number that is finite and not zero.
    #[error("no number is finite and not zero, so no scale follows: look at other tensors")]
    NothingToScale,
    /// A tensor on another stream than the measurement.
    #[error("{tensor} is on {stream}, the measurement on {expected}: lend it there with `on`")]
    OtherStream {
        /// The tensor's name.
        tensor: String,
        /// Its stream.
        stream: StreamId,
        /// The measurement's stream.
        expected: StreamId,
    },
    /// A tensor on another device than the measurement.
    #[error("{tensor} is on {device}, the measurement on {expected}: measure each on its own")]
    OtherDevice {
        /// The tensor's name.
        tensor: String,
        /// Its device.
        device: DeviceId,
        /// The measurement's device.
        expected: DeviceId,
    },
    /// No memory for the counts, or the device failed on it.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(#[from] DeviceError),
}
