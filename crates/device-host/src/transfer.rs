//! Bytes in, out and across.

use std::ptr::NonNull;

use freeboard_device::{DeviceError, Pattern, Result, Transfer};
use freeboard_units::{Address, AddressRange, Bytes, StreamId};

use crate::HostDevice;
use crate::work::{HostPointer, Work};

impl HostDevice {
    /// Puts work on a stream if the ranges it touches can be touched now.
    fn transfer(
        &self,
        call: &'static str,
        ranges: &[AddressRange],
        stream: StreamId,
        work: Work,
    ) -> Result<()> {
        if ranges.iter().all(|range| range.size().is_zero()) {
            return self.0.stream(call, stream).map(drop);
        }
        if let Some(range) = ranges.iter().find(|&&range| !self.books().can_access(range)) {
            let reason = format!("{range} is not memory of this device, or not all of it");
            return Err(DeviceError::InvalidCall { call, reason });
        }
        self.0.put(call, stream, work)
    }
}

impl Transfer for HostDevice {
    unsafe fn upload(
        &self,
        to: Address,
        from: *const u8,
        size: Bytes,
        stream: StreamId,
    ) -> Result<()> {
        let to = AddressRange::new(to, size);
        let work = Work::Upload { to, from: HostPointer(from.cast_mut()) };
        self.transfer("cuMemcpyHtoDAsync", &[to], stream, work)
    }

    unsafe fn download(
        &self,
        to: *mut u8,
        from: Address,
        size: Bytes,
        stream: StreamId,
    ) -> Result<()> {
        let from = AddressRange::new(from, size);
        let work = Work::Download { to: HostPointer(to), from };
        self.transfer("cuMemcpyDtoHAsync", &[from], stream, work)
    }

    unsafe fn copy(&self, to: Address, from: Address, size: Bytes, stream: StreamId) -> Result<()> {
        let ranges = [to, from].map(|start| AddressRange::new(start, size));
        let work = Work::Copy { to: ranges[0], from };
        self.transfer("cuMemcpyDtoDAsync", &ranges, stream, work)
    }

    unsafe fn fill(&self, range: AddressRange, pattern: Pattern, stream: StreamId) -> Result<()> {
        let unit = pattern.size();
        if !range.size().is_aligned(unit) || !range.start().get().is_multiple_of(unit.get()) {
            let reason = format!("{range} is not made of whole patterns of {unit}");
            return Err(DeviceError::InvalidCall { call: "cuMemsetAsync", reason });
        }
        self.transfer("cuMemsetAsync", &[range], stream, Work::Fill { to: range, pattern })
    }

    fn pin(&self, size: Bytes) -> Result<NonNull<u8>> {
        self.0.pinned.take(size)
    }

    unsafe fn unpin(&self, start: NonNull<u8>) -> Result<()> {
        self.0.pinned.give(start)
    }
}
