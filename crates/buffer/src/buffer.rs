//! [`DeviceBuffer`]: device memory with a type, a length and a home stream.

use std::marker::PhantomData;
use std::sync::Arc;

use freeboard_allocator::CachingAllocator;
use freeboard_device::Transfer;
use freeboard_units::{Bytes, StreamId};

use crate::BufferError;
use crate::element::{Element, check_alignment, size_of_many};
use crate::order::{Block, Span};
use crate::view::{View, ViewMut};

/// Elements in device memory; dropping it gives the memory back to the cache.
///
/// It belongs to one stream, its home: all work that its methods start is put there, in order, and
/// so is whatever uses the memory after it. Other streams come in by [`on`](Self::on) and
/// [`on_mut`](Self::on_mut). Making one from the cache, dropping it, and taking views of it make no
/// driver call.
pub struct DeviceBuffer<T: Element, D: Transfer> {
    pub(crate) block: Block<D>,
    len: usize,
    element: PhantomData<fn() -> T>,
}

impl<T: Element, D: Transfer> DeviceBuffer<T, D> {
    /// A buffer of `len` elements for use on `stream`, holding whatever was there before.
    ///
    /// # Errors
    /// When there is no memory for it, or `len` is beyond any address space.
    pub fn uninit(
        allocator: &Arc<CachingAllocator<D>>,
        len: usize,
        stream: StreamId,
    ) -> Result<Self, BufferError> {
        let allocation = allocator.allocate_shared(size_of_many::<T>(len)?, stream)?;
        check_alignment::<T>(allocation.address())?;
        Ok(Self { block: Block::new(allocation, stream), len, element: PhantomData })
    }

    /// A buffer of zeros. Does not wait.
    ///
    /// # Errors
    /// As [`uninit`](Self::uninit), or when the device fails.
    pub fn zeroed(
        allocator: &Arc<CachingAllocator<D>>,
        len: usize,
        stream: StreamId,
    ) -> Result<Self, BufferError> {
        let mut buffer = Self::uninit(allocator, len, stream)?;
        buffer.zero()?;
        Ok(buffer)
    }

    /// A buffer of `len` times `value`. Waits as [`fill`](Self::fill) does.
    ///
    /// # Errors
    /// As [`uninit`](Self::uninit), or when the device fails.
    pub fn filled(
        allocator: &Arc<CachingAllocator<D>>,
        len: usize,
        value: T,
        stream: StreamId,
    ) -> Result<Self, BufferError> {
        let mut buffer = Self::uninit(allocator, len, stream)?;
        buffer.fill(value)?;
        Ok(buffer)
    }

    /// A buffer that holds a copy of `elements`. Waits until they are there.
    ///
    /// # Errors
    /// As [`uninit`](Self::uninit), or when the device fails.
    pub fn from_slice(
        allocator: &Arc<CachingAllocator<D>>,
        elements: &[T],
        stream: StreamId,
    ) -> Result<Self, BufferError> {
        let mut buffer = Self::uninit(allocator, elements.len(), stream)?;
        buffer.copy_from_slice(elements)?;
        Ok(buffer)
    }

    /// A buffer with a copy of the elements, on the same home stream. Does not wait.
    ///
    /// # Errors
    /// As [`uninit`](Self::uninit), or when the device fails.
    pub fn try_clone(&self) -> Result<Self, BufferError> {
        self.clone_on(self.block.home)
    }

    /// All of it.
    pub const fn view(&self) -> View<'_, T, D> {
        View::new(self.span(), self.len)
    }

    /// All of it, to write to.
    pub const fn view_mut(&mut self) -> ViewMut<'_, T, D> {
        ViewMut::new(self.span(), self.len)
    }

    /// The allocator that it came from and goes back to.
    pub const fn allocator(&self) -> &Arc<CachingAllocator<D>> {
        self.block.allocation.allocator_handle()
    }

    const fn span(&self) -> Span<'_, D> {
        // `uninit` has made sure that the size is a number.
        let size = Bytes::new((self.len * size_of::<T>()) as u64);
        Span { block: &self.block, address: self.block.address, size, stream: self.block.home }
    }
}
