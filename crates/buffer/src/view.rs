//! [`View`] and [`ViewMut`]: parts of a buffer, and what can be done with them.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, Range, RangeBounds};

use freeboard_device::Transfer;
use freeboard_units::{Address, Bytes, StreamId};

use crate::element::{Element, check_alignment, size_of};
use crate::guard::{OnStream, OnStreamMut};
use crate::order::{Access, Span};
use crate::{BufferError, DeviceBuffer};

/// A part of a buffer, to read from.
#[must_use]
pub struct View<'a, T: Element, D: Transfer> {
    pub(crate) span: Span<'a, D>,
    pub(crate) len: usize,
    element: PhantomData<fn() -> T>,
}

impl<T: Element, D: Transfer> Clone for View<'_, T, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Element, D: Transfer> Copy for View<'_, T, D> {}

/// A part of a buffer, to write to; nobody else has it meanwhile.
#[must_use]
pub struct ViewMut<'a, T: Element, D: Transfer> {
    pub(crate) all: View<'a, T, D>,
}

impl<'a, T: Element, D: Transfer> ViewMut<'a, T, D> {
    /// The caller has the span exclusively, for as long as `'a` says.
    pub(crate) const fn new(span: Span<'a, D>, len: usize) -> Self {
        Self { all: View::new(span, len) }
    }

    /// All of it.
    pub const fn view(&self) -> View<'_, T, D> {
        self.all
    }

    /// All of it, for a shorter time.
    pub const fn view_mut(&mut self) -> ViewMut<'_, T, D> {
        ViewMut { all: self.all }
    }

    /// Where it begins, for a kernel on its stream that writes it. The stream waits for guards that
    /// were leaked, if any.
    ///
    /// # Errors
    /// When the device fails.
    pub fn for_kernel(&mut self) -> Result<Address, BufferError> {
        self.all.span.settle(Access::Write)?;
        Ok(self.all.span.address)
    }
}

/// What the methods of all the types that can be read come down to.
impl<'a, T: Element, D: Transfer> View<'a, T, D> {
    pub(crate) const fn new(span: Span<'a, D>, len: usize) -> Self {
        Self { span, len, element: PhantomData }
    }

    /// All of it.
    pub const fn view(&self) -> Self {
        *self
    }

    /// Where it begins, for a kernel on its stream that only reads it. The stream waits for guards
    /// that were leaked, if any.
    ///
    /// # Errors
    /// When the device fails.
    pub fn for_kernel(&self) -> Result<Address, BufferError> {
        self.span.settle(Access::Read)?;
        Ok(self.span.address)
    }

    /// The device that the memory is on.
    #[must_use]
    pub fn device(&self) -> &'a D {
        self.span.block.allocator().device()
    }

    /// Elements `range`, which lie inside.
    fn elements(self, range: Range<usize>) -> Self {
        let bytes = |elements: usize| Bytes::new(elements as u64 * size_of::<T>().get());
        Self::new(self.span.part(bytes(range.start), bytes(range.len())), range.len())
    }

    pub(crate) fn part(self, range: &impl RangeBounds<usize>) -> Result<Self, BufferError> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len,
        };
        if start > end || end > self.len {
            return Err(BufferError::OutOfRange { start, end, len: self.len });
        }
        Ok(self.elements(start..end))
    }

    pub(crate) fn pieces(
        self,
        len: usize,
    ) -> Result<impl ExactSizeIterator<Item = Self> + use<'a, T, D>, BufferError> {
        if len == 0 {
            return Err(BufferError::ZeroChunk);
        }
        let piece = move |number: usize| {
            let start = number * len;
            self.elements(start..start + len.min(self.len - start))
        };
        Ok((0..self.len.div_ceil(len)).map(piece))
    }

    pub(crate) fn reinterpret<U: Element>(self) -> Result<View<'a, U, D>, BufferError> {
        let (size, element) = (self.span.size, size_of::<U>());
        let len = size.get().checked_div(element.get());
        let Some(len) = len.filter(|len| len * element.get() == size.get()) else {
            return Err(BufferError::UnevenSize { size, element });
        };
        check_alignment::<U>(self.span.address)?;
        let len = usize::try_from(len).map_err(|_| BufferError::UnevenSize { size, element })?;
        Ok(View::new(self.span, len))
    }

    pub(crate) fn download_to(self, to: &mut [T]) -> Result<(), BufferError> {
        check_lengths(self.len, to.len())?;
        self.span.read(bytemuck::cast_slice_mut(to))
    }

    pub(crate) fn download_all(self) -> Result<Vec<T>, BufferError> {
        let size = self.span.size;
        let mut elements =
            bytemuck::try_zeroed_vec(self.len).map_err(|()| BufferError::HostMemory { size })?;
        self.download_to(&mut elements)?;
        Ok(elements)
    }

    pub(crate) fn copy_to_buffer(
        self,
        stream: StreamId,
    ) -> Result<DeviceBuffer<T, D>, BufferError> {
        let allocator = self.span.block.allocation.allocator_handle();
        let mut copy = DeviceBuffer::uninit(allocator, self.len, stream)?;
        copy.copy_from(self)?;
        Ok(copy)
    }

    pub(crate) fn enter(self, stream: StreamId) -> Result<OnStream<'a, T, D>, BufferError> {
        Ok(OnStream::new(self.span.enter(stream, Access::Read)?, self.len))
    }
}

/// What the methods of all the types that can be written come down to.
impl<'a, T: Element, D: Transfer> ViewMut<'a, T, D> {
    const fn of(all: View<'a, T, D>) -> Self {
        Self { all }
    }

    pub(crate) fn part(self, range: &impl RangeBounds<usize>) -> Result<Self, BufferError> {
        self.all.part(range).map(Self::of)
    }

    pub(crate) fn halves(self, middle: usize) -> Result<(Self, Self), BufferError> {
        Ok((Self::of(self.all.part(&..middle)?), Self::of(self.all.part(&(middle..))?)))
    }

    pub(crate) fn pieces(
        self,
        len: usize,
    ) -> Result<impl ExactSizeIterator<Item = Self> + use<'a, T, D>, BufferError> {
        Ok(self.all.pieces(len)?.map(Self::of))
    }

    pub(crate) fn reinterpret<U: Element>(self) -> Result<ViewMut<'a, U, D>, BufferError> {
        self.all.reinterpret().map(ViewMut::of)
    }

    pub(crate) fn upload_from(self, from: &[T]) -> Result<(), BufferError> {
        check_lengths(from.len(), self.all.len)?;
        self.all.span.write(bytemuck::cast_slice(from))
    }

    pub(crate) fn copy_all(self, source: View<'_, T, D>) -> Result<(), BufferError> {
        check_lengths(source.len, self.all.len)?;
        self.all.span.copy_from(source.span)
    }

    pub(crate) fn fill_with(self, value: T) -> Result<(), BufferError> {
        self.all.span.fill(bytemuck::bytes_of(&value))
    }

    pub(crate) fn enter(self, stream: StreamId) -> Result<OnStreamMut<'a, T, D>, BufferError> {
        Ok(OnStreamMut::new(self.all.span.enter(stream, Access::Write)?, self.all.len))
    }
}

pub(crate) const fn check_lengths(from: usize, to: usize) -> Result<(), BufferError> {
    if from == to { Ok(()) } else { Err(BufferError::LengthMismatch { from, to }) }
}

impl<T: Element, D: Transfer> View<'_, T, D> {
    pub(crate) fn describe(self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("element", &format_args!("{}", type_name::<T>()))
            .field("len", &self.len)
            .field("address", &format_args!("{}", self.span.address))
            .field("stream", &self.span.stream)
            .finish()
    }
}
