//! Starting, and asking about devices.
#![allow(non_snake_case, reason = "the driver's names")]

use std::ffi::c_char;

use crate::api::{Out, driver};
use crate::state::{Answer, INVALID_VALUE};

/// Writes a C string into a buffer of `length` bytes, cut to fit.
fn put_text(text: &str, buffer: *mut c_char, length: i32) -> Answer {
    let length = usize::try_from(length).map_err(|_| INVALID_VALUE)?;
    for (index, byte) in text.bytes().take(length.saturating_sub(1)).chain([0]).enumerate() {
        Out(buffer.cast::<u8>().wrapping_add(index)).put(byte)?;
    }
    Ok(())
}

/// Sixteen bytes that tell devices apart.
fn uuid(device: i32) -> [u8; 16] {
    let mut bytes = *b"\xF4\x4BFreeboardFake\0";
    bytes[15] = device.to_le_bytes()[0];
    bytes
}

driver! {
    fn cuInit(flags: u32) |state| {
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        if state.gpus.is_empty() {
            return Err(100);
        }
        state.initialized = true;
        Ok(())
    };
    fn cuDriverGetVersion(version: Out<i32>) |state| version.put(state.version);
    fn cuDeviceGetCount(count: Out<i32>) |state| {
        count.put(i32::try_from(state.gpus.len()).unwrap_or(i32::MAX))
    };
    fn cuDeviceGet(device: Out<i32>, ordinal: i32) |state| {
        state.gpu(ordinal)?;
        device.put(ordinal)
    };
    fn cuDeviceGetName(name: *mut c_char, length: i32, device: i32) |state| {
        state.gpu(device)?;
        put_text("Freeboard fake GPU", name, length)
    };
    fn cuDeviceGetPCIBusId(name: *mut c_char, length: i32, device: i32) |state| {
        state.gpu(device)?;
        put_text(&format!("0000:{:02X}:00.0", device + 1), name, length)
    };
    fn cuDeviceGetUuid(bytes: Out<[u8; 16]>, device: i32) |state| {
        state.gpu(device)?;
        bytes.put(uuid(device))
    };
    fn cuDeviceGetUuid_v2(bytes: Out<[u8; 16]>, device: i32) |state| {
        state.gpu(device)?;
        bytes.put(uuid(device))
    };
    fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: i32) |state| {
        state.gpu(device)?;
        bytes.put(usize::try_from(state.memory.capacity).unwrap_or(usize::MAX))
    };
    fn cuDeviceGetAttribute(value: Out<i32>, attribute: i32, device: i32) |state| {
        let gpu = state.gpu(device)?;
        value.put(gpu.attributes.get(&attribute).copied().unwrap_or(0))
    };
    fn cuDeviceCanAccessPeer(can: Out<i32>, device: i32, peer: i32) |state| {
        state.gpu(device)?;
        state.gpu(peer)?;
        can.put(i32::from(state.peers && device != peer))
    };
}
