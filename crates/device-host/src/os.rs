//! [`Backing`]: the addresses and the memory file. Every call to the operating system is here.

use std::ffi::c_void;
use std::os::fd::OwnedFd;

use freeboard_units::{Address, AddressRange, Bytes};
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};

/// A call that the operating system did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OsError {
    pub(crate) call: &'static str,
    pub(crate) errno: Errno,
}

type Result<T> = std::result::Result<T, OsError>;

fn failed(call: &'static str) -> impl FnOnce(Errno) -> OsError {
    move |errno| OsError { call, errno }
}

/// A stretch of addresses that nobody else in the process uses, and a file of memory to put there.
///
/// Every method takes a range inside the stretch; callers keep to ranges that the books gave them.
#[derive(Debug)]
pub(crate) struct Backing {
    addresses: AddressRange,
    /// As large as the stretch, and sparse: only pages that were touched take memory.
    file: OwnedFd,
}

impl Backing {
    /// `size` bytes of addresses with nothing behind them, and as large a file.
    pub(crate) fn new(size: Bytes) -> Result<Self> {
        let file =
            memfd_create("freeboard", MemfdFlags::CLOEXEC).map_err(failed("memfd_create"))?;
        ftruncate(&file, size.get()).map_err(failed("ftruncate"))?;
        let (protection, flags) = (ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: no address is asked for, so nothing that exists is touched.
        let start =
            unsafe { mmap_anonymous(std::ptr::null_mut(), length(size), protection, flags) };
        let start = start.map_err(failed("mmap"))?;
        let addresses = AddressRange::new(Address::new(start.expose_provenance() as u64), size);
        Ok(Self { addresses, file })
    }

    pub(crate) const fn addresses(&self) -> AddressRange {
        self.addresses
    }

    /// Puts the file's bytes from `offset` on at `range`, not to be touched yet.
    pub(crate) fn map(&self, range: AddressRange, offset: Bytes) -> Result<()> {
        self.check(range);
        let flags = MapFlags::SHARED | MapFlags::FIXED | MapFlags::NORESERVE;
        let (at, length) = (pointer(range.start()), length(range.size()));
        // SAFETY: the range lies in the stretch, which is this value's alone.
        let mapped =
            unsafe { mmap(at, length, ProtFlags::empty(), flags, &self.file, offset.get()) };
        mapped.map(drop).map_err(failed("mmap"))
    }

    /// Lets `range` be read and written.
    pub(crate) fn open(&self, range: AddressRange) -> Result<()> {
        self.check(range);
        let flags = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: the range lies in the stretch, which is this value's alone.
        let opened = unsafe { mprotect(pointer(range.start()), length(range.size()), flags) };
        opened.map_err(failed("mprotect"))
    }

    /// Leaves nothing at `range`: touching it faults.
    pub(crate) fn clear(&self, range: AddressRange) -> Result<()> {
        self.place(range, ProtFlags::empty())
    }

    /// Puts memory of its own at `range`, all zero, to be read and written.
    pub(crate) fn fill(&self, range: AddressRange) -> Result<()> {
        self.place(range, ProtFlags::READ | ProtFlags::WRITE)
    }

    fn place(&self, range: AddressRange, protection: ProtFlags) -> Result<()> {
        self.check(range);
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        let (at, length) = (pointer(range.start()), length(range.size()));
        // SAFETY: the range lies in the stretch, which is this value's alone.
        let placed = unsafe { mmap_anonymous(at, length, protection, flags) };
        placed.map(drop).map_err(failed("mmap"))
    }

    /// Gives the file's memory from `offset` on back to the operating system.
    pub(crate) fn punch(&self, offset: Bytes, size: Bytes) -> Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&self.file, flags, offset.get(), size.get()).map_err(failed("fallocate"))
    }

    fn check(&self, range: AddressRange) {
        assert!(self.addresses.covers(range), "{range} belongs to somebody else");
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        let (start, length) = (pointer(self.addresses.start()), length(self.addresses.size()));
        // SAFETY: the stretch is this value's alone, and nobody can ask the value for it any more.
        if let Err(errno) = unsafe { munmap(start, length) } {
            tracing::error!(%errno, "the addresses of a device could not be given back");
        }
    }
}

/// Where an address points to.
pub(crate) fn pointer(address: Address) -> *mut c_void {
    std::ptr::with_exposed_provenance_mut(length(Bytes::new(address.get())))
}

/// A size as this machine counts; it has 64 bits, as `Bytes` do.
pub(crate) fn length(size: Bytes) -> usize {
    const { assert!(size_of::<usize>() == size_of::<u64>(), "needs a 64-bit machine") };
    #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
    let length = size.get() as usize;
    length
}
