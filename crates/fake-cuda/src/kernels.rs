//! The kernels that the driver knows by name and runs on the host.

use std::ffi::c_void;
use std::ptr;

use crate::api::In;
use crate::memory::Memory;
use crate::state::{Answer, ILLEGAL_ADDRESS, INVALID_VALUE};

/// What a launch passes, in order.
pub(crate) struct Arguments<'a> {
    pointers: &'a In<*const c_void>,
    memory: &'a Memory,
}

pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    body: fn(&Arguments<'_>) -> Answer,
}

pub(crate) const KERNELS: [Kernel; 3] = [
    Kernel { name: "freeboard_touch", body: touch },
    Kernel { name: "freeboard_verify", body: verify },
    Kernel { name: "freeboard_scale", body: scale },
];

pub(crate) fn run(kernel: &Kernel, memory: &Memory, pointers: &In<*const c_void>) -> Answer {
    (kernel.body)(&Arguments { pointers, memory })
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
