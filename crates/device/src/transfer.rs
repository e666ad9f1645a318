//! [`Transfer`]: bytes in, bytes out, bytes across, in the order of streams.
#![expect(
    unsafe_code,
    reason = "the addresses are bare numbers, so only the caller can promise that they are its own; \
              nothing here is dereferenced"
)]

use std::ptr::NonNull;
use std::sync::Arc;

use freeboard_units::{Address, AddressRange, Bytes, StreamId};

use crate::{Device, Result};

/// What a fill writes, over and over.
///
/// The range's address and size are multiples of the pattern's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// One byte (`cuMemsetD8Async`).
    U8(u8),
    /// Two bytes, little end first (`cuMemsetD16Async`).
    U16(u16),
    /// Four bytes, little end first (`cuMemsetD32Async`).
    U32(u32),
}

impl Pattern {
    /// The size of one repetition: 1, 2 or 4 bytes.
    #[must_use]
    pub const fn size(self) -> Bytes {
        match self {
            Self::U8(_) => Bytes::new(1),
            Self::U16(_) => Bytes::new(2),
            Self::U32(_) => Bytes::new(4),
        }
    }
}

/// A device whose memory holds bytes.
///
/// All work is put on a stream and done in its order; the calls may return before it is done.
/// They are unsafe because they take addresses, which anybody can make up. Owners of memory wrap
/// them: `freeboard-buffer` is such an owner.
pub trait Transfer: Device {
    /// Copies `size` bytes of this process to the device (`cuMemcpyHtoDAsync`).
    ///
    /// # Safety
    /// Until `stream` is past this work: `from` is readable for `size` bytes that nobody writes,
    /// and `size` bytes at `to` are device memory that is the caller's to write.
    ///
    /// # Errors
    /// When there is no such stream, or no memory at `to`, or the driver fails.
    unsafe fn upload(
        &self,
        to: Address,
        from: *const u8,
        size: Bytes,
        stream: StreamId,
    ) -> Result<()>;

    /// Copies `size` bytes of the device to this process (`cuMemcpyDtoHAsync`).
    ///
    /// # Safety
    /// Until `stream` is past this work: `to` is writable for `size` bytes that nobody else reads
    /// or writes, and `size` bytes at `from` are device memory that is the caller's to read.
    ///
    /// # Errors
    /// When there is no such stream, or no memory at `from`, or the driver fails.
    unsafe fn download(
        &self,
        to: *mut u8,
        from: Address,
        size: Bytes,
        stream: StreamId,
    ) -> Result<()>;

    /// Copies `size` bytes within the device (`cuMemcpyDtoDAsync`). The two do not overlap.
    ///
    /// # Safety
    /// Until `stream` is past this work, `size` bytes at `from` are device memory that is the
    /// caller's to read, and at `to`, to write.
    ///
    /// # Errors
    /// When there is no such stream, or no memory at one end, or the driver fails.
    unsafe fn copy(&self, to: Address, from: Address, size: Bytes, stream: StreamId) -> Result<()>;

    /// Fills `range` with a pattern.
    ///
    /// # Safety
    /// Until `stream` is past this work, `range` is device memory that is the caller's to write.
    ///
    /// # Errors
    /// When there is no such stream, no memory at `range`, or its ends do not fit the pattern.
    unsafe fn fill(&self, range: AddressRange, pattern: Pattern, stream: StreamId) -> Result<()>;

    /// Host memory that the device reads and writes without a detour, aligned to 256 bytes or more
    /// (`cuMemHostAlloc`, not write-combined). `size` is not zero.
    ///
    /// # Errors
    /// [`OutOfMemory`](crate::DeviceError::OutOfMemory) when the host has too little.
    fn pin(&self, size: Bytes) -> Result<NonNull<u8>>;

    /// Gives pinned memory back (`cuMemFreeHost`).
    ///
    /// # Safety
    /// Nobody uses the memory any more, no stream either.
    ///
    /// # Errors
    /// When nothing pinned begins at `start`.
    unsafe fn unpin(&self, start: NonNull<u8>) -> Result<()>;
}

macro_rules! forward {
    ($($pointer:tt)*) => {
        impl<D: Transfer + ?Sized> Transfer for $($pointer)* {
            unsafe fn upload(
                &self,
                to: Address,
                from: *const u8,
                size: Bytes,
                stream: StreamId,
            ) -> Result<()> {
                // SAFETY: the caller promises to this method what the same method wants.
                unsafe { (**self).upload(to, from, size, stream) }
            }
            unsafe fn download(
                &self,
                to: *mut u8,
                from: Address,
                size: Bytes,
                stream: StreamId,
            ) -> Result<()> {
                // SAFETY: the caller promises to this method what the same method wants.
                unsafe { (**self).download(to, from, size, stream) }
            }
            unsafe fn copy(
                &self,
                to: Address,
                from: Address,
                size: Bytes,
                stream: StreamId,
            ) -> Result<()> {
                // SAFETY: the caller promises to this method what the same method wants.
                unsafe { (**self).copy(to, from, size, stream) }
            }
            unsafe fn fill(
                &self,
                range: AddressRange,
                pattern: Pattern,
                stream: StreamId,
            ) -> Result<()> {
                // SAFETY: the caller promises to this method what the same method wants.
                unsafe { (**self).fill(range, pattern, stream) }
            }
            fn pin(&self, size: Bytes) -> Result<NonNull<u8>> {
                (**self).pin(size)
            }
            unsafe fn unpin(&self, start: NonNull<u8>) -> Result<()> {
                // SAFETY: the caller promises to this method what the same method wants.
                unsafe { (**self).unpin(start) }
            }
        }
    };
}

forward!(&D);
forward!(Arc<D>);
