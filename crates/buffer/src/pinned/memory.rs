//! [`Pinned`]: pinned memory with a type and an owner.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

use freeboard_device::Transfer;

use super::PinnedAllocator;
use super::books::Slab;
use super::pass::Pass;
use crate::element::Element;

/// Elements in pinned host memory, used like a slice; dropping it gives the memory back to the
/// cache.
pub struct Pinned<T: Element, D: Transfer> {
    /// None if there are no bytes.
    slab: Option<Slab>,
    /// When the memory may be touched again, if a transfer uses it.
    pub(crate) pass: Option<Pass<D>>,
    len: usize,
    allocator: PinnedAllocator<D>,
    element: PhantomData<T>,
}

impl<T: Element, D: Transfer> Pinned<T, D> {
    /// The slab, if there are any bytes, holds `len` elements where they may begin.
    pub(super) const fn new(slab: Option<Slab>, len: usize, allocator: PinnedAllocator<D>) -> Self {
        Self { slab, pass: None, len, allocator, element: PhantomData }
    }

    /// The allocator that it came from and goes back to.
    #[must_use]
    pub const fn allocator(&self) -> &PinnedAllocator<D> {
        &self.allocator
    }

    fn start(&self) -> NonNull<T> {
        self.slab.as_ref().map_or(NonNull::dangling(), |slab| slab.start.cast())
    }
}

impl<T: Element, D: Transfer> Deref for Pinned<T, D> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the slab is ours, initialised when it was pinned, long enough and aligned; any
        // bytes are a value of an Element. Without a slab there are no bytes to read.
        unsafe { slice::from_raw_parts(self.start().as_ptr(), self.len) }
    }
}

impl<T: Element, D: Transfer> DerefMut for Pinned<T, D> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start().as_ptr(), self.len) }
    }
}

impl<T: Element, D: Transfer> Drop for Pinned<T, D> {
    fn drop(&mut self) {
        if let Some(slab) = self.slab.take() {
            self.allocator.cache().give_back(slab, self.pass.take());
        }
    }
}

impl<T: Element, D: Transfer> fmt::Debug for Pinned<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned")
            .field("element", &format_args!("{}", type_name::<T>()))
            .field("len", &self.len)
            .field("start", &self.start())
            .finish_non_exhaustive()
    }
}
