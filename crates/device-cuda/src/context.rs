//! The primary context: held while the device lives, current while one of its calls runs.

use freeboard_device::Result;

use crate::Driver;
use crate::abi::RELAXED;
use crate::unavailable::Unavailable;

const EXCHANGE: &str = "cuThreadExchangeStreamCaptureMode";

/// A hold on the primary context of a device.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) driver: &'static Driver,
    pub(crate) device: i32,
    pub(crate) handle: usize,
}

impl Context {
    pub(crate) fn retain(
        driver: &'static Driver,
        device: i32,
    ) -> std::result::Result<Self, Unavailable> {
        let mut handle = 0;
        // SAFETY: `handle` may be written; the driver refuses a device that is none.
        let code = unsafe { (driver.primary_retain)(&raw mut handle, device) };
        driver.start_up("cuDevicePrimaryCtxRetain", code)?;
        Ok(Self { driver, device, handle })
    }

    /// Makes the context current on this thread until the guard goes; no call if it is already.
    pub(crate) fn enter(&self) -> Result<Entered> {
        let mut current = 0;
        // SAFETY: `current` may be written.
        let code = unsafe { (self.driver.context_current)(&raw mut current) };
        self.driver.check("cuCtxGetCurrent", code)?;
        if current == self.handle {
            return Ok(Entered { driver: None });
        }
        // SAFETY: the context is alive, because this holds it.
        let code = unsafe { (self.driver.context_push)(self.handle) };
        self.driver.check("cuCtxPushCurrent", code)?;
        Ok(Entered { driver: Some(self.driver) })
    }

    /// The same, for a call that is not put on a stream: it is allowed while some stream is being
    /// captured, and does not spoil the capture.
    pub(crate) fn enter_relaxed(&self) -> Result<Relaxed> {
        let entered = self.enter()?;
        let mut mode = RELAXED;
        // SAFETY: `mode` holds a mode, and may be written.
        let code = unsafe { (self.driver.capture_mode)(&raw mut mode) };
        self.driver.check(EXCHANGE, code)?;
        Ok(Relaxed { driver: self.driver, before: mode, _entered: entered })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: one hold was taken in `retain`, and everything made under it was given back.
        let code = unsafe { (self.driver.primary_release)(self.device) };
        if let Err(error) = self.driver.check("cuDevicePrimaryCtxRelease", code) {
            tracing::warn!(%error, "a CUDA context stays held");
        }
    }
}

/// The context is current; the caller's own comes back when this goes.
pub(crate) struct Entered {
    driver: Option<&'static Driver>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let Some(driver) = self.driver else { return };
        let mut popped = 0;
        // SAFETY: `popped` may be written; what is popped is what `enter` pushed on this thread,
        // because the guard does not leave the function that made it.
        let code = unsafe { (driver.context_pop)(&raw mut popped) };
        if let Err(error) = driver.check("cuCtxPopCurrent", code) {
            tracing::warn!(%error, "a CUDA context stays current");
        }
    }
}

/// The context is current, and captures elsewhere forbid nothing; both end when this goes.
pub(crate) struct Relaxed {
    driver: &'static Driver,
    before: i32,
    _entered: Entered,
}

impl Drop for Relaxed {
    fn drop(&mut self) {
        // SAFETY: `before` holds the mode that the driver gave, and may be written.
        let code = unsafe { (self.driver.capture_mode)(&raw mut self.before) };
        if let Err(error) = self.driver.check(EXCHANGE, code) {
            tracing::warn!(%error, "a thread keeps the relaxed capture mode");
        }
    }
}
