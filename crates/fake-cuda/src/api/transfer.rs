//! Copies and fills.
#![allow(non_snake_case, reason = "the driver's names")]

use std::ptr;

use crate::api::{current, driver};
use crate::state::{Answer, INVALID_VALUE, State};

/// What may be done at an address.
#[derive(Clone, Copy)]
enum End {
    /// This process's own memory: the caller vouches for it.
    Host(u64),
    Device(u64),
}

impl End {
    fn at(self, state: &State, size: u64, write: bool) -> Answer<usize> {
        let (Self::Host(start) | Self::Device(start)) = self;
        let open = matches!(self, Self::Host(_)) || state.memory.open(start, size, write);
        if open && start != 0 {
            usize::try_from(start).map_err(|_| INVALID_VALUE)
        } else {
            Err(INVALID_VALUE)
        }
    }
}

/// Copies at once; a stream that is being captured does nothing.
fn copy(state: &mut State, to: End, from: End, size: usize, stream: usize) -> Answer {
    current(state)?;
    let captured = state.streams.get(stream)?.capturing;
    if size == 0 {
        return Ok(());
    }
    let (to, from) = (to.at(state, size as u64, true)?, from.at(state, size as u64, false)?);
    if captured {
        return Ok(());
    }
    let to = ptr::with_exposed_provenance_mut::<u8>(to);
    let from = ptr::with_exposed_provenance::<u8>(from);
    // SAFETY: a device end was just found open in this driver's own memory, which only calls under
    // the same lock change; for a host end the C caller vouches.
    unsafe { ptr::copy(from, to, size) };
    Ok(())
}

/// Writes `count` copies of `pattern` at once.
fn fill(state: &mut State, start: u64, pattern: &[u8], count: usize, stream: usize) -> Answer {
    current(state)?;
    let captured = state.streams.get(stream)?.capturing;
    let size = count.checked_mul(pattern.len()).ok_or(INVALID_VALUE)?;
    if !start.is_multiple_of(pattern.len() as u64) {
        return Err(INVALID_VALUE);
    }
    if size == 0 {
        return Ok(());
    }
    let start = End::Device(start).at(state, size as u64, true)?;
    if captured {
        return Ok(());
    }
    let start = ptr::with_exposed_provenance_mut::<u8>(start);
    for index in 0..size {
        let byte = start.wrapping_add(index);
        // SAFETY: the whole range was just found open for writing in this driver's own memory.
        unsafe { byte.write(pattern[index % pattern.len()]) };
    }
    Ok(())
}

driver! {
    fn cuMemcpyHtoDAsync_v2(to: u64, from: u64, size: usize, stream: usize) |state| {
        copy(state, End::Device(to), End::Host(from), size, stream)
    };
    fn cuMemcpyDtoHAsync_v2(to: u64, from: u64, size: usize, stream: usize) |state| {
        copy(state, End::Host(to), End::Device(from), size, stream)
    };
    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, size: usize, stream: usize) |state| {
        copy(state, End::Device(to), End::Device(from), size, stream)
    };
    fn cuMemcpyHtoD_v2(to: u64, from: u64, size: usize) |state| {
        copy(state, End::Device(to), End::Host(from), size, 0)
    };
    fn cuMemcpyDtoH_v2(to: u64, from: u64, size: usize) |state| {
        copy(state, End::Host(to), End::Device(from), size, 0)
    };
    fn cuMemcpyDtoD_v2(to: u64, from: u64, size: usize) |state| {
        copy(state, End::Device(to), End::Device(from), size, 0)
    };
    fn cuMemsetD8Async(start: u64, byte: u8, count: usize, stream: usize) |state| {
        fill(state, start, &[byte], count, stream)
    };
    fn cuMemsetD16Async(start: u64, value: u16, count: usize, stream: usize) |state| {
        fill(state, start, &value.to_le_bytes(), count, stream)
    };
    fn cuMemsetD32Async(start: u64, value: u32, count: usize, stream: usize) |state| {
        fill(state, start, &value.to_le_bytes(), count, stream)
    };
    fn cuMemsetD8_v2(start: u64, byte: u8, count: usize) |state| {
        fill(state, start, &[byte], count, 0)
    };
}
