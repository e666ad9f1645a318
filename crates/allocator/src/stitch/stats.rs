//! [`Stitching`]: what stitching has done and what it holds.

use freeboard_device::Device;
use freeboard_units::Bytes;
use serde::{Deserialize, Serialize};

use super::Stitch;
use super::mappings::Physical;
use crate::state::State;

/// What stitching has done so far, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stitching {
    /// Handles held now.
    pub handles: u64,
    /// Places they are mapped at now.
    pub mappings: u64,
    /// Bytes of addresses whose memory is in use at another address now.
    pub asleep_bytes: Bytes,
    /// Bytes of addresses reserved now.
    pub address_bytes: Bytes,
    /// Calls of `cuMemCreate` that succeeded.
    pub created: u64,
    /// Handles given back.
    pub released: u64,
    /// Calls of `cuMemMap` that succeeded.
    pub map_calls: u64,
    /// Calls of `cuMemUnmap` that succeeded.
    pub unmap_calls: u64,
    /// Calls of `cuMemSetAccess` that succeeded.
    pub access_calls: u64,
    /// How long all these calls kept the host, in nanoseconds.
    pub driver_time_ns: u64,
    /// Requests that extended a frontier.
    pub extensions: u64,
    /// Those of them that were served from whole free handles, in part or wholly.
    pub stitches: u64,
    /// Bytes of those handles: what would have been taken from the device instead.
    pub stitched_bytes: Bytes,
    /// Requests served by waking handles where they were mapped already: without a driver call.
    pub windows: u64,
    /// Bytes of those handles.
    pub woken_bytes: Bytes,
    /// Handles made anew as smaller ones near the limit.
    pub divided: u64,
    /// Times a stream waited, on the device, for memory that another one had freed.
    pub stream_waits: u64,
    /// Times a stream waited, on the device, for a pending block at the limit.
    pub pending_waits: u64,
    /// Times the host waited for all streams, because they were so far behind that mappings had grown
    /// to twice their budget.
    pub host_waits: u64,
}

impl Stitch {
    /// Host memory that the books of handles and slots take, about.
    pub(crate) fn bytes(&self) -> usize {
        // A slot is an entry of an ordered map and one of its handle's list.
        self.mappings.numbers() * size_of::<Physical>() + self.mappings.mapped() * 48
    }
}

impl<D: Device> State<D> {
    /// What stitching has done and holds.
    pub(crate) fn stitching(&self) -> Stitching {
        let mappings = &self.stitch.mappings;
        let ranges = self.stitch.arenas.iter().flat_map(|arena| &arena.ranges);
        Stitching {
            handles: mappings.handles() as u64,
            mappings: mappings.mapped() as u64,
            asleep_bytes: mappings.asleep_bytes(),
            address_bytes: ranges.map(|range| range.size()).sum(),
            ..self.stitch.counts
        }
    }
}
