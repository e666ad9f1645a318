//! [`Lent`]: a buffer together with the guard that lends it to another stream.
//!
//! A guard borrows its buffer, and its drop makes the buffer's home wait for the other stream. A copy
//! back shall not hold home up before the value is wanted, so guard and buffer live side by side for
//! that long: the buffer in a place of its own, the guard before it.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use freeboard_buffer::{BufferError, DeviceBuffer, Element, OnStreamMut};
use freeboard_device::Transfer;
use freeboard_units::StreamId;

/// A buffer that another stream writes. Taking it out, or dropping this, makes home wait.
pub(crate) struct Lent<T: Element, D: Transfer + 'static> {
    /// Borrows the buffer; gone before it.
    guard: ManuallyDrop<OnStreamMut<'static, T, D>>,
    buffer: Boxed<T, D>,
}

/// A box that does not mind that its content is borrowed while it is moved.
struct Boxed<T: Element, D: Transfer>(NonNull<DeviceBuffer<T, D>>);

impl<T: Element, D: Transfer> Lent<T, D> {
    /// Lends a buffer to another stream, which waits for what home has been given until now.
    pub(crate) fn new(buffer: DeviceBuffer<T, D>, stream: StreamId) -> Result<Self, BufferError> {
        let mut buffer = Boxed(NonNull::from(Box::leak(Box::new(buffer))));
        // SAFETY: it is a box's, and nobody else has it. What borrows it is the guard, which this
        // value never lets go and drops before the box.
        let whole: &'static mut DeviceBuffer<T, D> = unsafe { buffer.0.as_mut() };
        let guard = ManuallyDrop::new(whole.on_mut(stream)?);
        Ok(Self { guard, buffer })
    }

    /// The buffer on the other stream.
    pub(crate) fn guard(&mut self) -> &mut OnStreamMut<'static, T, D> {
        &mut self.guard
    }

    /// The buffer, whose home waits for the other stream, on the device.
    pub(crate) fn into_buffer(self) -> DeviceBuffer<T, D> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped, and its guard is not used below.
        unsafe { ManuallyDrop::drop(&mut this.guard) };
        // SAFETY: it is a box's, what borrowed it is gone, and `this` is not dropped.
        *unsafe { Box::from_raw(this.buffer.0.as_ptr()) }
    }
}

impl<T: Element, D: Transfer> Drop for Lent<T, D> {
    fn drop(&mut self) {
        // SAFETY: once, here; the box is dropped after it, with the field.
        unsafe { ManuallyDrop::drop(&mut self.guard) };
    }
}

impl<T: Element, D: Transfer> Drop for Boxed<T, D> {
    fn drop(&mut self) {
        // SAFETY: it is a box's, and what borrows it is gone: see `Lent`.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
