//! The C functions, with the signatures of NVML.
//!
//! A pointer to one value is an `Option<&mut _>`: the same to C, and null is `None`. The caller
//! promises what C callers of NVML promise: each is null, or valid and nobody else's.
#![expect(unsafe_code, reason = "C functions by name, and arrays from C")]
#![allow(non_snake_case, reason = "these are NVML's names")]

use std::ffi::{c_char, c_int, c_uint, c_ulonglong};
use std::{ptr, slice};

use nvml_wrapper_sys::bindings as nvml;
use nvml_wrapper_sys::bindings::nvmlDevice_t as Handle;

use crate::device::{Code, Device, Process};
use crate::scenario::machine;

const OK: Code = nvml::nvmlReturn_enum_NVML_SUCCESS;
const INVALID: Code = nvml::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
const UNSUPPORTED: Code = nvml::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;
const NOT_FOUND: Code = nvml::nvmlReturn_enum_NVML_ERROR_NOT_FOUND;
const TOO_SMALL: Code = nvml::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;

/// The handle of an instance is that of its device and this many for each.
const INSTANCE: usize = 1000;

fn code(answer: Result<(), Code>) -> Code {
    answer.err().unwrap_or(OK)
}

fn handle(number: usize) -> Handle {
    ptr::without_provenance_mut(number)
}

/// The device that a handle means, and which of its instances; handles count from one.
fn device(handle: Handle) -> Result<(&'static Device, usize), Code> {
    let number = handle.addr();
    let index = (number % INSTANCE).checked_sub(1).ok_or(INVALID)?;
    let device = machine().devices.get(index).ok_or(INVALID)?;
    if device.answers == OK { Ok((device, number / INSTANCE)) } else { Err(device.answers) }
}

fn put<T>(to: Option<&mut T>, value: T) -> Result<(), Code> {
    *to.ok_or(INVALID)? = value;
    Ok(())
}

/// Puts a figure of a device, where it has it.
fn tell<T>(
    handle: Handle,
    to: Option<&mut T>,
    figure: impl FnOnce(&Device) -> Option<T>,
) -> Result<(), Code> {
    put(to, figure(device(handle)?.0).ok_or(UNSUPPORTED)?)
}

/// Puts two figures of a device, where it has them.
fn tell_both<T: Copy>(
    handle: Handle,
    to: [Option<&mut T>; 2],
    figures: impl FnOnce(&Device) -> Option<[T; 2]>,
) -> Result<(), Code> {
    let values = figures(device(handle)?.0).ok_or(UNSUPPORTED)?;
    to.into_iter().zip(values).try_for_each(|(to, value)| put(to, value))
}

/// Puts a text with its closing zero.
///
/// # Safety
/// `to` is null, or valid for writing `length` characters that nobody else uses.
unsafe fn put_text(to: *mut c_char, length: c_uint, text: &str) -> Result<(), Code> {
    if to.is_null() {
        return Err(INVALID);
    }
    if text.len() >= length as usize {
        return Err(TOO_SMALL);
    }
    // SAFETY: the caller vouches for `length` characters, which is more than are written.
    let room = unsafe { slice::from_raw_parts_mut(to.cast::<u8>(), text.len() + 1) };
    room[..text.len()].copy_from_slice(text.as_bytes());
    room[text.len()] = 0;
    Ok(())
}

/// Puts a list of processes, or how long it is where there is no room.
///
/// # Safety
/// `to` is null, or valid for writing `count` entries that nobody else uses.
unsafe fn put_processes(
    list: Option<&Vec<Process>>,
    count: Option<&mut c_uint>,
    to: *mut nvml::nvmlProcessInfo_t,
) -> Result<(), Code> {
    let (list, count) = (list.ok_or(UNSUPPORTED)?, count.ok_or(INVALID)?);
    let room = std::mem::replace(count, u32::try_from(list.len()).map_err(|_| INVALID)?);
    if room < *count {
        return Err(TOO_SMALL);
    }
    if list.is_empty() {
        return Ok(());
    }
    if to.is_null() {
        return Err(INVALID);
    }
    // SAFETY: the caller vouches for `room` entries, and the list has no more.
    let room = unsafe { slice::from_raw_parts_mut(to, list.len()) };
    for (to, process) in room.iter_mut().zip(list) {
        *to = nvml::nvmlProcessInfo_t {
            pid: process.pid,
            usedGpuMemory: process.used,
            gpuInstanceId: u32::MAX,
            computeInstanceId: u32::MAX,
        };
    }
    Ok(())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> Code {
    machine().start
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> Code {
    OK
}

/// # Safety
/// As [`put_text`].
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetDriverVersion(to: *mut c_char, length: c_uint) -> Code {
    // SAFETY: the caller vouches for the same.
    code(unsafe { put_text(to, length, "575.57.08") })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetCudaDriverVersion_v2(to: Option<&mut c_int>) -> Code {
    code(put(to, 12090))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetCount_v2(to: Option<&mut c_uint>) -> Code {
    code(put(to, u32::try_from(machine().devices.len()).unwrap_or(u32::MAX)))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, to: Option<&mut Handle>) -> Code {
    let answer = match machine().devices.get(index as usize) {
        Some(device) if device.opening == OK => put(to, handle(index as usize + 1)),
        Some(device) => Err(device.opening),
        None => Err(INVALID),
    };
    code(answer)
}

/// # Safety
/// As [`put_text`].
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetName(of: Handle, to: *mut c_char, length: c_uint) -> Code {
    // SAFETY: the caller vouches for the same.
    code(device(of).and_then(|_| unsafe { put_text(to, length, "NVIDIA H200") }))
}

/// # Safety
/// As [`put_text`].
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetUUID(of: Handle, to: *mut c_char, length: c_uint) -> Code {
    let kind = if of.addr() < INSTANCE { "GPU" } else { "MIG" };
    let text = format!("{kind}-00000000-0000-0000-0000-{:012}", of.addr());
    // SAFETY: the caller vouches for the same.
    code(device(of).and_then(|_| unsafe { put_text(to, length, &text) }))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetPciInfo_v3(of: Handle, to: Option<&mut nvml::nvmlPciInfo_t>) -> Code {
    let bus = c_uint::try_from(of.addr()).unwrap_or(0);
    let mut info = nvml::nvmlPciInfo_t {
        busIdLegacy: [0; 16],
        domain: 0,
        bus,
        device: 0,
        pciDeviceId: 0,
        pciSubSystemId: 0,
        busId: [0; 32],
    };
    let text = format!("00000000:{bus:02X}:00.0");
    for (to, letter) in info.busId.iter_mut().zip(text.bytes()) {
        *to = c_char::from_ne_bytes([letter]);
    }
    code(device(of).and_then(|_| put(to, info)))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetCudaComputeCapability(
    of: Handle,
    major: Option<&mut c_int>,
    minor: Option<&mut c_int>,
) -> Code {
    // Known where anything is.
    code(tell_both(of, [major, minor], |device| device.memory.map(|_| [9, 0])))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMemoryInfo_v2(
    of: Handle,
    to: Option<&mut nvml::nvmlMemory_v2_t>,
) -> Code {
    const VERSION: usize = size_of::<nvml::nvmlMemory_v2_t>() | 2 << 24;
    let answer = device(of).and_then(|(device, instance)| {
        let [total, reserved, free] = device.memory.ok_or(UNSUPPORTED)?;
        let (to, parts) = (to.ok_or(INVALID)?, if instance > 0 { 4 } else { 1 });
        if to.version as usize != VERSION {
            return Err(nvml::nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
        }
        (to.total, to.reserved) = (total / parts, reserved / parts);
        (to.free, to.used) = (free / parts, (total - reserved - free) / parts);
        Ok(())
    });
    code(answer)
}

/// # Safety
/// As [`put_processes`].
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    of: Handle,
    count: Option<&mut c_uint>,
    to: *mut nvml::nvmlProcessInfo_t,
) -> Code {
    let list = device(of).map(|(device, _)| device.computing.as_ref());
    // SAFETY: the caller vouches for the same.
    code(list.and_then(|list| unsafe { put_processes(list, count, to) }))
}

/// # Safety
/// As [`put_processes`].
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    of: Handle,
    count: Option<&mut c_uint>,
    to: *mut nvml::nvmlProcessInfo_t,
) -> Code {
    let list = device(of).map(|(device, _)| device.drawing.as_ref());
    // SAFETY: the caller vouches for the same.
    code(list.and_then(|list| unsafe { put_processes(list, count, to) }))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetUtilizationRates(
    of: Handle,
    to: Option<&mut nvml::nvmlUtilization_t>,
) -> Code {
    let rates =
        |device: &Device| device.busy.map(|[gpu, memory]| nvml::nvmlUtilization_t { gpu, memory });
    code(tell(of, to, rates))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetEccMode(
    of: Handle,
    current: Option<&mut c_uint>,
    pending: Option<&mut c_uint>,
) -> Code {
    code(tell_both(of, [current, pending], |device| device.ecc))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTotalEccErrors(
    of: Handle,
    kind: c_uint,
    since: c_uint,
    to: Option<&mut c_ulonglong>,
) -> Code {
    let count = |device: &Device| device.errors?.get(since as usize)?.get(kind as usize).copied();
    code(tell(of, to, count))
}

/// # Safety
/// `values` is null, or valid for reading and writing `count` entries that nobody else uses.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetFieldValues(
    of: Handle,
    count: c_int,
    values: *mut nvml::nvmlFieldValue_t,
) -> Code {
    let (device, count) = match (device(of), usize::try_from(count)) {
        (Err(code), _) => return code,
        (_, Err(_)) => return INVALID,
        (Ok((device, _)), Ok(count)) => (device, count),
    };
    if values.is_null() {
        return INVALID;
    }
    // SAFETY: the caller vouches for `count` entries.
    let values = unsafe { slice::from_raw_parts_mut(values, count) };
    for value in values {
        value.valueType = nvml::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT;
        value.nvmlReturn = UNSUPPORTED;
        if let Some(figure) = device.field(value.fieldId) {
            value.nvmlReturn = OK;
            value.value.uiVal = figure;
        }
    }
    OK
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMigMode(
    of: Handle,
    current: Option<&mut c_uint>,
    pending: Option<&mut c_uint>,
) -> Code {
    code(tell_both(of, [current, pending], |device| device.mig))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMaxMigDeviceCount(of: Handle, to: Option<&mut c_uint>) -> Code {
    code(tell(of, to, |device| device.mig.map(|_| 7)))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    of: Handle,
    index: c_uint,
    to: Option<&mut Handle>,
) -> Code {
    let answer = device(of).and_then(|(device, _)| {
        // The places need not be taken in order.
        let is_taken = index > 0 && index <= device.instances;
        if is_taken {
            put(to, handle(of.addr() + INSTANCE * index as usize))
        } else {
            Err(NOT_FOUND)
        }
    });
    code(answer)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetPersistenceMode(of: Handle, to: Option<&mut c_uint>) -> Code {
    code(tell(of, to, |device| device.persistence))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetComputeMode(of: Handle, to: Option<&mut c_uint>) -> Code {
    code(tell(of, to, |device| device.compute_mode))
}
