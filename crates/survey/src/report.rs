//! What is known about the devices of a machine: plain data, whoever gathered it.
//!
//! A field is `None` where the driver does not tell; the rest holds all the same.

use std::collections::BTreeSet;

use freeboard_units::Bytes;
use serde::{Deserialize, Serialize};

use crate::verdict::Problem;

/// All devices, or why there are none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Survey {
    /// The version of the driver.
    pub driver_version: Option<String>,
    /// The newest CUDA the driver supports, like "12.9".
    pub cuda_version: Option<String>,
    /// The devices, by number.
    pub devices: Vec<DeviceReport>,
    /// Why there are no devices.
    pub reason: Option<String>,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Survey {
    /// No device, for this reason.
    pub(crate) fn absent(reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), advice: Some(advice.into()), ..Self::default() }
    }
}

/// One device.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeviceReport {
    /// Its number in `nvidia-smi`; CUDA may count in another order, the UUID is the same.
    pub index: u32,
    /// What it is called.
    pub name: Option<String>,
    /// Its lasting name.
    pub uuid: Option<String>,
    /// Where it is plugged in.
    pub pci: Option<String>,
    /// Like "9.0".
    pub compute_capability: Option<String>,
    /// Whether a training run can use it now.
    pub usable: bool,
    /// What keeps it from being used, and what should be seen to.
    pub problems: Vec<Problem>,
    /// Its memory.
    pub memory: Option<MemoryUse>,
    /// Who uses it, the largest first.
    pub processes: Option<Vec<ProcessUse>>,
    /// How busy it is.
    pub utilisation: Option<Utilisation>,
    /// Who may use it for computing.
    pub compute_mode: Option<ComputeMode>,
    /// Whether the driver keeps it started while nobody uses it.
    pub persistence: Option<bool>,
    /// Whether it is cut in several.
    pub mig: Option<Mig>,
    /// The state of its memory.
    pub health: Health,
    /// What the driver answered in place of figures; told in `problems`.
    #[serde(skip)]
    pub faults: BTreeSet<Fault>,
}

/// Who holds how much of a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// Bytes it has.
    pub total: Bytes,
    /// Bytes that nobody holds.
    pub free: Bytes,
    /// Without what the driver holds for itself.
    pub used: Bytes,
    /// What the driver holds for itself.
    pub reserved_by_driver: Bytes,
    /// Used by processes of the user who asks.
    pub used_by_user: Option<Bytes>,
    /// Used by processes of others.
    pub used_by_others: Option<Bytes>,
    /// Used, but by no process that can be seen from here.
    pub unaccounted: Option<Bytes>,
}

impl MemoryUse {
    /// Divides what is used among the processes.
    pub(crate) fn divide(&mut self, processes: &[ProcessUse]) {
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessUse {
    /// Its number.
    pub pid: u32,
    /// As in `/proc`; `None` where the process cannot be seen from here.
    pub name: Option<String>,
    /// Whether it belongs to the user who asks.
    pub is_users: bool,
    /// Bytes it uses of the device.
    pub used: Option<Bytes>,
}

/// Percent of the time of the driver's last sample.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Utilisation {
    /// Time in which a kernel ran.
    pub compute_percent: u32,
    /// Time in which memory was read or written.
    pub memory_percent: u32,
}

/// Who may use the device for computing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComputeMode {
    /// Anybody.
    Default,
    /// One thread at a time.
    ExclusiveThread,
    /// One process at a time.
    ExclusiveProcess,
    /// Nobody.
    Prohibited,
}

/// A device cut in several.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mig {
    /// Whether that holds now.
    pub enabled: bool,
    /// What holds after the next reset.
    pub pending: bool,
    /// The devices it is cut into.
    pub instances: Option<Vec<MigInstance>>,
}

/// One of the devices a device was cut into.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MigInstance {
    /// Its lasting name.
    pub uuid: Option<String>,
    /// Bytes it has.
    pub total: Option<Bytes>,
    /// Bytes that nobody holds.
    pub free: Option<Bytes>,
}

/// The state of the device's memory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Health {
    /// Whether its memory errors are corrected.
    pub ecc: Option<Ecc>,
    /// Errors since the driver was loaded.
    pub volatile_errors: ErrorCounts,
    /// Errors over the device's life.
    pub aggregate_errors: ErrorCounts,
    /// Rows replaced by spare ones.
    pub remapped_rows: RemappedRows,
    /// Pages no longer used.
    pub retired_pages: RetiredPages,
    /// What the driver wants done.
    pub recovery_action: Option<Recovery>,
}

/// Whether memory errors are corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ecc {
    /// Whether that holds now.
    pub enabled: bool,
    /// What holds after the next reset.
    pub pending: bool,
}

/// Memory errors, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCounts {
    /// Errors that were corrected.
    pub corrected: Option<u64>,
    /// Errors that were not.
    pub uncorrected: Option<u64>,
}

/// Rows of memory replaced by spare ones (Ampere and later).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemappedRows {
    /// Rows replaced for errors that were corrected.
    pub corrected: Option<u64>,
    /// Rows replaced for errors that were not.
    pub uncorrected: Option<u64>,
    /// Whether more wait for a reset.
    pub pending: Option<bool>,
    /// Whether a row could not be replaced.
    pub failure: Option<bool>,
}

/// Pages of memory no longer used (before Ampere).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredPages {
    /// Pages retired for errors of one bit.
    pub single_bit: Option<u64>,
    /// Pages retired for errors of two bits.
    pub double_bit: Option<u64>,
    /// Whether more wait for a reset.
    pub pending: Option<bool>,
}

/// What the driver wants done with the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recovery {
    /// Nothing.
    None,
    /// A reset of the device.
    GpuReset,
    /// A reboot of the machine.
    NodeReboot,
    /// An end of all traffic between devices.
    DrainP2p,
    /// An end of all work, and then a reset.
    DrainAndReset,
    /// Something newer than this program.
    Unknown,
}

/// What the driver answered in place of figures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It fell off the bus or hangs.
    Lost,
    /// It wants a reset.
    ResetRequired,
    /// This user may not open it.
    NoPermission,
    /// The operating system keeps it from this process.
    Blocked,
    /// Its power cables are not properly attached.
    InsufficientPower,
    /// The kernel sees an interrupt problem.
    Interrupts,
    /// Its configuration memory is damaged.
    InfoRom,
    /// Anything else, in the driver's words.
    Other(String),
}
