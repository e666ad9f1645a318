//! [`survey`]: which devices there are, as plain data.

use std::ffi::{CStr, c_char};
use std::fmt::Write as _;

use freeboard_device::Memory;
use freeboard_units::Bytes;
use serde::{Deserialize, Serialize};

use crate::abi::attribute;
use crate::unavailable::Unavailable;
use crate::{CudaDevice, CudaOptions, Driver};

/// The driver and its devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// The driver library.
    pub library: String,
    /// The CUDA version the driver supports: "12.4".
    pub cuda: String,
    /// The devices, by ordinal.
    pub devices: Vec<Report>,
}

/// One device, as far as it tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its number, from 0.
    pub ordinal: u32,
    /// What it is called.
    pub name: String,
    /// The compute capability: (9, 0) for an H200.
    pub compute_capability: (i32, i32),
    /// Its lasting name, "GPU-" and 32 hexadecimal digits.
    pub uuid: String,
    /// Where it is plugged in.
    pub pci_bus: String,
    /// Its memory, in bytes.
    pub total: Bytes,
    /// What is free of it, in bytes; only where it was asked for, as that starts the device.
    pub free: Option<Bytes>,
    /// Whether pages can be mapped where one wants them, which [`CudaDevice`] needs.
    pub virtual_memory: bool,
    /// Whether the driver has memory pools (`cuMemAllocAsync`).
    pub memory_pools: bool,
    /// Whether memory can be given to other processes as file descriptors.
    pub exportable: bool,
    /// The unit of the virtual-memory calls, in bytes; only where `free` was asked for.
    pub granularity: Option<Bytes>,
    /// Why it cannot be used, in words with advice.
    pub unusable: Option<String>,
}

/// Asks the driver about every device. With `start`, each is started to see what is free, which
/// takes memory and a moment; a device that does not tell says why in its report.
///
/// ```
/// use freeboard_device_cuda::{Driver, survey};
///
/// match Driver::get() {
///     Ok(driver) => println!("{:#?}", survey(driver, false)?),
///     Err(reason) => println!("{reason}"), // says what to do about it
/// }
/// # Ok::<(), freeboard_device_cuda::Unavailable>(())
/// ```
///
/// # Errors
/// When the driver cannot say how many there are.
pub fn survey(driver: &'static Driver, start: bool) -> Result<Survey, Unavailable> {
    let count = ask_count(driver)?;
    let (major, minor) = (driver.version() / 1000, driver.version() % 1000 / 10);
    let devices = (0..count).map(|ordinal| {
        let mut report = Report { ordinal, ..Report::default() };
        let outcome = look(driver, &mut report)
            .and_then(|()| if start { measure(driver, &mut report) } else { Ok(()) });
        report.unusable = outcome.err().map(|reason| reason.to_string());
        report
    });
    Ok(Survey {
        library: driver.path().display().to_string(),
        cuda: format!("{major}.{minor}"),
        devices: devices.collect(),
    })
}

/// What can be told without a context.
fn look(driver: &Driver, report: &mut Report) -> Result<(), Unavailable> {
    let mut device = 0;
    // SAFETY: `device` may be written.
    let code = unsafe { (driver.device_get)(&raw mut device, report.ordinal.cast_signed()) };
    driver.start_up("cuDeviceGet", code)?;
    report.name = ask_name(driver, device)?;
    let ask = |number| ask_attribute(driver, device, number);
    report.compute_capability = (ask(attribute::MAJOR)?, ask(attribute::MINOR)?);
    report.virtual_memory = ask(attribute::VIRTUAL_MEMORY)? != 0;
    report.memory_pools = ask(attribute::MEMORY_POOLS)? != 0;
    report.exportable = ask(attribute::FILE_DESCRIPTORS)? != 0;
    report.pci_bus = ask_text("cuDeviceGetPCIBusId", driver, driver.device_bus_id, device)?;
    report.uuid = ask_uuid(driver, device)?;
    let mut total = 0;
    // SAFETY: `total` may be written.
    let code = unsafe { (driver.device_total)(&raw mut total, device) };
    driver.start_up("cuDeviceTotalMem", code)?;
    report.total = Bytes::new(total as u64);
    if report.virtual_memory {
        return Ok(());
    }
    let (ordinal, name) = (report.ordinal, report.name.clone());
    Err(Unavailable::NoVirtualMemory { ordinal, name })
}

fn measure(driver: &'static Driver, report: &mut Report) -> Result<(), Unavailable> {
    let options = CudaOptions { driver: Some(driver), ..CudaOptions::default() };
    let device = CudaDevice::with_options(report.ordinal, options)?;
    report.free = Some(device.info()?.free);
    report.granularity = Some(device.granularity());
    Ok(())
}

pub(crate) fn ask_count(driver: &Driver) -> Result<u32, Unavailable> {
    let mut count = 0;
    // SAFETY: `count` may be written.
    let code = unsafe { (driver.device_count)(&raw mut count) };
    driver.start_up("cuDeviceGetCount", code)?;
    Ok(u32::try_from(count).unwrap_or(0))
}

pub(crate) fn ask_attribute(driver: &Driver, device: i32, number: i32) -> Result<i32, Unavailable> {
    let mut value = 0;
    // SAFETY: `value` may be written.
    let code = unsafe { (driver.device_attribute)(&raw mut value, number, device) };
    driver.start_up("cuDeviceGetAttribute", code)?;
    Ok(value)
}

pub(crate) fn ask_name(driver: &Driver, device: i32) -> Result<String, Unavailable> {
    ask_text("cuDeviceGetName", driver, driver.device_name, device)
}

type AskText = unsafe extern "C" fn(*mut c_char, i32, i32) -> u32;

fn ask_text(
    call: &'static str,
    driver: &Driver,
    ask: AskText,
    device: i32,
) -> Result<String, Unavailable> {
    let mut text = [0_u8; 256];
    // SAFETY: one less than the array has may be written, so that a zero always ends it.
    let code = unsafe { ask(text.as_mut_ptr().cast(), 255, device) };
    driver.start_up(call, code)?;
    let text = CStr::from_bytes_until_nul(&text).unwrap_or_default();
    Ok(text.to_string_lossy().into_owned())
}

fn ask_uuid(driver: &Driver, device: i32) -> Result<String, Unavailable> {
    let Some(ask) = driver.device_uuid.or(driver.device_uuid_v1) else {
        return Ok(String::new());
    };
    let mut bytes = [0; 16];
    // SAFETY: `bytes` may be written.
    let code = unsafe { ask(&raw mut bytes, device) };
    driver.start_up("cuDeviceGetUuid", code)?;
    let mut text = "GPU".to_owned();
    for (index, byte) in bytes.iter().enumerate() {
        let dash = if [0, 4, 6, 8, 10].contains(&index) { "-" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(text, "{dash}{byte:02x}");
    }
    Ok(text)
}
