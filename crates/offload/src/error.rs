//! [`OffloadError`]: why a move or a step did not happen, with the place and what to do.

use std::fmt;

use freeboard_allocator::OutOfMemory;
use freeboard_buffer::BufferError;
use freeboard_device::DeviceError;
use freeboard_grad_scaler::FusedError;

/// Why something could not be moved, or an optimizer on the host did not step.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OffloadError {
    /// A buffer could not be moved.
    #[error("`{buffer}`: {doing}: {source}")]
    Buffer {
        /// The buffer's name, as its owner listed it.
        buffer: String,
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: BufferError,
    },
    /// A value lists other buffers than when it was moved to the host.
    #[error(
        "{found} where `{expected}` was moved: `buffers` and `buffers_mut` must list the same buffers \
         in the same order every time"
    )]
    Changed {
        /// The buffer that was moved; `no other buffer` if there are too many.
        expected: String,
        /// What is listed instead.
        found: String,
    },
    /// The device failed while a copy was waited for, so that nobody knows what it holds.
    #[error("`{buffer}`: its copy was lost when the device failed: go back to a saved state")]
    Lost {
        /// The buffer's name.
        buffer: String,
    },
    /// A parameter of another optimizer.
    #[error("the parameter is not of this optimizer: use what `add` gave")]
    Unknown,
    /// A gradient of another length than its parameter.
    #[error("`{parameter}`: the gradient has {len} elements, the parameter {expected}")]
    Length {
        /// The parameter's name.
        parameter: String,
        /// The gradient's elements.
        len: usize,
        /// The parameter's.
        expected: usize,
    },
    /// Values were asked for in another type than they have.
    #[error("`{parameter}`: the values on the device are {has}, not {asked}")]
    Type {
        /// The parameter's name.
        parameter: String,
        /// Their type.
        has: freeboard_units::Dtype,
        /// What was asked for.
        asked: freeboard_units::Dtype,
    },
    /// The optimizer on the host did not do as asked.
    #[error("`{parameter}`: {doing} on the host: {source}")]
    Host {
        /// The parameter's name.
        parameter: String,
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: FusedError,
    },
    /// The device has no streams, or failed.
    #[error("{doing}: {source}")]
    Device {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: DeviceError,
    },
    /// The settings make no sense.
    #[error("{setting} of {value}: it must be {allowed}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What it was to be.
        value: usize,
        /// What it may be.
        allowed: &'static str,
    },
    /// No thread that notes when copies begin and end.
    #[error("no thread to time copies ({0}): set `timed` to false, or allow more threads")]
    Thread(String),
    /// There is no such place.
    #[error("there is no value {index}: the shelf has {len}")]
    NoValue {
        /// The place asked for.
        index: usize,
        /// How many there are.
        len: usize,
    },
}

impl OffloadError {
    /// The allocator's report, if device memory ran out.
    #[must_use]
    pub fn out_of_memory(&self) -> Option<&OutOfMemory> {
        let (Self::Buffer { source, .. } | Self::Host { source: FusedError::Buffer(source), .. }) =
            self
        else {
            return None;
        };
        match source {
            BufferError::Allocator(error) => error.out_of_memory(),
            _ => None,
        }
    }

    pub(crate) fn buffer(
        buffer: impl Into<String>,
        doing: &'static str,
    ) -> impl FnOnce(BufferError) -> Self {
        let buffer = buffer.into();
        move |source| Self::Buffer { buffer, doing, source }
    }

    pub(crate) fn device(doing: &'static str) -> impl FnOnce(DeviceError) -> Self {
        move |source| Self::Device { doing, source }
    }
}

/// A move that did not happen. What was to be moved comes back as it was.
#[derive(thiserror::Error)]
#[error("{error}")]
pub struct Stuck<S> {
    /// Why.
    #[source]
    pub error: Box<OffloadError>,
    /// What was to be moved.
    pub state: S,
}

impl<S> Stuck<S> {
    pub(crate) fn new(error: OffloadError, state: S) -> Self {
        Self { error: Box::new(error), state }
    }
}

/// Without what was to be moved, which is dropped.
impl<S> From<Stuck<S>> for OffloadError {
    fn from(stuck: Stuck<S>) -> Self {
        *stuck.error
    }
}

impl<S> fmt::Debug for Stuck<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stuck").field("error", &self.error).finish_non_exhaustive()
    }
}
