//! The kernels that the driver knows by name and runs on the host.
//!
//! The library's are compiled from the sources that GPUs run (`kernels/table.cpp`). Those of tests
//! and examples touch much memory and are known well: they are written here once more, because a
//! grid of threads is slow on the host.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use crate::api::In;
use crate::memory::{Memory, Range};
use crate::state::{Answer, ILLEGAL_ADDRESS, INVALID_HANDLE, INVALID_VALUE};

/// What a launch passes, in order.
pub(crate) struct Arguments<'a> {
    pointers: &'a In<*const c_void>,
    memory: &'a Memory,
}

type Body = fn(&Arguments<'_>) -> Answer;

const KERNELS: [(&CStr, Body); 3] =
    [(c"freeboard_touch", touch), (c"freeboard_verify", verify), (c"freeboard_scale", scale)];

/// Finds the open memory around an address for `kernels/host.hpp`.
type Find = extern "C" fn(*const c_void, u64, bool, &mut Range) -> bool;

// `kernels/table.cpp`, which `build.rs` compiles.
unsafe extern "C" {
    static freeboard_fake_kernels: usize;
    fn freeboard_fake_find_kernel(name: *const c_char) -> usize;
    fn freeboard_fake_run_kernel(
        kernel: usize,
        arguments: *const *const c_void,
        blocks: u32,
        threads: u32,
        memory: *const c_void,
        find: Find,
    ) -> u32;
}

extern "C" fn find_range(
    memory: *const c_void,
    address: u64,
    write: bool,
    range: &mut Range,
) -> bool {
    // SAFETY: `run` gives what it borrows.
    let memory = unsafe { &*memory.cast::<Memory>() };
    memory.around(address, write).map(|found| *range = found).is_some()
}

/// The number of the kernel with this name.
pub(crate) fn find(name: &CStr) -> Option<usize> {
    let ours = KERNELS.iter().position(|(known, _)| *known == name);
    // SAFETY: the name ends with a zero.
    ours.or_else(|| known(KERNELS.len() + unsafe { freeboard_fake_find_kernel(name.as_ptr()) }))
}

/// The number, if there is such a kernel.
pub(crate) fn known(kernel: usize) -> Option<usize> {
    // SAFETY: it is never written.
    let compiled = unsafe { freeboard_fake_kernels };
    Some(kernel).filter(|&kernel| kernel < KERNELS.len() + compiled)
}

/// Runs a [`known`] kernel. The caller holds the driver's lock, which the compiled ones need.
pub(crate) fn run(
    kernel: usize,
    [blocks, threads]: [u32; 2],
    memory: &Memory,
    pointers: &In<*const c_void>,
) -> Answer {
    if let Some((_, body)) = KERNELS.get(kernel) {
        return body(&Arguments { pointers, memory });
    }
    let kernel = known(kernel).ok_or(INVALID_HANDLE)? - KERNELS.len();
    let pointers = pointers.array()?;
    let memory = (&raw const *memory).cast();
    // SAFETY: there is such a kernel, the C caller shows its arguments, and it touches only what
    // `find_range` finds, which stays as it is under the lock.
    let code =
        unsafe { freeboard_fake_run_kernel(kernel, pointers, blocks, threads, memory, find_range) };
    if code == 0 { Ok(()) } else { Err(code) }
}

impl Arguments<'_> {
    /// The argument with this number, which is a `T`.
    fn get<T: Copy>(&self, number: usize) -> Answer<T> {
        In::new(self.pointers.at(number)?.cast::<T>()).get()
    }

    /// Words of device memory, if all of them are open.
    fn words<T>(&self, start: u64, count: u64, write: bool) -> Answer<*mut T> {
        let size = count.checked_mul(size_of::<T>() as u64).ok_or(INVALID_VALUE)?;
        if !self.memory.open(start, size, write) {
            return Err(ILLEGAL_ADDRESS);
        }
        let start = usize::try_from(start).map_err(|_| ILLEGAL_ADDRESS)?;
        Ok(ptr::with_exposed_provenance_mut(start))
    }
}

fn each<T: Copy>(start: *mut T, count: u64, mut change: impl FnMut(T) -> T) -> Answer {
    for index in 0..usize::try_from(count).map_err(|_| INVALID_VALUE)? {
        let word = start.wrapping_add(index);
        // SAFETY: `words` found the whole range open, and only calls under the same lock change that.
        let old = unsafe { word.read_unaligned() };
        // SAFETY: as above; the range is open for writing.
        unsafe { word.write_unaligned(change(old)) };
    }
    Ok(())
}

/// `(start, count, value)`: writes `value` into `count` words of four bytes.
fn touch(arguments: &Arguments<'_>) -> Answer {
    let (start, count, value) = (arguments.get(0)?, arguments.get(1)?, arguments.get::<u32>(2)?);
    each(arguments.words::<u32>(start, count, true)?, count, |_| value)
}

/// `(start, count, value, counter)`: adds to `counter` how many of `count` words are not `value`.
fn verify(arguments: &Arguments<'_>) -> Answer {
    let (start, count, value) = (arguments.get(0)?, arguments.get(1)?, arguments.get::<u32>(2)?);
    let counter = arguments.words::<u32>(arguments.get(3)?, 1, true)?;
    let mut wrong = 0_u32;
    each(arguments.words::<u32>(start, count, true)?, count, |word| {
        wrong += u32::from(word != value);
        word
    })?;
    each(counter, 1, |before| before.wrapping_add(wrong))
}

/// `(start, count, factor)`: multiplies `count` floats by `factor`.
fn scale(arguments: &Arguments<'_>) -> Answer {
    let (start, count, factor) = (arguments.get(0)?, arguments.get(1)?, arguments.get::<f32>(2)?);
    each(arguments.words::<f32>(start, count, true)?, count, |value| value * factor)
}

#[cfg(test)]
mod tests;
