//! The methods that buffers, views and guards share, written once.

use std::fmt;
use std::ops::RangeBounds;

use freeboard_device::Transfer;
use freeboard_units::{Address, Bytes, StreamId};

use crate::element::Element;
use crate::guard::{OnStream, OnStreamMut};
use crate::in_flight::{InFlight, Refused};
use crate::pinned::Pinned;
use crate::view::{View, ViewMut};
use crate::{BufferError, DeviceBuffer};

/// Gives a type what can be read. It has a method `view`; what it returns lives for `$lent`.
macro_rules! reads {
    ($name:ident $(< $lifetime:lifetime >)?, $lent:lifetime) => {
        impl<$($lifetime,)? T: Element, D: Transfer> $name<$($lifetime,)? T, D> {
            /// How many elements there are.
            #[must_use]
            pub fn len(&self) -> usize {
                self.view().len
            }

            /// Whether there are none.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// How many bytes the elements take.
            #[must_use]
            pub fn size(&self) -> Bytes {
                self.view().span.size
            }

            /// Where the first element is; [`Address::NULL`] if the buffer has no bytes.
            #[must_use]
            pub fn address(&self) -> Address {
                self.view().span.address
            }

            /// The stream that the methods put work on.
            #[must_use]
            pub fn stream(&self) -> StreamId {
                self.view().span.stream
            }

            /// The elements in `range`.
            ///
            /// # Errors
            /// When they do not lie inside.
            pub fn slice(
                &self,
                range: impl RangeBounds<usize>,
            ) -> Result<View<$lent, T, D>, BufferError> {
                self.view().part(&range)
            }

            /// The elements before `middle`, and those from there on.
            ///
            /// # Errors
            /// When `middle` is beyond the end.
            pub fn split_at(
                &self,
                middle: usize,
            ) -> Result<(View<$lent, T, D>, View<$lent, T, D>), BufferError> {
                Ok((self.slice(..middle)?, self.slice(middle..)?))
            }

            /// Pieces of `len` elements; the last one may have fewer.
            ///
            /// # Errors
            /// When `len` is zero.
            pub fn chunks(
                &self,
                len: usize,
            ) -> Result<impl ExactSizeIterator<Item = View<$lent, T, D>>, BufferError> {
                self.view().pieces(len)
            }

            /// The same bytes as elements of another type.
            ///
            /// # Errors
            /// When the bytes are no whole number of them, or the first may not begin there.
            pub fn cast<U: Element>(&self) -> Result<View<$lent, U, D>, BufferError> {
                self.view().reinterpret()
            }

            /// Lends it to another stream, to read from, until the guard is dropped.
            ///
            /// # Errors
            /// When the device fails, or the allocator has seen too many streams.
            pub fn on(&self, stream: StreamId) -> Result<OnStream<$lent, T, D>, BufferError> {
                self.view().enter(stream)
            }

            /// Copies all elements to `to`, and waits until they are there.
            ///
            /// # Errors
            /// When the lengths differ, the stream is being captured, or the device fails; then
            /// what is in `to` is not known.
            pub fn copy_to_slice(&self, to: &mut [T]) -> Result<(), BufferError> {
                self.view().download_to(to)
            }

            /// The elements, copied to this process. Waits until they are there.
            ///
            /// # Errors
            /// When the stream is being captured, the device fails, or this machine has too little
            /// memory.
            pub fn to_vec(&self) -> Result<Vec<T>, BufferError> {
                self.view().download_all()
            }

            /// Starts to copy all elements to pinned memory, and returns at once.
            ///
            /// # Errors
            /// When the lengths differ, the stream is being captured, or the device fails. The
            /// pinned memory comes back with the error.
            pub fn download(
                &self,
                into: Pinned<T, D>,
            ) -> Result<InFlight<T, D>, Refused<T, D>> {
                self.view().start_into(into)
            }

            /// A buffer with a copy of the elements, at home on `stream`. Does not wait: that
            /// stream does, on the device.
            ///
            /// # Errors
            /// When there is no memory for it, or the device fails.
            pub fn clone_on(&self, stream: StreamId) -> Result<DeviceBuffer<T, D>, BufferError> {
                self.view().copy_to_buffer(stream)
            }
        }

        impl<$($lifetime,)? T: Element, D: Transfer> fmt::Debug for $name<$($lifetime,)? T, D> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.view().describe(stringify!($name), f)
            }
        }

        impl<'v, $($lifetime,)? T: Element, D: Transfer> From<&'v $name<$($lifetime,)? T, D>>
            for View<'v, T, D>
        {
            fn from(all: &'v $name<$($lifetime,)? T, D>) -> Self {
                all.view()
            }
        }
    };
}

/// Gives a type what can be written. It has a method `view_mut`.
macro_rules! writes {
    ($name:ident $(< $lifetime:lifetime >)?) => {
        impl<$($lifetime,)? T: Element, D: Transfer> $name<$($lifetime,)? T, D> {
            /// The elements in `range`, to write to.
            ///
            /// # Errors
            /// When they do not lie inside.
            pub fn slice_mut(
                &mut self,
                range: impl RangeBounds<usize>,
            ) -> Result<ViewMut<'_, T, D>, BufferError> {
                self.view_mut().part(&range)
            }

            /// The elements before `middle`, and those from there on, to write to.
            ///
            /// # Errors
            /// When `middle` is beyond the end.
            pub fn split_at_mut(
                &mut self,
                middle: usize,
            ) -> Result<(ViewMut<'_, T, D>, ViewMut<'_, T, D>), BufferError> {
                self.view_mut().halves(middle)
            }

            /// Pieces of `len` elements to write to; the last one may have fewer.
            ///
            /// # Errors
            /// When `len` is zero.
            pub fn chunks_mut(
                &mut self,
                len: usize,
            ) -> Result<impl ExactSizeIterator<Item = ViewMut<'_, T, D>>, BufferError> {
                self.view_mut().pieces(len)
            }

            /// The same bytes as elements of another type, to write to.
            ///
            /// # Errors
            /// When the bytes are no whole number of them, or the first may not begin there.
            pub fn cast_mut<U: Element>(&mut self) -> Result<ViewMut<'_, U, D>, BufferError> {
                self.view_mut().reinterpret()
            }

            /// Lends it to another stream, to write to, until the guard is dropped.
            ///
            /// # Errors
            /// When the device fails, or the allocator has seen too many streams.
            pub fn on_mut(
                &mut self,
                stream: StreamId,
            ) -> Result<OnStreamMut<'_, T, D>, BufferError> {
                self.view_mut().enter(stream)
            }

            /// Copies `from` to it, and waits until it is there.
            ///
            /// # Errors
            /// When the lengths differ, the stream is being captured, or the device fails.
            pub fn copy_from_slice(&mut self, from: &[T]) -> Result<(), BufferError> {
                self.view_mut().upload_from(from)
            }

            /// Starts to copy pinned memory to it, and returns at once.
            ///
            /// # Errors
            /// When the lengths differ, the stream is being captured, or the device fails. The
            /// pinned memory comes back with the error.
            pub fn upload(&mut self, from: Pinned<T, D>) -> Result<InFlight<T, D>, Refused<T, D>> {
                self.view_mut().start_from(from)
            }

            /// Copies from memory of the same device, whichever stream it is on. Does not wait: this
            /// stream waits, on the device, for what that one has done until now, and that one for
            /// the copy.
            ///
            /// # Errors
            /// When the lengths or the devices differ, or the device fails.
            pub fn copy_from<'v>(
                &mut self,
                source: impl Into<View<'v, T, D>>,
            ) -> Result<(), BufferError>
            where
                D: 'v,
            {
                self.view_mut().copy_all(source.into())
            }

            /// Sets every element to `value`. Does not wait, unless the value's bytes are no
            /// pattern of 1, 2 or 4 bytes over and over: then a piece is uploaded and waited for.
            ///
            /// # Errors
            /// When the device fails, or such a piece is wanted on a stream that is being captured.
            pub fn fill(&mut self, value: T) -> Result<(), BufferError> {
                self.view_mut().fill_with(value)
            }

            /// Sets every byte to zero. Does not wait.
            ///
            /// # Errors
            /// When the device fails.
            pub fn zero(&mut self) -> Result<(), BufferError> {
                self.view_mut().fill_with(T::zeroed())
            }
        }
    };
}

reads!(DeviceBuffer, '_);
reads!(View<'a>, 'a);
reads!(ViewMut<'a>, '_);
reads!(OnStream<'a>, '_);
reads!(OnStreamMut<'a>, '_);
writes!(DeviceBuffer);
writes!(ViewMut<'a>);
writes!(OnStreamMut<'a>);
