//! What is known about the devices of a machine: plain data, whoever gathered it.
//!
//! A field is `None` where the driver does not tell; the rest holds all the same.

use std::collections::BTreeSet;

use freeboard_units::Bytes;
use serde::Serialize;

use super::verdict::Problem;

/// All devices, or why there are none.
#[derive(Debug, Default, Serialize)]
pub(super) struct Survey {
    pub(super) driver_version: Option<String>,
    /// The newest CUDA the driver supports, like "12.9".
    pub(super) cuda_version: Option<String>,
    pub(super) devices: Vec<DeviceReport>,
    /// Why there are no devices.
    pub(super) reason: Option<String>,
    /// What to do about it.
    pub(super) advice: Option<String>,
}

impl Survey {
    /// No device, for this reason.
    pub(super) fn absent(reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), advice: Some(advice.into()), ..Self::default() }
    }
}

/// One device.
#[derive(Debug, Default, Serialize)]
pub(super) struct DeviceReport {
    /// Its number in `nvidia-smi`; CUDA may count in another order, the UUID is the same.
    pub(super) index: u32,
    pub(super) name: Option<String>,
    pub(super) uuid: Option<String>,
    pub(super) pci: Option<String>,
    /// Like "9.0".
    pub(super) compute_capability: Option<String>,
    /// Whether a training run can use it now.
    pub(super) usable: bool,
    /// What keeps it from being used, and what should be seen to.
    pub(super) problems: Vec<Problem>,
    pub(super) memory: Option<MemoryUse>,
    pub(super) processes: Option<Vec<ProcessUse>>,
    pub(super) utilisation: Option<Utilisation>,
    pub(super) compute_mode: Option<ComputeMode>,
    pub(super) persistence: Option<bool>,
    pub(super) mig: Option<Mig>,
    pub(super) health: Health,
    /// What the driver answered in place of figures; told in `problems`.
    #[serde(skip)]
    pub(super) faults: BTreeSet<Fault>,
}

/// Who holds how much of a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct MemoryUse {
    pub(super) total: Bytes,
    pub(super) free: Bytes,
    /// Without what the driver holds for itself.
    pub(super) used: Bytes,
    pub(super) reserved_by_driver: Bytes,
    pub(super) used_by_user: Option<Bytes>,
    pub(super) used_by_others: Option<Bytes>,
    /// Used, but by no process that can be seen from here.
    pub(super) unaccounted: Option<Bytes>,
}

impl MemoryUse {
    /// Divides what is used among the processes.
    pub(super) fn divide(&mut self, processes: &[ProcessUse]) {
        let of = |user| {
            let theirs = processes.iter().filter(|process| process.is_users == user);
            theirs.filter_map(|process| process.used).fold(Bytes::ZERO, Bytes::saturating_add)
        };
        let (user, others) = (of(true), of(false));
        self.used_by_user = Some(user);
        self.used_by_others = Some(others);
        self.unaccounted = Some(self.used.saturating_sub(user).saturating_sub(others));
    }
}

/// A process that uses a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ProcessUse {
    pub(super) pid: u32,
    /// As in `/proc`; `None` where the process cannot be seen from here.
    pub(super) name: Option<String>,
    /// Whether it belongs to the user who asks.
    pub(super) is_users: bool,
    pub(super) used: Option<Bytes>,
}

/// Percent of the time of the driver's last sample.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Utilisation {
    pub(super) compute_percent: u32,
    pub(super) memory_percent: u32,
}

/// Who may use the device for computing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ComputeMode {
    Default,
    ExclusiveThread,
    ExclusiveProcess,
    Prohibited,
}

/// A device cut in several.
#[derive(Debug, Serialize)]
pub(super) struct Mig {
    pub(super) enabled: bool,
    /// What holds after the next reset.
    pub(super) pending: bool,
    pub(super) instances: Option<Vec<MigInstance>>,
}

/// One of the devices a device was cut into.
#[derive(Debug, Serialize)]
pub(super) struct MigInstance {
    pub(super) uuid: Option<String>,
    pub(super) total: Option<Bytes>,
    pub(super) free: Option<Bytes>,
}

/// The state of the device's memory.
#[derive(Debug, Default, Serialize)]
pub(super) struct Health {
    pub(super) ecc: Option<Ecc>,
    /// Errors since the driver was loaded.
    pub(super) volatile_errors: ErrorCounts,
    /// Errors over the device's life.
    pub(super) aggregate_errors: ErrorCounts,
    pub(super) remapped_rows: RemappedRows,
    pub(super) retired_pages: RetiredPages,
    /// What the driver wants done.
    pub(super) recovery_action: Option<Recovery>,
}

/// Whether memory errors are corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Ecc {
    pub(super) enabled: bool,
    /// What holds after the next reset.
    pub(super) pending: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct ErrorCounts {
    pub(super) corrected: Option<u64>,
    pub(super) uncorrected: Option<u64>,
}

/// Rows of memory replaced by spare ones (Ampere and later).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct RemappedRows {
    pub(super) corrected: Option<u64>,
    pub(super) uncorrected: Option<u64>,
    pub(super) pending: Option<bool>,
    pub(super) failure: Option<bool>,
}

/// Pages of memory no longer used (before Ampere).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct RetiredPages {
    pub(super) single_bit: Option<u64>,
    pub(super) double_bit: Option<u64>,
    pub(super) pending: Option<bool>,
}

/// What the driver wants done with the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Recovery {
    None,
    GpuReset,
    NodeReboot,
    DrainP2p,
    DrainAndReset,
    /// Something newer than this program.
    Unknown,
}

/// What the driver answered in place of figures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Lost,
    ResetRequired,
    NoPermission,
    Blocked,
    InsufficientPower,
    Interrupts,
    InfoRom,
    /// Anything else, in the driver's words.
    Other(String),
}
