//! Pages of this process that stand for device memory: the calls to the operating system.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::state::{Answer, OUT_OF_MEMORY};

/// The unit of the virtual-memory calls.
pub(crate) const GRANULARITY: u64 = 2 << 20;

fn usize_of(number: u64) -> Answer<usize> {
    usize::try_from(number).map_err(|_| OUT_OF_MEMORY)
}

fn offset_of(number: u64) -> Answer<libc::off_t> {
    libc::off_t::try_from(number).map_err(|_| OUT_OF_MEMORY)
}

/// New addresses of this process, at a multiple of the granularity where `aligned`.
pub(crate) fn reserve(size: u64, protection: i32, aligned: bool) -> Answer<u64> {
    let spare = if aligned { GRANULARITY } else { 0 };
    let whole = usize_of(size.checked_add(spare).ok_or(OUT_OF_MEMORY)?)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: without an address the kernel picks one that nothing else uses.
    let start = unsafe { libc::mmap(ptr::null_mut(), whole, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(OUT_OF_MEMORY);
    }
    let start = start.addr() as u64;
    if !aligned {
        return Ok(start);
    }
    let first = start.next_multiple_of(GRANULARITY);
    unreserve(start, first - start);
    unreserve(first + size, start + spare - first);
    Ok(first)
}

/// Gives addresses back to the operating system.
pub(crate) fn unreserve(start: u64, size: u64) {
    if let (Ok(address), Ok(size)) = (usize_of(start), usize_of(size))
        && size > 0
    {
        // SAFETY: the range is one that `reserve` gave and that `Memory` has taken off its books,
        // so no call of the driver touches it again.
        unsafe { libc::munmap(ptr::with_exposed_provenance_mut(address), size) };
    }
}

/// Puts a piece of a file at reserved addresses, closed to all access.
pub(crate) fn map(start: u64, size: u64, file: &OwnedFd, offset: u64) -> Answer {
    place(start, size, libc::MAP_SHARED, file.as_raw_fd(), offset)
}

/// Takes what lies at reserved addresses away; they stay reserved.
pub(crate) fn unmap(start: u64, size: u64) -> Answer {
    place(start, size, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, -1, 0)
}

fn place(start: u64, size: u64, flags: i32, file: i32, offset: u64) -> Answer {
    let (address, size, offset) = (usize_of(start)?, usize_of(size)?, offset_of(offset)?);
    let flags = flags | libc::MAP_FIXED;
    let at = ptr::with_exposed_provenance_mut(address);
    // SAFETY: the range lies in one that `reserve` gave, so only this driver's memory is replaced.
    let placed = unsafe { libc::mmap(at, size, libc::PROT_NONE, flags, file, offset) };
    if placed == libc::MAP_FAILED { Err(OUT_OF_MEMORY) } else { Ok(()) }
}

/// Opens mapped addresses for reading and, perhaps, writing.
pub(crate) fn protect(start: u64, size: u64, protection: i32) -> Answer {
    let (address, size) = (usize_of(start)?, usize_of(size)?);
    // SAFETY: the range is mapped in a reservation of this driver's.
    let code =
        unsafe { libc::mprotect(ptr::with_exposed_provenance_mut(address), size, protection) };
    if code == 0 { Ok(()) } else { Err(OUT_OF_MEMORY) }
}

/// A file without a name, in memory.
pub(crate) fn file() -> Answer<OwnedFd> {
    // SAFETY: the name is a C string, and the call touches nothing else.
    let number = unsafe { libc::memfd_create(c"freeboard-fake-cuda".as_ptr(), libc::MFD_CLOEXEC) };
    if number < 0 {
        return Err(OUT_OF_MEMORY);
    }
    // SAFETY: the descriptor is new, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Makes a file this long; what is new reads as zeros and takes no memory until it is written.
pub(crate) fn extend(file: &OwnedFd, size: u64) -> Answer {
    let size = offset_of(size)?;
    // SAFETY: the descriptor is open, and lengthening a file moves nothing.
    let code = unsafe { libc::ftruncate(file.as_raw_fd(), size) };
    if code == 0 { Ok(()) } else { Err(OUT_OF_MEMORY) }
}

/// Gives the memory of a piece of a file back; nothing maps it any more.
pub(crate) fn punch(file: &OwnedFd, offset: u64, size: u64) {
    let flags = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    if let (Ok(offset), Ok(size)) = (offset_of(offset), offset_of(size)) {
        // SAFETY: the descriptor is open; the piece is one that no handle and no mapping has.
        unsafe { libc::fallocate(file.as_raw_fd(), flags, offset, size) };
    }
}
