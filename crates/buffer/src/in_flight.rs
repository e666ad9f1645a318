//! [`InFlight`]: a transfer with pinned memory that goes on while the program does.

use std::fmt;

use freeboard_device::Transfer;

use crate::BufferError;
use crate::element::Element;
use crate::pinned::Pinned;
use crate::pinned::pass::Pass;
use crate::view::{View, ViewMut, check_lengths};

/// A transfer between a buffer and pinned memory, which it owns until it is done.
///
/// Dropping it does not wait: the pinned memory goes back to its cache and is used again only
/// after the stream is past the transfer.
#[must_use = "dropping it gives the pinned memory up"]
pub struct InFlight<T: Element, D: Transfer> {
    /// Its pass, if it has one, is the end of the transfer.
    pinned: Pinned<T, D>,
}

impl<T: Element, D: Transfer> InFlight<T, D> {
    /// Waits for the transfer; the pinned memory is yours again.
    ///
    /// # Errors
    /// When work on the stream failed. The pinned memory goes back to its cache once the stream is
    /// past it.
    pub fn wait(mut self) -> Result<Pinned<T, D>, BufferError> {
        if let Some(pass) = &mut self.pinned.pass {
            pass.wait()?;
        }
        self.pinned.pass = None;
        Ok(self.pinned)
    }

    /// Whether the transfer is done, so that [`wait`](Self::wait) would not wait.
    ///
    /// # Errors
    /// When work on the stream failed.
    pub fn is_done(&mut self) -> Result<bool, BufferError> {
        Ok(self.pinned.pass.as_mut().map_or(Ok(true), Pass::is_done)?)
    }
}

/// A transfer that did not start; the pinned memory comes back with the reason.
#[derive(thiserror::Error)]
#[error("{error}")]
pub struct Refused<T: Element, D: Transfer> {
    /// Why.
    #[source]
    pub error: Box<BufferError>,
    /// The memory that was to be copied from or to, as it was.
    pub pinned: Pinned<T, D>,
}

/// Without the pinned memory, which goes back to its cache.
impl<T: Element, D: Transfer> From<Refused<T, D>> for BufferError {
    fn from(refused: Refused<T, D>) -> Self {
        *refused.error
    }
}

/// Which way the bytes go.
#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

impl<T: Element, D: Transfer> View<'_, T, D> {
    pub(crate) fn start_into(self, pinned: Pinned<T, D>) -> Result<InFlight<T, D>, Refused<T, D>> {
        self.start(pinned, Way::Down)
    }

    fn start(self, mut pinned: Pinned<T, D>, way: Way) -> Result<InFlight<T, D>, Refused<T, D>> {
        match self.try_start(&mut pinned, way) {
            Ok(pass) => {
                pinned.pass = pass;
                Ok(InFlight { pinned })
            }
            Err(error) => Err(Refused { error: Box::new(error), pinned }),
        }
    }

    /// Puts the transfer on the stream; returns the point behind it.
    fn try_start(self, pinned: &mut [T], way: Way) -> Result<Option<Pass<D>>, BufferError> {
        match way {
            Way::Up => check_lengths(pinned.len(), self.len)?,
            Way::Down => check_lengths(self.len, pinned.len())?,
        }
        let span = self.span;
        if span.size.is_zero() {
            return Ok(None);
        }
        span.check_not_capturing()?;
        let mut pass = Pass::new(span.block.allocation.allocator_handle(), span.stream)?;
        let host = bytemuck::cast_slice_mut::<T, u8>(pinned).as_mut_ptr();
        match way {
            // SAFETY: the pinned memory is of this size; the caller keeps it until the pass.
            Way::Up => unsafe { span.start_upload(host) },
            // SAFETY: as above, and nobody else has it.
            Way::Down => unsafe { span.start_download(host) },
        }?;
        if let Err(error) = pass.record() {
            tracing::warn!(%error, "a transfer could not be marked; tried again when it matters");
        }
        Ok(Some(pass))
    }
}

impl<T: Element, D: Transfer> ViewMut<'_, T, D> {
    pub(crate) fn start_from(self, pinned: Pinned<T, D>) -> Result<InFlight<T, D>, Refused<T, D>> {
        self.view().start(pinned, Way::Up)
    }
}

impl<T: Element, D: Transfer> fmt::Debug for InFlight<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").field("pinned", &self.pinned).finish_non_exhaustive()
    }
}

impl<T: Element, D: Transfer> fmt::Debug for Refused<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("error", &self.error).field("pinned", &self.pinned).finish()
    }
}
