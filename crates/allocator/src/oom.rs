//! [`OutOfMemory`]: what the allocator knew when it had no memory for a request.

mod facts;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use freeboard_device::Device;
use freeboard_snapshot::{Diagnosis, Holder};
use freeboard_units::{Bytes, DeviceId, StreamId};
use serde::{Deserialize, Serialize};

use crate::block::BlockState;
use crate::error::Error;
use crate::free_list::FreeList;
use crate::policy::stitching::pages;
use crate::private::PoolId;
use crate::request::Request;
use crate::state::State;
use crate::stats::Class;
use crate::steady::Planning;
use crate::stitch::Stitching;

/// What a message says to do; a diagnosis has all of it.
const LEVERS_SHOWN: usize = 3;
/// Whom a message names as holders, where tags are known.
const HOLDERS_SHOWN: usize = 3;

/// The numbers behind an out-of-memory error, taken from the state at that moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutOfMemory {
    /// The device.
    pub device: DeviceId,
    /// The stream the request was made on.
    pub stream: StreamId,
    /// Bytes asked for.
    pub requested: Bytes,
    /// Bytes that would have been taken from the device.
    pub segment: Bytes,
    /// Bytes the device has; `None` where it could not tell.
    pub total: Option<Bytes>,
    /// Bytes free on the device.
    pub free: Option<Bytes>,
    /// The most bytes this allocator may hold, if there is a limit.
    pub limit: Option<Bytes>,
    /// The part of the device that limit is, if one was set.
    pub fraction: Option<f64>,
    /// Whether the request was refused before the device was asked (`throw_on_cudamalloc_oom`).
    pub refused_early: bool,
    /// Whether segments are expandable.
    pub expandable: bool,
    /// Bytes held from the device.
    pub reserved: Bytes,
    /// Bytes handed out.
    pub allocated: Bytes,
    /// Bytes asked for in the blocks handed out, before rounding.
    pub asked: Bytes,
    /// Bytes given back but still used by another stream.
    pub pending: Bytes,
    /// Bytes held and free.
    pub cached: Bytes,
    /// The largest free block of the request's own pool and stream.
    pub largest_free: Bytes,
    /// Where memory is stitched: what it came to.
    pub stitched: Option<Stitched>,
    /// Where the memory is, pool by pool and stream by stream; largest first.
    pub places: Vec<Place>,
    /// While history is recorded: the scopes that hold most, largest first, up to eight.
    pub holders: Vec<Holder>,
    /// The settings in force, as in `PYTORCH_ALLOC_CONF`.
    pub settings: String,
}

/// Free memory where it is stitched, at the moment of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stitched {
    /// Free bytes in whole handles, which serve anywhere.
    pub whole: Bytes,
    /// The most free bytes next to each other.
    pub longest: Bytes,
    /// The most that could be joined into one range: whole handles and the free bytes they are put
    /// behind.
    pub reach: Bytes,
    /// What stitching has done and holds.
    pub stitching: Stitching,
    /// What planning has done and holds.
    pub planning: Planning,
}

impl fmt::Display for Stitched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stitching, planning, .. } = self;
        write!(
            f,
            "{} are free in whole handles; {} handles at {} mappings, {} map and {} unmap calls in \
             {:.1} ms; {} stitched instead of taken from the device",
            self.whole,
            stitching.handles,
            stitching.mappings,
            stitching.map_calls,
            stitching.unmap_calls,
            Duration::from_nanos(stitching.driver_time_ns).as_secs_f64() * 1e3,
            stitching.stitched_bytes,
        )?;
        if planning.plans > 0 {
            let Planning { hits, misses, deviations, .. } = planning;
            write!(f, "; plan: {hits} hits, {misses} misses, {deviations} deviations")?;
        }
        Ok(())
    }
}

/// The blocks of one stream in one pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Place {
    /// The private pool, or `None` for the pools that all share.
    pub pool: Option<PoolId>,
    /// Whether it is a small pool (blocks up to 1 MiB).
    pub small: bool,
    /// The stream.
    pub stream: StreamId,
    /// Bytes handed out.
    pub allocated: Bytes,
    /// Bytes given back but still used by another stream.
    pub pending: Bytes,
    /// Bytes free.
    pub free: Bytes,
    /// The largest free block.
    pub largest_free: Bytes,
}

impl Place {
    fn held(&self) -> Bytes {
        self.allocated + self.pending + self.free
    }
}

/// `PyTorch`'s message where it says something, so that logs look familiar; then what it leaves out.
impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CUDA out of memory. Tried to allocate {}. ", self.requested)?;
        if let (Some(total), Some(free)) = (self.total, self.free) {
            write!(
                f,
                "GPU {} has a total capacity of {total} of which {free} is free. ",
                self.device.get()
            )?;
        }
        if let Some(limit) = self.limit {
            write!(f, "{limit} allowed; ")?;
        }
        write!(
            f,
            "{} is allocated, {} is reserved but unallocated",
            self.allocated,
            self.reserved.saturating_sub(self.allocated)
        )?;
        if !self.pending.is_zero() {
            write!(f, " ({} of it waits for other streams)", self.pending)?;
        }
        // Stitched, a stream may use what lies in any pool.
        let largest = self.stitched.map_or(self.largest_free, |stitched| stitched.longest);
        write!(f, "; the largest free block for {} has {largest}. ", self.stream)?;
        let diagnosis = self.diagnosis();
        f.write_str(&diagnosis.summary)?;
        for lever in diagnosis.levers.iter().take(LEVERS_SHOWN) {
            write!(f, "\n  fix: {lever}")?;
        }
        for Holder { name, bytes, blocks } in self.holders.iter().take(HOLDERS_SHOWN) {
            write!(f, "\n  held by {name}: {bytes} in {blocks} blocks")?;
        }
        if let Some(stitched) = &self.stitched {
            write!(f, "\n  {stitched}")?;
        }
        for place in &self.places {
            write!(f, "\n  {place}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pool {
            Some(pool) => write!(f, "{pool}, ")?,
            None => f.write_str("shared ")?,
        }
        let kind = if self.small { "small" } else { "large" };
        write!(f, "{kind} pool, {}: {} allocated", self.stream, self.allocated)?;
        if !self.pending.is_zero() {
            write!(f, ", {} pending", self.pending)?;
        }
        write!(f, ", {} free (largest {})", self.free, self.largest_free)
    }
}

impl OutOfMemory {
    /// The cause, with the numbers that show it and what to do, best first.
    #[must_use]
    pub fn diagnosis(&self) -> Diagnosis {
        Diagnosis::of(&self.facts())
    }
}

impl<D: Device> State<D> {
    /// The error for a request that no rung of the ladder served.
    #[cold]
    pub(crate) fn refuse(&mut self, request: &Request) -> Error {
        self.ledger.num_ooms += 1;
        self.report(request, false)
    }

    /// The error for a request turned away before the device was asked.
    #[cold]
    pub(crate) fn reject(&mut self, request: &Request) -> Error {
        self.ledger.num_oom_rejections += 1;
        self.report(request, true)
    }

    /// The error for a request beyond any device; nothing is computed with such a size.
    #[cold]
    pub(crate) fn absurd(&mut self, asked: Bytes, stream: StreamId) -> Error {
        let Some(stream) = self.streams.number(stream) else { return Error::TooManyStreams };
        let pool = Class::Large as u16;
        self.report(&Request { asked, size: asked, class: Class::Large, pool, stream }, false)
    }

    fn report(&mut self, request: &Request, refused_early: bool) -> Error {
        let info = self.device.info().ok();
        let places = self.places();
        let sum = |part: fn(&Place) -> Bytes| places.iter().map(part).sum::<Bytes>();
        let own = self.pools[usize::from(request.pool)].list(request.stream);
        let stitched = self.is_stitched(usize::from(request.pool)).then(|| self.stitched());
        let handed_out = self.blocks.iter().filter(|(_, block)| block.is_handed_out());
        let segment = match pages(request.size) {
            Some(pages) if stitched.is_some() => pages,
            Some(_) => request.segment_size(self.config.large_segment_size),
            None => request.size,
        };
        let report = OutOfMemory {
            device: self.device.id(),
            stream: self.streams.id(request.stream),
            requested: request.asked,
            segment,
            total: info.map(|info| info.total),
            free: info.map(|info| info.free),
            limit: self.limit.allowed,
            fraction: self.config.memory_fraction,
            refused_early,
            expandable: self.split.expandable,
            reserved: self.held,
            allocated: sum(|place| place.allocated),
            asked: handed_out.map(|(_, block)| block.requested).sum(),
            pending: sum(|place| place.pending),
            cached: sum(|place| place.free),
            largest_free: own
                .and_then(FreeList::largest)
                .map_or(Bytes::ZERO, |entry| entry.key.size),
            stitched,
            places,
            holders: self.holders(),
            settings: self.config.to_string(),
        };
        self.note_oom(request, report.free);
        tracing::warn!(requested = %report.requested, free = ?report.free, "out of memory");
        Error::OutOfMemory(Box::new(report))
    }

    /// Where the memory is; largest first.
    pub(crate) fn places(&self) -> Vec<Place> {
        let mut places: BTreeMap<(u16, u16), Place> = BTreeMap::new();
        for (_, block) in self.blocks.iter().filter(|(_, block)| block.is_mapped()) {
            let place = places.entry((block.pool, block.stream)).or_insert_with(|| {
                let pool = &self.pools[usize::from(block.pool)];
                Place {
                    pool: pool.owner.map(PoolId),
                    small: pool.class == Class::Small,
                    stream: self.streams.id(block.stream),
                    allocated: Bytes::ZERO,
                    pending: Bytes::ZERO,
                    free: Bytes::ZERO,
                    largest_free: Bytes::ZERO,
                }
            });
            match block.state {
                BlockState::Allocated | BlockState::Planned => place.allocated += block.size,
                BlockState::Pending => place.pending += block.size,
                BlockState::Plan => {}
                BlockState::Free | BlockState::Unmapped => {
                    place.free += block.size;
                    place.largest_free = place.largest_free.max(block.size);
                }
            }
        }
        let mut places: Vec<Place> = places.into_values().collect();
        places.sort_by_key(|place| std::cmp::Reverse(place.held()));
        places
    }
}
