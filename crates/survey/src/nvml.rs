//! Asks NVML, NVIDIA's management library, which comes with the driver.
//!
//! Every query may fail by itself; then its figure is `None`. What a failure says about the device
//! ("lost", "needs a reset") is kept as a [`Fault`].

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;

use freeboard_units::Bytes;
use nvml_wrapper::enum_wrappers::device as wrapped;
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id;
use nvml_wrapper::{Device, Nvml, cuda_driver_version_major, cuda_driver_version_minor};

use crate::error::SurveyError;
use crate::process;
use crate::report::{
    ComputeMode, DeviceReport, Ecc, ErrorCounts, Fault, Health, MemoryUse, Mig, MigInstance,
    ProcessUse, Recovery, RemappedRows, RetiredPages, Survey, Utilisation,
};
use crate::source::Inner;
use crate::verdict::judge;

/// Names the library; empty for none.
const LIBRARY: &str = "FREEBOARD_NVML_LIBRARY";
/// Where it is on Linux, and on Linux under Windows.
const LIBRARIES: [&str; 3] =
    ["libnvidia-ml.so.1", "libnvidia-ml.so", "/usr/lib/wsl/lib/libnvidia-ml.so.1"];
/// More instances than any device can be cut into.
const INSTANCES_MAX: u32 = 64;

/// Loads and starts NVML.
pub(crate) fn open() -> Result<Inner, SurveyError> {
    let Some(named) = env::var_os(LIBRARY) else {
        let mut first = None;
        for library in LIBRARIES {
            match start(library.as_ref()) {
                Err(NvmlError::LibloadingError(error)) => first = first.or(Some(error.to_string())),
                answer => return absence(answer),
            }
        }
        return Ok(Inner::Absent(no_library(&first.unwrap_or_default())));
    };
    if named.is_empty() {
        return Ok(Inner::Absent(no_library(&format!("{LIBRARY} is empty"))));
    }
    match start(&named) {
        Err(error @ (NvmlError::LibloadingError(_) | NvmlError::FailedToLoadSymbol(_))) => {
            let (path, reason) = (named.display().to_string(), error.to_string());
            Err(SurveyError::Library { variable: LIBRARY, path, reason })
        }
        answer => absence(answer),
    }
}

fn start(library: &OsStr) -> Result<Nvml, NvmlError> {
    Nvml::builder().lib_path(library).init()
}

/// Tells a machine where there is nothing to ask from a failure.
fn absence(answer: Result<Nvml, NvmlError>) -> Result<Inner, SurveyError> {
    let error = match answer {
        Ok(nvml) => return Ok(Inner::Nvml(Box::new(nvml))),
        Err(error) => error,
    };
    Ok(Inner::Absent(match error {
        NvmlError::DriverNotLoaded | NvmlError::LibraryNotFound => Survey::absent(
            "the NVIDIA driver is not loaded",
            "where this machine has an NVIDIA GPU ('lspci | grep -i nvidia'): 'sudo modprobe \
             nvidia', look for 'NVRM' in 'sudo dmesg', and install the driver again if that fails",
        ),
        NvmlError::LibRmVersionMismatch => Survey::absent(
            format!(
                "the driver's library and its kernel module{} are of different versions",
                kernel_module().map_or_else(String::new, |version| format!(" ({version})"))
            ),
            "the driver was updated while in use: reboot; in a container, start it anew so that \
             it gets the host's library",
        ),
        NvmlError::NoPermission | NvmlError::OperatingSystem => Survey::absent(
            "this user may not talk to the NVIDIA driver",
            "check who may read and write /dev/nvidia*; in a container, pass the GPUs in \
             ('--gpus all')",
        ),
        NvmlError::GpuLost => Survey::absent(
            "the driver answers that a GPU is lost",
            "look for 'Xid' in 'sudo dmesg' and reboot the machine",
        ),
        error => return Err(failure(&error)),
    }))
}

fn failure(error: &NvmlError) -> SurveyError {
    SurveyError::Nvml { reason: error.to_string() }
}

/// The library of the driver cannot be loaded.
fn no_library(why: &str) -> Survey {
    match kernel_module() {
        Some(version) => Survey::absent(
            format!("the NVIDIA driver {version} is loaded, but not its library NVML: {why}"),
            "install libnvidia-ml.so.1 of the same version (package libnvidia-compute or \
             nvidia-utils); in a container, start it with '--gpus all' and \
             NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        ),
        None => Survey::absent(
            format!("no NVIDIA driver found: {why}"),
            "where this machine has an NVIDIA GPU, install NVIDIA's driver (it brings \
             libnvidia-ml.so.1); in a container, start it with '--gpus all'; the \
             host and simulated devices work without",
        ),
    }
}

/// The version of the loaded kernel module.
fn kernel_module() -> Option<String> {
    let version = fs::read_to_string("/sys/module/nvidia/version").ok()?;
    Some(version.trim().to_owned())
}

/// Asks for everything.
pub(crate) fn survey(nvml: &Nvml) -> Result<Survey, SurveyError> {
    let count = nvml.device_count().map_err(|error| failure(&error))?;
    let nothing = (count == 0).then(|| {
        Survey::absent(
            "the NVIDIA driver runs but has no GPU",
            "in a container, start it with '--gpus all'; otherwise look for the GPU with \
             'lspci | grep -i nvidia' and for 'NVRM' in 'sudo dmesg'",
        )
    });
    let cuda = nvml.sys_cuda_driver_version().ok().map(|version| {
        format!("{}.{}", cuda_driver_version_major(version), cuda_driver_version_minor(version))
    });
    Ok(Survey {
        driver_version: nvml.sys_driver_version().ok(),
        cuda_version: cuda,
        devices: (0..count).map(|index| report(nvml, index)).collect(),
        ..nothing.unwrap_or_default()
    })
}

fn report(nvml: &Nvml, index: u32) -> DeviceReport {
    let mut report = match nvml.device_by_index(index) {
        Ok(device) => Asked { device, faults: BTreeSet::new() }.report(),
        Err(error) => DeviceReport { faults: [refusal(&error)].into(), ..Default::default() },
    };
    report.index = index;
    judge(&mut report);
    report
}

/// What it means that a device cannot even be opened.
fn refusal(error: &NvmlError) -> Fault {
    match error {
        NvmlError::NoPermission => Fault::NoPermission,
        NvmlError::OperatingSystem => Fault::Blocked,
        NvmlError::InsufficientPower => Fault::InsufficientPower,
        error => fault(error).unwrap_or_else(|| Fault::Other(error.to_string())),
    }
}

/// What it means for the device that a query failed; mostly nothing.
fn fault(error: &NvmlError) -> Option<Fault> {
    match error {
        NvmlError::GpuLost => Some(Fault::Lost),
        NvmlError::ResetRequired => Some(Fault::ResetRequired),
        NvmlError::IrqIssue => Some(Fault::Interrupts),
        NvmlError::CorruptedInfoROM => Some(Fault::InfoRom),
        _ => None,
    }
}

/// A device that is asked, and what its refusals say.
struct Asked<'nvml> {
    device: Device<'nvml>,
    faults: BTreeSet<Fault>,
}

impl<'nvml> Asked<'nvml> {
    fn ask<T>(&mut self, query: impl FnOnce(&Device<'nvml>) -> Result<T, NvmlError>) -> Option<T> {
        query(&self.device).map_err(|error| self.faults.extend(fault(&error))).ok()
    }

    fn report(mut self) -> DeviceReport {
        let processes = self.processes();
        let mut memory = self.memory();
        if let (Some(memory), Some(processes)) = (&mut memory, &processes) {
            memory.divide(processes);
        }
        let capability = self.ask(Device::cuda_compute_capability);
        let utilisation = self.ask(Device::utilization_rates);
        DeviceReport {
            name: self.ask(Device::name),
            uuid: self.ask(Device::uuid),
            pci: self.ask(Device::pci_info).map(|pci| pci.bus_id),
            compute_capability: capability.map(|it| format!("{}.{}", it.major, it.minor)),
            memory,
            processes,
            utilisation: utilisation.map(|rates| Utilisation {
                compute_percent: rates.gpu,
                memory_percent: rates.memory,
            }),
            compute_mode: self.ask(Device::compute_mode).map(|mode| match mode {
                wrapped::ComputeMode::Default => ComputeMode::Default,
                wrapped::ComputeMode::ExclusiveThread => ComputeMode::ExclusiveThread,
                wrapped::ComputeMode::ExclusiveProcess => ComputeMode::ExclusiveProcess,
                wrapped::ComputeMode::Prohibited => ComputeMode::Prohibited,
            }),
            persistence: self.ask(Device::is_in_persistent_mode),
            mig: self.mig(),
            health: self.health(),
            // Last: by now every refusal has been heard.
            faults: self.faults,
            ..DeviceReport::default()
        }
    }

    fn memory(&mut self) -> Option<MemoryUse> {
        let memory = self.ask(Device::memory_info)?;
        Some(MemoryUse {
            total: Bytes::new(memory.total),
            free: Bytes::new(memory.free),
            used: Bytes::new(memory.used),
            reserved_by_driver: Bytes::new(memory.reserved),
            used_by_user: None,
            used_by_others: None,
            unaccounted: None,
        })
    }

    /// `None` where not even the list of computing processes is to be had.
    fn processes(&mut self) -> Option<Vec<ProcessUse>> {
        let mut all = self.ask(Device::running_compute_processes)?;
        all.extend(self.ask(Device::running_graphics_processes).unwrap_or_default());
        all.extend(self.ask(Device::mps_running_compute_processes).unwrap_or_default());
        Some(process::merge(&all))
    }

    fn mig(&mut self) -> Option<Mig> {
        let mode = self.ask(Device::mig_mode)?;
        let mut instances = None;
        if mode.current != 0 {
            let count = self.ask(Device::mig_device_count);
            instances = count.map(|count| {
                let all = 0..count.min(INSTANCES_MAX);
                all.filter_map(|index| self.ask(|device| instance(device, index))).collect()
            });
        }
        Some(Mig { enabled: mode.current != 0, pending: mode.pending != 0, instances })
    }

    fn health(&mut self) -> Health {
        let ecc = self.ask(Device::is_ecc_enabled);
        let [cor, unc, pending, failure, single, double, retiring, action] = self.fields([
            field_id::NVML_FI_DEV_REMAPPED_COR,
            field_id::NVML_FI_DEV_REMAPPED_UNC,
            field_id::NVML_FI_DEV_REMAPPED_PENDING,
            field_id::NVML_FI_DEV_REMAPPED_FAILURE,
            field_id::NVML_FI_DEV_RETIRED_SBE,
            field_id::NVML_FI_DEV_RETIRED_DBE,
            field_id::NVML_FI_DEV_RETIRED_PENDING,
            field_id::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION,
        ]);
        let is_set = |value: Option<u64>| value.map(|value| value != 0);
        Health {
            ecc: ecc
                .map(|ecc| Ecc { enabled: ecc.currently_enabled, pending: ecc.pending_enabled }),
            volatile_errors: self.errors(wrapped::EccCounter::Volatile),
            aggregate_errors: self.errors(wrapped::EccCounter::Aggregate),
            remapped_rows: RemappedRows {
                corrected: cor,
                uncorrected: unc,
                pending: is_set(pending),
                failure: is_set(failure),
            },
            retired_pages: RetiredPages {
                single_bit: single,
                double_bit: double,
                pending: is_set(retiring),
            },
            recovery_action: action.map(recovery),
        }
    }

    fn errors(&mut self, since: wrapped::EccCounter) -> ErrorCounts {
        let mut count =
            |kind: wrapped::MemoryError| self.ask(|device| device.total_ecc_errors(kind, since));
        ErrorCounts {
            corrected: count(wrapped::MemoryError::Corrected),
            uncorrected: count(wrapped::MemoryError::Uncorrected),
        }
    }

    /// Figures that have a number in place of a function of their own.
    fn fields<const N: usize>(&mut self, ids: [u32; N]) -> [Option<u64>; N] {
        let samples = self.ask(|device| device.field_values_for(&ids.map(FieldId)));
        let mut samples = samples.unwrap_or_default().into_iter();
        ids.map(|_| match samples.next()?.ok()?.value {
            Ok(SampleValue::U32(value)) => Some(value.into()),
            Ok(SampleValue::U64(value)) => Some(value),
            Ok(SampleValue::I64(value)) => u64::try_from(value).ok(),
            Ok(SampleValue::F64(_)) => None,
            Err(error) => {
                self.faults.extend(fault(&error));
                None
            }
        })
    }
}

fn instance(device: &Device, index: u32) -> Result<MigInstance, NvmlError> {
    let instance = device.mig_device_by_index(index)?;
    let memory = instance.memory_info().ok();
    Ok(MigInstance {
        uuid: instance.uuid().ok(),
        total: memory.as_ref().map(|memory| Bytes::new(memory.total)),
        free: memory.as_ref().map(|memory| Bytes::new(memory.free)),
    })
}

/// The numbers of NVML's `nvmlDeviceGpuRecoveryAction_t`.
fn recovery(action: u64) -> Recovery {
    match action {
        0 => Recovery::None,
        1 => Recovery::GpuReset,
        2 => Recovery::NodeReboot,
        3 => Recovery::DrainP2p,
        4 => Recovery::DrainAndReset,
        _ => Recovery::Unknown,
    }
}
