//! [`Failure`]: the error that ends a device, and how errors of the operating system are told.

use std::sync::OnceLock;

use freeboard_device::{DeviceError, Result};
use freeboard_units::AddressRange;
use rustix::io::Errno;

use crate::os::OsError;

/// The numbers a GPU's driver has for the two ways in which work can end a device.
const ILLEGAL_ADDRESS: u32 = 700;
const LAUNCH_FAILED: u32 = 719;

/// The first work that failed, if any did. It stays: after it, memory holds nobody knows what.
#[derive(Debug, Default)]
pub(crate) struct Failure(OnceLock<DeviceError>);

impl Failure {
    /// The error, once there is one.
    pub(crate) fn check(&self) -> Result<()> {
        self.0.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    pub(crate) fn happened(&self) -> bool {
        self.0.get().is_some()
    }

    /// Work touched memory that is not mapped, or was not given access.
    pub(crate) fn illegal_address(&self, call: &'static str, range: AddressRange) {
        let message = format!(
            "illegal address: {range} was not mapped when the work came to it. Memory was given \
             back before the stream was past its last use"
        );
        self.set(DeviceError::Driver { call, code: ILLEGAL_ADDRESS, message });
    }

    /// A function put on a stream panicked.
    pub(crate) fn panicked(&self, words: &str) {
        let message = format!("the work panicked: {words}");
        self.set(DeviceError::Driver { call: "cuLaunchHostFunc", code: LAUNCH_FAILED, message });
    }

    fn set(&self, error: DeviceError) {
        tracing::error!(%error, "the device is lost");
        let _ = self.0.set(error); // the first one is the cause
    }
}

impl From<OsError> for DeviceError {
    fn from(OsError { call, errno }: OsError) -> Self {
        let advice = match errno {
            Errno::NOMEM => {
                "; more addresses or mappings than allowed: see `ulimit -v` and the setting \
                 vm.max_map_count"
            }
            Errno::MFILE | Errno::NFILE => "; too many open files: see `ulimit -n`",
            _ => "",
        };
        let message = format!("{errno}{advice}");
        Self::Driver { call, code: errno.raw_os_error().unsigned_abs(), message }
    }
}
