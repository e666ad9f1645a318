//! [`PackError`]: why buffers cannot be packed at all.

use freeboard_units::Bytes;

/// Why buffers cannot be packed at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A lifetime ends before it begins, or where it begins.
    #[error("buffer {buffer}: its lifetime is empty; let it end after it begins, or leave it out")]
    EmptyLifetime {
        /// The number of the buffer.
        buffer: usize,
    },
    /// A buffer has no bytes.
    #[error("buffer {buffer}: its size is zero; leave it out, it needs no address")]
    ZeroSize {
        /// The number of the buffer.
        buffer: usize,
    },
    /// The sizes together exceed the largest number of bytes.
    #[error("the sizes up to buffer {buffer} add up to 2^64 bytes or more: are they in bytes?")]
    TooLarge {
        /// The number of the buffer.
        buffer: usize,
    },
    /// There are more buffers than can be numbered.
    #[error("{buffers} buffers are too many: pack at most 2^31 at once")]
    TooMany {
        /// How many there are.
        buffers: usize,
    },
    /// Offsets cannot be multiples of this.
    #[error("an alignment of {alignment} is none: it must be at least 1 byte")]
    Alignment {
        /// What was asked for.
        alignment: Bytes,
    },
}
