//! [`BufferError`]: why a call failed, with its numbers and what to do.

use freeboard_device::DeviceError;
use freeboard_units::{Address, Bytes, DeviceId, StreamId};

/// Why a buffer or a view did not do as asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BufferError {
    /// No memory for the buffer, or no place in the allocator's books.
    #[error(transparent)]
    Allocator(#[from] freeboard_allocator::Error),
    /// The device failed. What is in the memory that was to be written is not known.
    #[error("the device failed: {0}")]
    Device(#[from] DeviceError),
    /// More bytes than an address space has.
    #[error("{len} elements of {element} are more than any address space holds: ask for fewer")]
    TooLarge {
        /// The elements asked for.
        len: usize,
        /// The size of one.
        element: Bytes,
    },
    /// A copy between two of different lengths.
    #[error("{from} elements cannot be copied to {to}: take views of equal length")]
    LengthMismatch {
        /// Elements at the source.
        from: usize,
        /// Elements at the destination.
        to: usize,
    },
    /// A part that does not lie inside the whole.
    #[error("elements {start}..{end} do not lie in 0..{len}")]
    OutOfRange {
        /// The first element of the part.
        start: usize,
        /// The first element past the part.
        end: usize,
        /// How many elements there are.
        len: usize,
    },
    /// An element type that may not begin at this address.
    #[error("{address} is no multiple of {alignment}, as the element type's alignment asks")]
    Misaligned {
        /// Where the elements would begin.
        address: Address,
        /// What the address must be a multiple of.
        alignment: Bytes,
    },
    /// Bytes that are no whole number of elements of the other type.
    #[error("{size} are not made of whole elements of {element}: take a view that is")]
    UnevenSize {
        /// The bytes there are.
        size: Bytes,
        /// The size of one element.
        element: Bytes,
    },
    /// Chunks of no elements.
    #[error("chunks of 0 elements never end: ask for 1 or more")]
    ZeroChunk,
    /// A transfer to or from host memory on a stream that is being captured: the graph would use
    /// the memory at every replay, long after it went to somebody else.
    #[error("{stream} is being captured: transfer to and from the host before or after that")]
    Capturing {
        /// The stream.
        stream: StreamId,
    },
    /// A copy between two devices.
    #[error("memory of {from} cannot be copied to {to}: go through the host")]
    OtherDevice {
        /// The source's device.
        from: DeviceId,
        /// The destination's device.
        to: DeviceId,
    },
    /// This machine has too little memory for a result.
    #[error("this machine has no {size} left for what was asked of the device")]
    HostMemory {
        /// The bytes asked for.
        size: Bytes,
    },
    /// No pinned memory, although everything cached was given back.
    #[error(
        "no {size} of host memory could be pinned ({in_use} in use, {pending} waiting for streams, \
         {given_back} given back just now): drop or wait for transfers, or raise the limit of \
         locked memory"
    )]
    PinnedOutOfMemory {
        /// The bytes asked for, rounded up.
        size: Bytes,
        /// Pinned bytes in the hands of the program.
        in_use: Bytes,
        /// Pinned bytes that transfers may still use.
        pending: Bytes,
        /// Cached bytes that were given back to the device for this request, in vain.
        given_back: Bytes,
    },
}
