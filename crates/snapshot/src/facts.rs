//! [`Facts`]: what is known about one request that failed, wherever it was learned.

use freeboard_units::{Bytes, DeviceId, StreamId};
use serde::{Deserialize, Serialize};

/// What is known about a request that failed. `None` is not known, which is not zero.
///
/// A live allocator and a snapshot know nearly all of it; a log message knows a few numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Facts {
    /// The device.
    pub device: Option<DeviceId>,
    /// The stream the request was made on.
    pub stream: Option<StreamId>,
    /// Bytes asked for.
    pub requested: Option<Bytes>,
    /// Bytes the device has.
    pub total: Option<Bytes>,
    /// Bytes free on the device.
    pub free: Option<Bytes>,
    /// The most bytes the allocator may hold.
    pub limit: Option<Bytes>,
    /// The part of the device that limit is.
    pub fraction: Option<f64>,
    /// Whether the request was refused before the device was asked.
    pub refused_early: bool,
    /// Bytes this process uses on the device, the context and other libraries included.
    pub process: Option<Bytes>,
    /// Other processes on the device.
    pub others: Vec<ProcessUse>,
    /// Bytes the allocator holds.
    pub reserved: Option<Bytes>,
    /// Bytes in blocks handed out.
    pub allocated: Option<Bytes>,
    /// Bytes as asked for in those blocks, before rounding.
    pub asked: Option<Bytes>,
    /// Bytes given back that other streams still use.
    pub pending: Option<Bytes>,
    /// Free bytes held for the request's own stream in the shared pools.
    pub free_own: Option<Bytes>,
    /// The largest block of those.
    pub largest_own: Option<Bytes>,
    /// Free bytes held for other streams in the shared pools.
    pub free_other_streams: Option<Bytes>,
    /// Bytes that private pools hold (in use or not).
    pub private: Option<Bytes>,
    /// Free bytes among those.
    pub free_private: Option<Bytes>,
    /// Whether segments are expandable.
    pub expandable: Option<bool>,
    /// The settings in force, as in `PYTORCH_ALLOC_CONF`.
    pub settings: Option<String>,
    /// Who holds most, largest first.
    pub holders: Vec<Holder>,
}

/// A process on the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessUse {
    /// Its number, if it was told.
    pub pid: Option<u32>,
    /// Bytes it uses.
    pub bytes: Bytes,
}

/// Live blocks that belong together: by tag, or by the line that asked for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The tag, or the place in the program.
    pub name: String,
    /// Bytes of its blocks.
    pub bytes: Bytes,
    /// How many blocks.
    pub blocks: u64,
}
