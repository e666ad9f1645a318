//! [`Leaving`], [`Away`] and [`Returning`]: where a value is while it is not on the device.

use std::fmt;
use std::mem;

use freeboard_buffer::{BufferError, InFlight, Pinned};
use freeboard_device::Transfer;
use freeboard_units::Bytes;

use crate::OffloadError;
use crate::movable::{Buffers, Room};

/// Copies of a value to the host, under way. Dropping it gives the host memory back once they are
/// done.
#[must_use = "dropping it gives the copies up"]
pub struct Leaving<D: Transfer> {
    pub(super) parts: Vec<Part<D>>,
}

/// A value whose buffers are on the host alone. Dropping it drops the value.
#[must_use = "dropping it drops the value"]
pub struct Away<V, D: Transfer> {
    pub(crate) value: V,
    pub(super) parts: Vec<Part<D>>,
}

/// A value whose buffers are being copied back. Dropping it drops the value.
#[must_use = "dropping it drops the value"]
pub struct Returning<V, D: Transfer> {
    pub(super) away: Away<V, D>,
    pub(super) rooms: Vec<Box<dyn Room<D>>>,
}

/// A buffer's bytes on the host.
pub(super) struct Part<D: Transfer> {
    pub(super) name: String,
    /// The buffer's elements.
    pub(super) len: usize,
    pub(super) size: Bytes,
    pub(super) host: Host<D>,
}

/// Pinned memory, and whether a copy uses it.
pub(super) enum Host<D: Transfer> {
    Still(Pinned<u8, D>),
    Moving(InFlight<u8, D>),
    /// The device failed while it was waited for.
    Lost,
}

impl<D: Transfer + 'static> Part<D> {
    /// Waits for the copy that uses the pinned memory, if one does.
    pub(super) fn settle(
        &mut self,
        doing: &'static str,
        wait: impl FnOnce(InFlight<u8, D>) -> Result<Pinned<u8, D>, BufferError>,
    ) -> Result<(), OffloadError> {
        let waited = match mem::replace(&mut self.host, Host::Lost) {
            Host::Moving(copy) => wait(copy),
            Host::Still(pinned) => Ok(pinned),
            Host::Lost => return Err(OffloadError::Lost { buffer: self.name.clone() }),
        };
        self.host = Host::Still(waited.map_err(OffloadError::buffer(&self.name, doing))?);
        Ok(())
    }

    /// Begins to copy it to the device, once no copy uses it.
    pub(super) fn start(&mut self, room: &mut dyn Room<D>) -> Result<(), OffloadError> {
        let (host, outcome) = match mem::replace(&mut self.host, Host::Lost) {
            Host::Still(pinned) => match room.copy_in(pinned) {
                Ok(copy) => (Host::Moving(copy), Ok(())),
                Err(refused) => (Host::Still(refused.pinned), Err(*refused.error)),
            },
            host => (host, Ok(())),
        };
        self.host = host;
        outcome.map_err(OffloadError::buffer(&self.name, "copying it to the device"))
    }
}

/// Whether a value lists as many buffers as were moved, each of the length that `is_right` wants.
pub(super) fn check<D: Transfer + 'static>(
    parts: &[Part<D>],
    listed: &Buffers<'_, D>,
    is_right: impl Fn(usize, &Part<D>) -> bool,
) -> Result<(), OffloadError> {
    let count = listed.list.len();
    for (number, (part, (name, place))) in parts.iter().zip(&listed.list).enumerate() {
        if !is_right(number, part) {
            let found = format!("`{name}` of {} elements", place.len());
            return Err(OffloadError::Changed { expected: part.name.clone(), found });
        }
    }
    if count == parts.len() {
        return Ok(());
    }
    let expected = parts.get(count).map_or("no other buffer", |part| &part.name).to_owned();
    Err(OffloadError::Changed { expected, found: format!("one of {count} buffers") })
}

impl<D: Transfer> Leaving<D> {
    /// What is copied, in bytes of the device.
    #[must_use]
    pub fn size(&self) -> Bytes {
        total(&self.parts)
    }
}

impl<V, D: Transfer> Away<V, D> {
    /// What it has on the host, in bytes of the device; pinned memory is rounded up.
    #[must_use]
    pub fn size(&self) -> Bytes {
        total(&self.parts)
    }

    /// The value, with empty buffers.
    #[must_use]
    pub const fn value(&self) -> &V {
        &self.value
    }
}

fn total<D: Transfer>(parts: &[Part<D>]) -> Bytes {
    parts.iter().fold(Bytes::ZERO, |sum, part| sum + part.size)
}

impl<D: Transfer> fmt::Debug for Leaving<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaving").field("size", &self.size()).finish_non_exhaustive()
    }
}

impl<V, D: Transfer> fmt::Debug for Away<V, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Away").field("size", &self.size()).finish_non_exhaustive()
    }
}

impl<V, D: Transfer> fmt::Debug for Returning<V, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Returning").field("size", &self.away.size()).finish_non_exhaustive()
    }
}
