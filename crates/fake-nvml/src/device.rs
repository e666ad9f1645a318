//! What a made-up device answers.

use nvml_wrapper_sys::bindings as nvml;

/// A code of `nvmlReturn_t`.
pub(crate) type Code = nvml::nvmlReturn_t;

/// An entry of a list of processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) used: u64,
}

/// A device; `None` means that it does not support the question.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// What opening it answers.
    pub(crate) opening: Code,
    /// What every question answers, where that is not success.
    pub(crate) answers: Code,
    /// Total, reserved and free bytes.
    pub(crate) memory: Option<[u64; 3]>,
    pub(crate) computing: Option<Vec<Process>>,
    pub(crate) drawing: Option<Vec<Process>>,
    /// Percent of time: computing, memory.
    pub(crate) busy: Option<[u32; 2]>,
    /// Now, and after a reset.
    pub(crate) ecc: Option<[u32; 2]>,
    /// Volatile (corrected, not), aggregate (corrected, not).
    pub(crate) errors: Option<[[u64; 2]; 2]>,
    /// Corrected, uncorrected, pending, failure.
    pub(crate) remapped: Option<[u32; 4]>,
    /// Single-bit, double-bit, pending.
    pub(crate) retired: Option<[u32; 3]>,
    pub(crate) recovery: Option<u32>,
    /// Now, and after a reset.
    pub(crate) mig: Option<[u32; 2]>,
    /// How many devices it is cut into.
    pub(crate) instances: u32,
    pub(crate) persistence: Option<u32>,
    pub(crate) compute_mode: Option<u32>,
}

impl Device {
    /// A device that knows its name and no more.
    pub(crate) fn reticent() -> Self {
        Self {
            opening: nvml::nvmlReturn_enum_NVML_SUCCESS,
            answers: nvml::nvmlReturn_enum_NVML_SUCCESS,
            memory: None,
            computing: None,
            drawing: None,
            busy: None,
            ecc: None,
            errors: None,
            remapped: None,
            retired: None,
            recovery: None,
            mig: None,
            instances: 0,
            persistence: None,
            compute_mode: None,
        }
    }

    /// A sound H200 that nobody uses.
    pub(crate) fn healthy() -> Self {
        Self {
            memory: Some([141 << 30, 1 << 30, 140 << 30]),
            computing: Some(Vec::new()),
            drawing: Some(Vec::new()),
            busy: Some([0, 0]),
            ecc: Some([1, 1]),
            errors: Some([[0, 0], [3, 0]]),
            remapped: Some([1, 0, 0, 0]),
            recovery: Some(0),
            mig: Some([0, 0]),
            persistence: Some(1),
            compute_mode: Some(0),
            ..Self::reticent()
        }
    }

    /// A field that has a number in place of a function.
    pub(crate) fn field(&self, id: u32) -> Option<u32> {
        use nvml::field_id as id;

        Some(match id {
            id::NVML_FI_DEV_REMAPPED_COR => self.remapped?[0],
            id::NVML_FI_DEV_REMAPPED_UNC => self.remapped?[1],
            id::NVML_FI_DEV_REMAPPED_PENDING => self.remapped?[2],
            id::NVML_FI_DEV_REMAPPED_FAILURE => self.remapped?[3],
            id::NVML_FI_DEV_RETIRED_SBE => self.retired?[0],
            id::NVML_FI_DEV_RETIRED_DBE => self.retired?[1],
            id::NVML_FI_DEV_RETIRED_PENDING => self.retired?[2],
            id::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION => self.recovery?,
            _ => return None,
        })
    }
}
