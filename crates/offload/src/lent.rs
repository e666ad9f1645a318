//! [`Lent`]: a buffer together with the guard that lends it to another stream.
//!
//! A guard borrows its buffer, and its drop makes the buffer's home wait for the other stream. A copy
//! back shall not hold home up before the value is wanted, so guard and buffer live side by side for
//! that long: the buffer in a place of its own, the guard before it.

use std::ptr::NonNull;

use freeboard_buffer::{BufferError, DeviceBuffer, Element, OnStreamMut};
use freeboard_device::Transfer;
use freeboard_units::StreamId;

/// A buffer that another stream writes. Taking it out, or dropping this, makes home wait.
pub(crate) struct Lent<T: Element, D: Transfer + 'static> {
    /// Borrows what `buffer` points to; gone first. `None` only at the end.
    guard: Option<OnStreamMut<'static, T, D>>,
    /// From a box, and this value's own. Nobody touches it while there is a guard.
    buffer: NonNull<DeviceBuffer<T, D>>,
}

// SAFETY: it owns a buffer, and its guard refers to that buffer only. Both may be sent where the
// device may be shared, and nothing in here is bound to a thread.
unsafe impl<T: Element, D: Transfer + Send + Sync> Send for Lent<T, D> {}

impl<T: Element, D: Transfer> Lent<T, D> {
    /// Lends a buffer to another stream, which waits for what home has been given until now.
    pub(crate) fn new(buffer: DeviceBuffer<T, D>, stream: StreamId) -> Result<Self, BufferError> {
        let buffer = NonNull::from(Box::leak(Box::new(buffer)));
        let mut lent = Self { guard: None, buffer };
        // SAFETY: it came from a box just now, and whatever borrows it is gone before the box is: see
        // `drop`.
        let whole: &'static mut DeviceBuffer<T, D> = unsafe { lent.buffer.as_mut() };
        lent.guard = Some(whole.on_mut(stream)?);
        Ok(lent)
    }

    /// The buffer on the other stream.
    pub(crate) const fn guard(&mut self) -> Option<&mut OnStreamMut<'static, T, D>> {
        self.guard.as_mut()
    }

    /// The buffer, whose home waits for the other stream, on the device.
    pub(crate) fn into_buffer(mut self) -> DeviceBuffer<T, D> {
        self.guard = None;
        let buffer = self.buffer;
        let _not_dropped = std::mem::ManuallyDrop::new(self);
        // SAFETY: it came from a box; the guard is gone, and so is whoever else would free it.
        *unsafe { Box::from_raw(buffer.as_ptr()) }
    }
}

impl<T: Element, D: Transfer> Drop for Lent<T, D> {
    fn drop(&mut self) {
        self.guard = None;
        // SAFETY: it came from a box, the guard is gone, and this happens once.
        drop(unsafe { Box::from_raw(self.buffer.as_ptr()) });
    }
}
