//! The machines there are to choose from.

use std::env;
use std::sync::OnceLock;

use nvml_wrapper_sys::bindings as nvml;

use crate::device::{Code, Device, Process};

const OK: Code = nvml::nvmlReturn_enum_NVML_SUCCESS;
/// No Linux process has so high a number.
const NOBODY: u32 = 4_999_999;

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    /// What starting NVML answers.
    pub(crate) start: Code,
    pub(crate) devices: Vec<Device>,
}

/// The machine that the environment names; one with nothing where it names none of these.
pub(crate) fn machine() -> &'static Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let number = |name| env::var(name).ok().and_then(|text| text.parse().ok());
        let pid = number("FREEBOARD_FAKE_NVML_PID").unwrap_or(NOBODY);
        let name = env::var("FREEBOARD_FAKE_NVML").unwrap_or_default();
        let start = match name.as_str() {
            "driver-mismatch" => nvml::nvmlReturn_enum_NVML_ERROR_LIB_RM_VERSION_MISMATCH,
            "no-driver" => nvml::nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED,
            "no-permission" => nvml::nvmlReturn_enum_NVML_ERROR_NO_PERMISSION,
            "unknown-error" => nvml::nvmlReturn_enum_NVML_ERROR_UNKNOWN,
            "future-error" => 4242,
            _ => OK,
        };
        Machine { start, devices: devices(&name, pid) }
    })
}

fn devices(name: &str, pid: u32) -> Vec<Device> {
    let healthy = Device::healthy;
    match name {
        "healthy" => vec![in_use(pid), healthy()],
        "ecc" => vec![broken()],
        "reset" => vec![Device {
            remapped: Some([0, 2, 1, 0]),
            recovery: Some(1),
            ecc: Some([1, 0]),
            ..healthy()
        }],
        "lost" => vec![
            healthy(),
            Device { opening: nvml::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST, ..healthy() },
            Device { answers: nvml::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST, ..healthy() },
        ],
        "refused" => [
            nvml::nvmlReturn_enum_NVML_ERROR_NO_PERMISSION,
            nvml::nvmlReturn_enum_NVML_ERROR_OPERATING_SYSTEM,
            nvml::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_POWER,
            nvml::nvmlReturn_enum_NVML_ERROR_IRQ_ISSUE,
            nvml::nvmlReturn_enum_NVML_ERROR_RESET_REQUIRED,
            4242,
        ]
        .map(|opening| Device { opening, ..healthy() })
        .to_vec(),
        "exclusive" => vec![Device { compute_mode: Some(3), ..in_use(pid) }],
        "full" => vec![Device { memory: Some([141 << 30, 1 << 30, 100 << 20]), ..in_use(pid) }],
        "mig" => vec![
            Device { mig: Some([1, 1]), busy: None, ..healthy() },
            Device { mig: Some([1, 1]), busy: None, instances: 2, ..healthy() },
        ],
        "unsupported" => vec![Device::reticent()],
        "unheard-of" => {
            vec![Device {
                compute_mode: Some(77),
                recovery: Some(99),
                ecc: Some([9, 9]),
                ..healthy()
            }]
        }
        _ => Vec::new(),
    }
}

/// 40 GiB held by this process, half a GiB by one that cannot be seen, 1.5 by nobody on the list.
fn in_use(pid: u32) -> Device {
    let held = [Process { pid, used: 40 << 30 }, Process { pid: NOBODY - 1, used: 1 << 29 }];
    Device {
        memory: Some([141 << 30, 1 << 30, 98 << 30]),
        computing: Some(held.to_vec()),
        drawing: Some(held[..1].to_vec()),
        busy: Some([87, 40]),
        ..Device::healthy()
    }
}

/// Memory errors that neither correction nor spare rows could mend.
fn broken() -> Device {
    Device {
        errors: Some([[7, 2], [9, 4]]),
        remapped: Some([0, 8, 1, 1]),
        retired: Some([5, 6, 1]),
        recovery: Some(4),
        ..Device::healthy()
    }
}
