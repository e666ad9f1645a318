//! [`Lent`] and [`LentMut`]: our memory as a slice of cudarc's, which would free what it has.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cudarc::driver::{CudaSlice, CudaViewMut};
use freeboard_device::DeviceError;
use freeboard_device_cuda::CudaDevice;

use crate::BufferError;
use crate::element::Element;
use crate::order::{Access, Span};

/// A buffer, or a part of one, as a [`CudaSlice`], for code that takes no other type.
///
/// Dropping it frees nothing. Use on other streams is put in order by cudarc's event tracking, as
/// for cudarc's own slices; where that is switched off, it is up to the caller.
pub struct Lent<'a, T: Element> {
    slice: ManuallyDrop<CudaSlice<T>>,
    memory: PhantomData<&'a ()>,
}

impl<'a, T: Element> Lent<'a, T> {
    pub(super) fn new(
        span: Span<'a, CudaDevice>,
        len: usize,
        access: Access,
    ) -> Result<Self, BufferError> {
        let stream = span.block.allocator().device().cudarc_stream(span.stream)?;
        span.settle(access)?;
        let address = span.address.get();
        // SAFETY: the memory is the span's, of `len` elements of which any bytes are a value, and it
        // stays so for as long as this value borrows the block. The slice never drops.
        let make = || unsafe { stream.upgrade_device_ptr::<T>(address, len) };
        // With event tracking, cudarc makes two events here, and panics where it cannot.
        let slice = catch_unwind(AssertUnwindSafe(make)).map_err(|_| DeviceError::InvalidCall {
            call: "cuEventCreate",
            reason: "cudarc could not make the events of a slice".to_owned(),
        })?;
        Ok(Self { slice: ManuallyDrop::new(slice), memory: PhantomData })
    }
}

impl<T: Element> Deref for Lent<'_, T> {
    type Target = CudaSlice<T>;

    fn deref(&self) -> &CudaSlice<T> {
        &self.slice
    }
}

impl<T: Element> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        // SAFETY: this is the only place that takes it, and nobody uses it after drop.
        let slice = unsafe { ManuallyDrop::take(&mut self.slice) };
        slice.leak(); // waits, on the device, for its events, and gives them up
    }
}

/// As [`Lent`], to write to.
///
/// It gives no `&mut CudaSlice`, with which the slice could be swapped for another and then be
/// freed; [`view_mut`](Self::view_mut) writes.
pub struct LentMut<'a, T: Element> {
    lent: Lent<'a, T>,
}

impl<'a, T: Element> LentMut<'a, T> {
    pub(super) const fn new(lent: Lent<'a, T>) -> Self {
        Self { lent }
    }

    /// All of it, to write to.
    pub fn view_mut(&mut self) -> CudaViewMut<'_, T> {
        self.lent.slice.as_view_mut()
    }
}

impl<T: Element> Deref for LentMut<'_, T> {
    type Target = CudaSlice<T>;

    fn deref(&self) -> &CudaSlice<T> {
        &self.lent
    }
}

impl<T: Element> fmt::Debug for Lent<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent")
            .field("element", &format_args!("{}", type_name::<T>()))
            .finish_non_exhaustive()
    }
}

impl<T: Element> fmt::Debug for LentMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LentMut").field("lent", &self.lent).finish()
    }
}
