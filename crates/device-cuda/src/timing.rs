//! [`Mark`]: how long work takes on the device.

use std::sync::Arc;

use freeboard_device::{DeviceError, Order, Result};
use freeboard_units::{EventId, StreamId};

use crate::CudaDevice;

/// A moment in the work of a stream, as the device's clock has it.
///
/// ```no_run
/// # use freeboard_device_cuda::CudaDevice;
/// # use freeboard_units::StreamId;
/// # let device = CudaDevice::new(0)?;
/// let before = device.mark(StreamId::DEFAULT)?;
/// // ... launch kernels ...
/// let after = device.mark(StreamId::DEFAULT)?;
/// println!("{} ms", after.milliseconds_since(&before)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Mark {
    device: CudaDevice,
    event: EventId,
}

impl CudaDevice {
    /// Marks the work put on `stream` so far.
    ///
    /// # Errors
    /// When there is no such stream, or the driver fails.
    pub fn mark(&self, stream: StreamId) -> Result<Mark> {
        let mark = Mark { event: self.inner.create_event(0)?, device: self.clone() };
        self.record(mark.event, stream)?;
        Ok(mark)
    }
}

impl Mark {
    /// The time from `earlier` to this, in milliseconds of the device. Waits for both.
    ///
    /// # Errors
    /// When the marks are of different devices, their work failed, or the driver measures nothing.
    pub fn milliseconds_since(&self, earlier: &Self) -> Result<f32> {
        const CALL: &str = "cuEventElapsedTime";
        let refused =
            |reason: &str| DeviceError::InvalidCall { call: CALL, reason: reason.to_owned() };
        if !Arc::ptr_eq(&self.device.inner, &earlier.device.inner) {
            return Err(refused("the marks are of different devices"));
        }
        let driver = self.device.driver();
        let ask = driver.event_elapsed.ok_or_else(|| refused("this driver lacks it"))?;
        self.device.wait(earlier.event)?;
        self.device.wait(self.event)?;
        let from = self.device.inner.event(CALL, earlier.event)?;
        let to = self.device.inner.event(CALL, self.event)?;
        let mut milliseconds = 0.0;
        // SAFETY: both events are alive while they are held here; the number may be written.
        let code = unsafe { ask(&raw mut milliseconds, *from, *to) };
        driver.check_given(CALL, code)?;
        Ok(milliseconds)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if let Err(error) = self.device.destroy_event(self.event) {
            tracing::warn!(%error, "a CUDA event is left behind");
        }
    }
}
