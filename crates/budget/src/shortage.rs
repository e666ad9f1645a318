//! [`Shortage`]: an error that may say that device memory ran out.

use freeboard_allocator::OutOfMemory;
use freeboard_buffer::BufferError;
use freeboard_offload::OffloadError;
use freeboard_units::Bytes;

/// An error of a segment, which tells an out-of-memory error from others.
///
/// ```
/// use freeboard_allocator::OutOfMemory;
/// use freeboard_budget::Shortage;
/// use freeboard_buffer::BufferError;
///
/// #[derive(Debug)]
/// enum LayerError {
///     Memory(BufferError),
///     Shape,
/// }
///
/// impl Shortage for LayerError {
///     fn out_of_memory(&self) -> Option<&OutOfMemory> {
///         match self {
///             Self::Memory(error) => Shortage::out_of_memory(error),
///             Self::Shape => None,
///         }
///     }
/// }
/// # let _ = [LayerError::Shape].map(|error| assert!(error.out_of_memory().is_none()));
/// ```
pub trait Shortage {
    /// The allocator's report, if device memory ran out.
    fn out_of_memory(&self) -> Option<&OutOfMemory>;
}

impl Shortage for freeboard_allocator::Error {
    fn out_of_memory(&self) -> Option<&OutOfMemory> {
        Self::out_of_memory(self)
    }
}

impl Shortage for BufferError {
    fn out_of_memory(&self) -> Option<&OutOfMemory> {
        match self {
            Self::Allocator(error) => error.out_of_memory(),
            _ => None,
        }
    }
}

impl Shortage for OffloadError {
    fn out_of_memory(&self) -> Option<&OutOfMemory> {
        Self::out_of_memory(self)
    }
}

/// What there was for a step that had begun with `before` bytes in use, when it ran out: what it had,
/// and what was still free, in pieces or not. None where the device cannot tell.
pub(crate) fn available(report: &OutOfMemory, before: Bytes) -> Option<Bytes> {
    let of_device = match report.limit {
        Some(limit) => report.free?.min(limit.saturating_sub(report.reserved)),
        None => report.free?,
    };
    let own = report.allocated.saturating_sub(before);
    Some(own.saturating_add(of_device).saturating_add(report.cached).saturating_add(report.pending))
}
