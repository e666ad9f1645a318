//! Moving bytes: the only place where the device's transfers are called.
//!
//! Every address here lies in the block that the span borrows, and the allocator gives a block's
//! memory to nobody else before the block's home stream, and every stream noted with `record_use`,
//! is past the work put on it. A span's stream is one of those: [`Span::enter`] notes it. That is
//! what makes device memory "the caller's" until the stream is past the work. Whoever calls a
//! method that writes holds the memory exclusively (`&mut`), and [`Span::settle`] puts the work
//! after that of guards which were leaked.

use freeboard_device::Transfer;
use freeboard_units::Bytes;

use crate::BufferError;
use crate::element::pattern;
use crate::order::{Access, Span};

/// Host memory used to spread a value that no pattern makes: 64 KiB.
const SPREAD: usize = 64 << 10;

impl<D: Transfer> Span<'_, D> {
    fn device(&self) -> &D {
        self.block.allocator().device()
    }

    /// Refuses work with host memory that a graph would use again and again.
    pub(crate) fn check_not_capturing(self) -> Result<(), BufferError> {
        if self.device().is_capturing(self.stream)? {
            return Err(BufferError::Capturing { stream: self.stream });
        }
        Ok(())
    }

    /// Waits until the stream no longer uses this call's host memory.
    fn finish(self) -> Result<(), BufferError> {
        let device = self.device();
        // A call that was refused has not waited. One that failed twice says that the device is
        // lost, and a lost device does no more work.
        let outcome = device.synchronize_stream(self.stream);
        Ok(outcome.inspect_err(|_| drop(device.synchronize_stream(self.stream)))?)
    }

    /// Copies out, and waits for it. `to` has the span's size.
    pub(crate) fn read(self, to: &mut [u8]) -> Result<(), BufferError> {
        if to.is_empty() {
            return Ok(());
        }
        self.check_not_capturing()?;
        // SAFETY: `to` is borrowed until `finish` has seen the stream past this work.
        unsafe { self.start_download(to.as_mut_ptr()) }?;
        self.finish()
    }

    /// Copies in, and waits for it. `from` has the span's size.
    pub(crate) fn write(self, from: &[u8]) -> Result<(), BufferError> {
        if from.is_empty() {
            return Ok(());
        }
        self.check_not_capturing()?;
        // SAFETY: `from` is borrowed until `finish` has seen the stream past this work.
        unsafe { self.start_upload(from.as_ptr()) }?;
        self.finish()
    }

    /// Puts a copy to the host on the stream.
    ///
    /// # Safety
    /// Until the stream is past it, `to` is writable for the span's size and nobody else uses it.
    pub(crate) unsafe fn start_download(self, to: *mut u8) -> Result<(), BufferError> {
        self.settle(Access::Read)?;
        let (from, size) = (self.address, self.size);
        // SAFETY: the caller's word for `to`; the device memory is this block's, see above.
        Ok(unsafe { self.device().download(to, from, size, self.stream) }?)
    }

    /// Puts a copy from the host on the stream.
    ///
    /// # Safety
    /// Until the stream is past it, `from` is readable for the span's size and nobody writes it.
    pub(crate) unsafe fn start_upload(self, from: *const u8) -> Result<(), BufferError> {
        self.settle(Access::Write)?;
        let (to, size) = (self.address, self.size);
        // SAFETY: the caller's word for `from`; the device memory is this block's, see above.
        Ok(unsafe { self.device().upload(to, from, size, self.stream) }?)
    }

    /// Writes `value` over and over. The span's size is a multiple of the value's.
    pub(crate) fn fill(self, value: &[u8]) -> Result<(), BufferError> {
        if self.size.is_zero() {
            return Ok(());
        }
        let fits = |unit: Bytes| self.address.get().is_multiple_of(unit.get());
        let Some(pattern) = pattern(value).filter(|pattern| fits(pattern.size())) else {
            return self.spread(value);
        };
        self.settle(Access::Write)?;
        // SAFETY: the range is this block's, see above.
        Ok(unsafe { self.device().fill(self.range(), pattern, self.stream) }?)
    }

    /// Fills with what no pattern makes: a piece from the host, doubled until it covers all.
    fn spread(self, value: &[u8]) -> Result<(), BufferError> {
        let total = self.size;
        let room = usize::try_from(total.get()).unwrap_or(usize::MAX).min(SPREAD);
        let piece = value.repeat((room / value.len()).max(1));
        let mut done = Bytes::new(piece.len() as u64);
        self.part(Bytes::ZERO, done).write(&piece)?;
        while done < total {
            let next = done.min(total - done);
            let (to, from) = (self.address + done, self.address);
            // SAFETY: both lie in this block, see above, and what is done ends where the next
            // begins.
            unsafe { self.device().copy(to, from, next, self.stream) }?;
            done += next;
        }
        Ok(())
    }

    /// Copies from memory of the same size, which another stream may use, after what that stream
    /// has done until now and before what it does next.
    pub(crate) fn copy_from(self, source: Span<'_, D>) -> Result<(), BufferError> {
        if self.size.is_zero() {
            return Ok(());
        }
        let (from, to) = (source.device().id(), self.device().id());
        if from != to {
            return Err(BufferError::OtherDevice { from, to });
        }
        self.settle(Access::Write)?;
        let entered = source.enter(self.stream, Access::Read)?;
        let (to, from, size) = (self.address, source.address, self.size);
        // SAFETY: both are held by their spans, see above, the source's by entering it; this one is
        // held exclusively, so they do not overlap.
        let outcome = unsafe { self.device().copy(to, from, size, self.stream) };
        drop(entered);
        Ok(outcome?)
    }
}
