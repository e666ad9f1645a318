//! [`Work`]: what a stream does, a piece at a time.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use freeboard_device::{Kernel, Memory, Pattern};
use freeboard_device_sim::SimDevice;
use freeboard_units::{Address, AddressRange, Bytes};
use parking_lot::RwLock;

use crate::failure::Failure;
use crate::os::{Backing, length, pointer};
use crate::pages::Pages;
use crate::stream::Stream;

/// The memory, its books, and the lock between those who touch bytes and those who move them.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) books: SimDevice,
    pub(crate) backing: Backing,
    /// Read-locked while bytes are touched, write-locked while mappings change. Taken before the
    /// lock of the books.
    pub(crate) pages: RwLock<Pages>,
    pub(crate) failure: Failure,
}

impl Drop for Ground {
    fn drop(&mut self) {
        let leaks = self.books.leaks();
        if !self.books.is_empty() {
            tracing::warn!(?leaks, device = %self.books.id(), "not given back to the device");
        }
    }
}

/// Bytes of this process, outside the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostPointer(pub(crate) *mut u8);

// SAFETY: a pointer is a number; whoever put the work on the stream promised that the bytes may be
// used from there until the stream is past the work.
unsafe impl Send for HostPointer {}

/// One piece of work.
pub(crate) enum Work {
    Upload {
        to: AddressRange,
        from: HostPointer,
    },
    Download {
        to: HostPointer,
        from: AddressRange,
    },
    Copy {
        to: AddressRange,
        from: Address,
    },
    Fill {
        to: AddressRange,
        pattern: Pattern,
    },
    /// Until that stream has done that much.
    Wait {
        stream: Arc<Stream>,
        ticket: u64,
    },
    Kernel {
        kernel: &'static Kernel,
        parameter: Box<[u64]>,
    },
    Run(Box<dyn FnOnce() + Send>),
}

impl Work {
    /// Does it; what goes wrong is noted.
    pub(crate) fn run(self, ground: &Ground) {
        match self {
            Self::Wait { stream, ticket } => stream.wait(ticket),
            Self::Run(work) => ground.run(work),
            Self::Kernel { kernel, parameter } => ground.kernel(kernel, &parameter),
            Self::Upload { to, from } => ground.touch("cuMemcpyHtoDAsync", &[to], || {
                copy(from.0, bytes_at(to.start()), to.size());
            }),
            Self::Download { to, from } => ground.touch("cuMemcpyDtoHAsync", &[from], || {
                copy(bytes_at(from.start()), to.0, from.size());
            }),
            Self::Copy { to, from } => {
                let source = AddressRange::new(from, to.size());
                ground.touch("cuMemcpyDtoDAsync", &[to, source], || {
                    copy(bytes_at(from), bytes_at(to.start()), to.size());
                });
            }
            Self::Fill { to, pattern } => {
                ground.touch("cuMemsetAsync", &[to], || fill(to, pattern));
            }
        }
    }
}

impl Ground {
    /// Runs foreign code; a panic in it ends the device.
    fn run(&self, work: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            let words = panic.downcast_ref::<&str>().map(ToString::to_string);
            let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
            self.failure.panicked(words.as_deref().unwrap_or("without words"));
        }
    }

    pub(crate) fn kernel(&self, kernel: &Kernel, parameter: &[u64]) {
        self.run(|| {
            // SAFETY: whoever put the kernel on the stream promised that the parameter is one of
            // this kernel's, and what it names.
            unsafe { (kernel.host)(parameter) }
        });
    }

    /// Does what touches these ranges, if they are there; they stay there meanwhile.
    fn touch(&self, call: &'static str, ranges: &[AddressRange], act: impl FnOnce()) {
        let _pages = self.pages.read();
        match ranges.iter().find(|&&range| !self.books.can_access(range)) {
            Some(&range) => self.failure.illegal_address(call, range),
            None => act(),
        }
    }
}

fn bytes_at(address: Address) -> *mut u8 {
    pointer(address).cast()
}

fn copy(from: *const u8, to: *mut u8, size: Bytes) {
    // SAFETY: the device's side is mapped while the pages are read-locked; the other side is what
    // the caller of `Transfer` promised. A wrong promise about the device's side overlaps at worst,
    // and `copy` allows that.
    unsafe { std::ptr::copy(from, to, length(size)) };
}

fn fill(range: AddressRange, pattern: Pattern) {
    let start = bytes_at(range.start());
    let count = length(range.size()) / length(pattern.size());
    match pattern {
        // SAFETY: mapped and open while the pages are read-locked.
        Pattern::U8(value) => unsafe { start.write_bytes(value, count) },
        Pattern::U16(value) => repeat(start.cast(), value, count),
        Pattern::U32(value) => repeat(start.cast(), value, count),
    }
}

/// Writes a value over and over; the range is mapped, and begins where such a value may.
fn repeat<T: Copy>(start: *mut T, value: T, count: usize) {
    for place in 0..count {
        let at = start.wrapping_add(place);
        // SAFETY: inside the range that the caller holds open, and aligned as its start is.
        unsafe { at.write(value) };
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upload { .. } => "Upload",
            Self::Download { .. } => "Download",
            Self::Copy { .. } => "Copy",
            Self::Fill { .. } => "Fill",
            Self::Wait { .. } => "Wait",
            Self::Kernel { .. } => "Kernel",
            Self::Run(_) => "Run",
        })
    }
}
