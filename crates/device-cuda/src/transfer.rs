//! [`Transfer`] of a GPU: copies, fills, pinned host memory.

use std::ptr::{self, NonNull};

use freeboard_device::{Pattern, Result, Transfer};
use freeboard_units::{Address, AddressRange, Bytes, StreamId};

use crate::CudaDevice;
use crate::abi::PORTABLE;
use crate::memory::{length, refuse};

impl Transfer for CudaDevice {
    unsafe fn upload(
        &self,
        to: Address,
        from: *const u8,
        size: Bytes,
        stream: StreamId,
    ) -> Result<()> {
        const CALL: &str = "cuMemcpyHtoDAsync";
        let (driver, size) = (self.driver(), length(CALL, size)?);
        let stream = self.inner.stream(CALL, stream)?;
        let _context = self.inner.context.enter()?;
        // SAFETY: the caller promises both ends; the stream is alive while it is held here.
        let code = unsafe { (driver.upload)(to.get(), from, size, stream.handle) };
        driver.check_given(CALL, code)
    }

    unsafe fn download(
        &self,
        to: *mut u8,
        from: Address,
        size: Bytes,
        stream: StreamId,
    ) -> Result<()> {
        const CALL: &str = "cuMemcpyDtoHAsync";
        let (driver, size) = (self.driver(), length(CALL, size)?);
        let stream = self.inner.stream(CALL, stream)?;
        let _context = self.inner.context.enter()?;
        // SAFETY: the caller promises both ends; the stream is alive while it is held here.
        let code = unsafe { (driver.download)(to, from.get(), size, stream.handle) };
        driver.check_given(CALL, code)
    }

    unsafe fn copy(&self, to: Address, from: Address, size: Bytes, stream: StreamId) -> Result<()> {
        const CALL: &str = "cuMemcpyDtoDAsync";
        let (driver, size) = (self.driver(), length(CALL, size)?);
        let stream = self.inner.stream(CALL, stream)?;
        let _context = self.inner.context.enter()?;
        // SAFETY: the caller promises both ends; the stream is alive while it is held here.
        let code = unsafe { (driver.copy)(to.get(), from.get(), size, stream.handle) };
        driver.check_given(CALL, code)
    }

    unsafe fn fill(&self, range: AddressRange, pattern: Pattern, stream: StreamId) -> Result<()> {
        const CALL: &str = "cuMemsetAsync";
        let (driver, unit) = (self.driver(), pattern.size());
        let start = range.start().get();
        if !Bytes::new(start).is_aligned(unit) || !range.size().is_aligned(unit) {
            let (start, size) = (range.start(), range.size());
            let reason = format!("{size} at {start} do not fit a pattern of {unit}");
            return refuse(CALL, Err(reason));
        }
        let count = length(CALL, Bytes::new(range.size().get() / unit.get()))?;
        let stream = self.inner.stream(CALL, stream)?;
        let _context = self.inner.context.enter()?;
        let code = match pattern {
            // SAFETY: the caller promises the range; the stream is alive while it is held here.
            Pattern::U8(value) => unsafe { (driver.fill_u8)(start, value, count, stream.handle) },
            // SAFETY: as above.
            Pattern::U16(value) => unsafe { (driver.fill_u16)(start, value, count, stream.handle) },
            // SAFETY: as above.
            Pattern::U32(value) => unsafe { (driver.fill_u32)(start, value, count, stream.handle) },
        };
        driver.check_given(CALL, code)
    }

    fn pin(&self, size: Bytes) -> Result<NonNull<u8>> {
        const CALL: &str = "cuMemHostAlloc";
        let (driver, asked) = (self.driver(), length(CALL, size)?);
        let _context = self.inner.context.enter_relaxed()?;
        let mut start = ptr::null_mut();
        // SAFETY: `start` may be written.
        let code = unsafe { (driver.host_alloc)(&raw mut start, asked, PORTABLE) };
        driver.check_memory(CALL, code, size)?;
        let nothing = || "the driver gave nothing".to_owned();
        refuse(CALL, NonNull::new(start).ok_or_else(nothing))
    }

    unsafe fn unpin(&self, start: NonNull<u8>) -> Result<()> {
        const CALL: &str = "cuMemFreeHost";
        let driver = self.driver();
        let _context = self.inner.context.enter_relaxed()?;
        // SAFETY: the caller promises that nobody uses the memory any more.
        let code = unsafe { (driver.host_free)(start.as_ptr()) };
        driver.check_given(CALL, code)
    }
}
