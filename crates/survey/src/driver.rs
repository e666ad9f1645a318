//! Asks the CUDA driver itself, where NVML is not there to ask: devices and their memory, but not
//! who holds it, nor its health.

use freeboard_device_cuda::{Driver, Report};
use freeboard_units::Bytes;

use crate::report::{DeviceReport, MemoryUse, Survey};
use crate::verdict::{blocks, judge, warns};

/// The devices that the driver shows; `absent`, which says why NVML does not, where it shows none.
pub(crate) fn survey(absent: Survey, may_start: bool) -> Survey {
    let found = Driver::get().and_then(|driver| freeboard_device_cuda::survey(driver, may_start));
    let Ok(found) = found else { return absent };
    if found.devices.is_empty() {
        return absent;
    }
    let devices = found.devices.into_iter().map(|report| device(report, &absent)).collect();
    Survey { cuda_version: Some(found.cuda), devices, ..Survey::default() }
}

fn device(report: Report, absent: &Survey) -> DeviceReport {
    let (major, minor) = report.compute_capability;
    let used = |free| MemoryUse {
        total: report.total,
        free,
        used: report.total.saturating_sub(free),
        reserved_by_driver: Bytes::ZERO,
        used_by_user: None,
        used_by_others: None,
        unaccounted: None,
    };
    let mut device = DeviceReport {
        index: report.ordinal,
        name: Some(report.name),
        uuid: Some(report.uuid),
        pci: Some(report.pci_bus),
        compute_capability: Some(format!("{major}.{minor}")),
        memory: report.free.map(used),
        ..DeviceReport::default()
    };
    judge(&mut device);
    if let Some(reason) = report.unusable {
        let advice = "see the reason; nvidia-smi tells more";
        device.problems.insert(0, blocks("unusable", reason, advice));
        device.usable = false;
    }
    let reason = absent.reason.as_deref().unwrap_or("NVML cannot be asked");
    let unknown = format!("who holds its memory and how healthy it is are not known: {reason}");
    device.problems.push(warns("no-nvml", unknown, absent.advice.clone().unwrap_or_default()));
    device
}
