//! [`DeviceError`]: what a device answers when it does not do as asked.

use freeboard_units::Bytes;

/// The result of a device call.
pub type Result<T> = std::result::Result<T, DeviceError>;

/// Why a device call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The device holds less free memory than was asked for, at this moment.
    ///
    /// Give memory back and ask again, or report it to whoever made the request.
    #[error("{call}: out of memory ({size} asked for)")]
    OutOfMemory {
        /// The driver's name of the call.
        call: &'static str,
        /// The bytes asked for.
        size: Bytes,
    },
    /// The caller broke the contract; the call was refused. This is a bug above the device.
    #[error("{call}: refused: {reason}")]
    InvalidCall {
        /// The driver's name of the call.
        call: &'static str,
        /// What was wrong with it.
        reason: String,
    },
    /// The device or its driver failed, in its own words. Most such errors stay: retrying does not
    /// help, and other work on the device may fail as well.
    #[error("{call}: {message} (code {code})")]
    Driver {
        /// The driver's name of the call.
        call: &'static str,
        /// The driver's number for it.
        code: u32,
        /// The driver's words.
        message: String,
    },
}

impl DeviceError {
    /// Whether memory that is given back could make the same call succeed.
    #[must_use]
    pub const fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::OutOfMemory { .. })
    }

    /// The driver's name of the call that failed.
    #[must_use]
    pub const fn call(&self) -> &'static str {
        match self {
            Self::OutOfMemory { call, .. }
            | Self::InvalidCall { call, .. }
            | Self::Driver { call, .. } => call,
        }
    }
}
