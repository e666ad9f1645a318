//! Whole allocations, pages, and host memory.
#![allow(non_snake_case, reason = "the driver's names")]

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd};

use crate::api::{In, Out, current, driver, uncaptured};
use crate::physical::GRANULARITY;
use crate::state::{Answer, INVALID_DEVICE, INVALID_VALUE, OUT_OF_MEMORY};

/// `CUmemAllocationProp`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Properties {
    kind: i32,
    handle_types: i32,
    location_kind: i32,
    device: i32,
    metadata: usize,
    flags: [u8; 8],
}

/// `CUmemAccessDesc`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Access {
    location_kind: i32,
    device: i32,
    flags: i32,
}

const PINNED: i32 = 1;
const ON_DEVICE: i32 = 1;
const FILE_DESCRIPTOR: i32 = 1;

impl Properties {
    fn check(&self) -> Answer {
        let shared = [0, FILE_DESCRIPTOR].contains(&self.handle_types);
        let good = self.kind == PINNED && self.location_kind == ON_DEVICE && shared;
        if good && self.metadata == 0 { Ok(()) } else { Err(INVALID_VALUE) }
    }
}

fn bytes(size: usize) -> u64 {
    size as u64
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

driver! {
    fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) |state| {
        let device = current(state)?;
        let capacity = state.memory.capacity;
        free.put(size(capacity.saturating_sub(state.memory.used(device))))?;
        total.put(size(capacity))
    };
    fn cuMemAlloc_v2(address: Out<u64>, length: usize) |state| {
        let device = current(state)?;
        uncaptured(state)?;
        address.put(state.memory.allocate(bytes(length), device, false)?)
    };
    fn cuMemFree_v2(address: u64) |state| {
        current(state)?;
        uncaptured(state)?;
        state.memory.free(address, false)
    };
    fn cuMemAllocAsync(address: Out<u64>, length: usize, stream: usize) |state| {
        let device = current(state)?;
        state.streams.get(stream)?;
        address.put(state.memory.allocate(bytes(length), device, true)?)
    };
    fn cuMemFreeAsync(address: u64, stream: usize) |state| {
        current(state)?;
        state.streams.get(stream)?;
        state.memory.free(address, true)
    };
    fn cuMemHostAlloc(address: Out<u64>, length: usize, flags: u32) |state| {
        current(state)?;
        uncaptured(state)?;
        if flags > 7 {
            return Err(INVALID_VALUE);
        }
        address.put(state.memory.pin(bytes(length))?)
    };
    fn cuMemFreeHost(address: u64) |state| {
        current(state)?;
        state.memory.unpin(address)
    };
    fn cuMemGetAllocationGranularity(unit: Out<usize>, properties: In<Properties>, option: i32) |state| {
        let properties = properties.get()?;
        properties.check()?;
        state.gpu(properties.device)?;
        if [0, 1].contains(&option) { unit.put(size(GRANULARITY)) } else { Err(INVALID_VALUE) }
    };
    fn cuMemAddressReserve(start: Out<u64>, length: usize, align: usize, _hint: u64, flags: u64) |state| {
        if flags != 0 || !(align == 0 || align.is_power_of_two()) || bytes(align) > GRANULARITY {
            return Err(INVALID_VALUE);
        }
        start.put(state.memory.reserve(bytes(length))?)
    };
    fn cuMemAddressFree(start: u64, length: usize) |state| {
        state.memory.unreserve(start, bytes(length))
    };
    fn cuMemCreate(handle: Out<u64>, length: usize, properties: In<Properties>, flags: u64) |state| {
        let properties = properties.get()?;
        properties.check()?;
        state.gpu(properties.device)?;
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        let shareable = properties.handle_types == FILE_DESCRIPTOR;
        handle.put(state.memory.create(bytes(length), properties.device, shareable)?)
    };
    fn cuMemRelease(handle: u64) |state| state.memory.release(handle);
    fn cuMemMap(start: u64, length: usize, offset: usize, handle: u64, flags: u64) |state| {
        if offset != 0 || flags != 0 {
            return Err(INVALID_VALUE);
        }
        state.memory.map(start, bytes(length), handle)
    };
    fn cuMemUnmap(start: u64, length: usize) |state| state.memory.unmap(start, bytes(length));
    fn cuMemSetAccess(start: u64, length: usize, access: In<Access>, count: usize) |state| {
        if count == 0 {
            return Err(INVALID_VALUE);
        }
        for index in 0..count {
            let wanted = access.at(index)?;
            if wanted.location_kind != ON_DEVICE || state.gpu(wanted.device).is_err() {
                return Err(INVALID_DEVICE);
            }
        }
        state.memory.set_access(start, bytes(length), access.get()?.flags)
    };
    fn cuMemExportToShareableHandle(file: Out<i32>, handle: u64, kind: i32, flags: u64) |state| {
        if kind != FILE_DESCRIPTOR || flags != 0 {
            return Err(INVALID_VALUE);
        }
        file.put(state.memory.export(handle)?.into_raw_fd())
    };
    fn cuMemImportFromShareableHandle(handle: Out<u64>, file: usize, kind: i32) |state| {
        let file = i32::try_from(file).ok().filter(|&file| kind == FILE_DESCRIPTOR && file >= 0);
        let file = file.ok_or(INVALID_VALUE)?;
        // SAFETY: the C caller keeps the descriptor open during the call.
        let file = unsafe { BorrowedFd::borrow_raw(file) };
        let owned = file.as_fd().try_clone_to_owned().map_err(|_| OUT_OF_MEMORY)?;
        handle.put(state.memory.import(owned)?)
    };
}
