//! [`check_headroom`]: how much memory was left when most was held.

use std::fmt;

use freeboard_allocator::CachingAllocator;
use freeboard_device::{Device, DeviceError};
use freeboard_units::Bytes;
use serde::{Deserialize, Serialize};

/// What was left at the peak, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Headroom {
    /// Bytes the device has.
    pub total: Bytes,
    /// Bytes held now by others: the CUDA context, libraries, other processes.
    pub outside: Bytes,
    /// The most bytes the allocator may hold, by a memory fraction below 1.
    pub limit: Option<Bytes>,
    /// Bytes the allocator can have: what others leave, within the limit.
    pub capacity: Bytes,
    /// The most bytes it held, since peaks were last reset.
    pub peak_reserved: Bytes,
    /// The most bytes handed out or still used by a stream.
    pub peak_active: Bytes,
    /// What the peak left of the capacity; zero where it is beyond it.
    pub spare: Bytes,
    /// What was to be left.
    pub margin: Bytes,
    /// Requests that ended out of memory: what they wanted is in no peak.
    pub num_ooms: u64,
}

impl Headroom {
    fn advice(&self) -> String {
        let missing = self.margin.saturating_sub(self.spare);
        let beside = |held: Bytes| self.capacity.saturating_sub(held);
        if beside(self.peak_active) >= self.margin {
            return format!(
                "only {} of it was in use at once; the rest is cached and fragmented memory, which the \
                 allocator gives back when it must: use Config::default() (stitching) or a \
                 garbage-collection threshold, or check against a smaller margin",
                self.peak_active
            );
        }
        let unlimited = self.total.saturating_sub(self.outside).saturating_sub(self.peak_reserved);
        if self.limit.is_some() && unlimited >= self.margin {
            return format!("the limit is what is short: raise the memory fraction by {missing}");
        }
        if self.outside >= missing.saturating_add(Bytes::gib(1)) {
            return format!(
                "{} are held outside this allocator: 'freeboard devices' shows by whom; or save \
                 {missing} with a smaller batch or checkpointing",
                self.outside
            );
        }
        format!("save {missing}: a smaller batch, checkpointing, or a larger device")
    }
}

impl fmt::Display for Headroom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { total, outside, capacity, peak_reserved, spare, .. } = self;
        write!(f, "at the peak {peak_reserved} of {capacity} were reserved, {spare} were left ")?;
        write!(f, "(the device has {total}, {outside} held outside the allocator")?;
        if let Some(limit) = self.limit {
            write!(f, ", {limit} allowed")?;
        }
        f.write_str(")")?;
        if self.num_ooms > 0 {
            write!(f, "; requests that ran out of memory and are in no peak: {}", self.num_ooms)?;
        }
        Ok(())
    }
}

/// Why there is no headroom, or none that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadroomError {
    /// Less was left than there should be.
    #[error("less than {} of memory were left: {headroom}; {}", headroom.margin, headroom.advice())]
    TooLittle {
        /// The numbers.
        headroom: Box<Headroom>,
    },
    /// The device cannot tell what it has.
    #[error("the device cannot tell how much memory it has: {0}")]
    Device(#[from] DeviceError),
}

/// Whether at least `margin` was left when most memory was held: the peak of reserved bytes since peaks
/// were last reset, against what the device has, what others hold of it now, and the allocator's limit.
///
/// Call it after the steps that need most: after a run, or after the step that had failed before.
///
/// ```
/// use freeboard_allocator::{CachingAllocator, Config};
/// use freeboard_device_sim::SimDevice;
/// use freeboard_units::{Bytes, StreamId};
/// use freeboard_watch::check_headroom;
///
/// let allocator = CachingAllocator::new(SimDevice::new(Bytes::gib(8)), Config::default())?;
/// drop(allocator.allocate(Bytes::gib(7), StreamId::DEFAULT)?);
/// assert_eq!(check_headroom(&allocator, Bytes::mib(512))?.spare, Bytes::gib(1));
/// println!("{}", check_headroom(&allocator, Bytes::gib(2)).unwrap_err()); // numbers, and what to do
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`HeadroomError::TooLittle`] where less was left, with the numbers and what to do;
/// [`HeadroomError::Device`] when the device fails.
pub fn check_headroom<D: Device>(
    allocator: &CachingAllocator<D>,
    margin: Bytes,
) -> Result<Headroom, HeadroomError> {
    let bytes = |count: i64| Bytes::new(u64::try_from(count).unwrap_or(0));
    let (stats, limit) = (allocator.stats(), allocator.limit());
    let Room { total, outside, capacity } = Room::of(allocator)?;
    let peak_reserved = bytes(stats.reserved_bytes.all.peak);
    let headroom = Headroom {
        total,
        outside,
        limit,
        capacity,
        peak_reserved,
        peak_active: bytes(stats.active_bytes.all.peak),
        spare: capacity.saturating_sub(peak_reserved),
        margin,
        num_ooms: u64::try_from(stats.num_ooms).unwrap_or(0),
    };
    if headroom.spare < margin {
        return Err(HeadroomError::TooLittle { headroom: Box::new(headroom) });
    }
    Ok(headroom)
}

/// What there is for the allocator, now.
pub(crate) struct Room {
    total: Bytes,
    outside: Bytes,
    /// Bytes that the allocator can have in all.
    pub(crate) capacity: Bytes,
}

impl Room {
    pub(crate) fn of<D: Device>(allocator: &CachingAllocator<D>) -> Result<Self, DeviceError> {
        let info = allocator.device().info()?;
        let held = u64::try_from(allocator.stats().reserved_bytes.all.current).unwrap_or(0);
        let outside = info.total.saturating_sub(info.free).saturating_sub(Bytes::new(held));
        let limit = allocator.limit().unwrap_or(Bytes::MAX);
        let capacity = info.total.saturating_sub(outside).min(limit);
        Ok(Self { total: info.total, outside, capacity })
    }
}
