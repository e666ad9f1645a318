//! [`Facts`]: what is known about one request that failed, wherever it was learned.

use std::fmt;

use freeboard_units::{Bytes, DeviceId, StreamId};
use serde::{Deserialize, Serialize};

use crate::diagnosis::Cause;

mod merge;
mod of_snapshot;
mod phase;
mod sums;

pub use sums::Sums;
pub(crate) use sums::{SMALL_SEGMENT, segment_for};

/// What is known about a request that failed. `None` is not known, which is not zero.
///
/// A live allocator and a snapshot know nearly all of it; a log message knows a few numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a yes or no that a source tells")]
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
    /// Bytes given back long before, but free only once the request was failing: the allocator waited
    /// for other streams then.
    pub late: Option<Bytes>,
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
    /// The most bytes the allocator held at any earlier time.
    pub once_reserved: Option<Bytes>,
    /// Who holds most, largest first.
    pub holders: Vec<Holder>,
    /// Bytes of live blocks that were allocated since the last step ended: what a smaller batch
    /// makes smaller.
    pub transient: Option<Bytes>,
    /// Bytes that would have been live at the peak of the step that failed, waste left aside: an
    /// estimate, from the course of the step before it.
    #[serde(default)]
    pub step_needs: Option<Bytes>,
    /// When in the run it happened.
    pub phase: Option<Phase>,
    /// How memory grew over steps.
    pub growth: Option<Growth>,
    /// Whether all of this was measured at the moment of failure, as in a snapshot, so that what
    /// the numbers leave unexplained must be a limit that was not told.
    pub says_all: bool,
    /// Whether a Rust program ran out, under our allocator or on the bare driver, and not `PyTorch`:
    /// advice names what there is in Rust.
    pub by_freeboard: bool,
    /// Whether no failed request was recorded, and one is taken to have failed at this moment.
    pub assumes_failure: bool,
    /// What it was, where the source itself says that it was not the device's memory.
    pub elsewhere: Option<Cause>,
}

/// When in the run a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before anything was given back: the model was being loaded.
    Load,
    /// In the first step, the optimizer's first included.
    FirstStep,
    /// Later.
    MidRun {
        /// How many steps had been finished, or were seen to be.
        steps: u64,
    },
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load => f.write_str("before the first step, while loading"),
            Self::FirstStep => f.write_str("in the first step"),
            Self::MidRun { steps: 1 } => f.write_str("after one step or more"),
            Self::MidRun { steps } => write!(f, "after {steps} steps or more"),
        }
    }
}

/// How memory grew from step to step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    /// Over how many steps it was measured, first steps left aside.
    pub steps: u64,
    /// Whether the program marked no steps, and equal stretches of the history stand for them.
    #[serde(default)]
    pub are_stretches: bool,
    /// Bytes more per step.
    pub per_step: Bytes,
    /// Bytes more in all of them.
    pub total: Bytes,
    /// Bytes that have grown by the end: all that those who grew hold, where the history began late,
    /// else what the steps added.
    pub held: Bytes,
    /// Who grew, in nearly every step to the end: bytes per step, largest first.
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
