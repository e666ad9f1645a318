//! [`Memory`] of a GPU: whole allocations, and pages by the virtual-memory calls.

use freeboard_device::{DeviceError, Handle, Memory, MemoryInfo, Result};
use freeboard_units::{Address, AddressRange, Bytes, DeviceId};

use crate::CudaDevice;
use crate::books::Verdict;

/// What the books refuse never reaches the driver.
pub(crate) fn refuse<T>(call: &'static str, verdict: Verdict<T>) -> Result<T> {
    verdict.map_err(|reason| DeviceError::InvalidCall { call, reason })
}

/// A size as the driver takes it.
pub(crate) fn length(call: &'static str, size: Bytes) -> Result<usize> {
    refuse(call, usize::try_from(size.get()).map_err(|_| format!("{size} are too many")))
}

/// A size as the driver gives it.
fn bytes(size: usize) -> Bytes {
    Bytes::new(size as u64)
}

impl Memory for CudaDevice {
    fn id(&self) -> DeviceId {
        DeviceId::new(self.inner.ordinal)
    }

    fn info(&self) -> Result<MemoryInfo> {
        let driver = self.driver();
        let _context = self.inner.context.enter_relaxed()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: both may be written.
        let code = unsafe { (driver.mem_info)(&raw mut free, &raw mut total) };
        driver.check("cuMemGetInfo", code)?;
        Ok(MemoryInfo { free: bytes(free), total: bytes(total) })
    }

    fn granularity(&self) -> Bytes {
        self.inner.granularity
    }

    fn allocate(&self, size: Bytes) -> Result<Address> {
        const CALL: &str = "cuMemAlloc";
        let (driver, asked) = (self.driver(), length(CALL, size)?);
        let _context = self.inner.context.enter_relaxed()?;
        let mut address = 0;
        // SAFETY: `address` may be written.
        let code = unsafe { (driver.mem_alloc)(&raw mut address, asked) };
        driver.check_memory(CALL, code, size)?;
        let address = Address::new(address);
        self.inner.books.lock().add_allocation(address);
        Ok(address)
    }

    fn free(&self, address: Address) -> Result<()> {
        const CALL: &str = "cuMemFree";
        let driver = self.driver();
        let _context = self.inner.context.enter_relaxed()?;
        // Not locked during the call, which waits for the device.
        refuse(CALL, self.inner.books.lock().take_allocation(address))?;
        // SAFETY: `allocate` gave this address, and it was taken off the books just now, so nobody
        // else frees it.
        let code = unsafe { (driver.mem_free)(address.get()) };
        let freed = driver.check_given(CALL, code);
        if freed.is_err() {
            self.inner.books.lock().add_allocation(address);
        }
        freed
    }

    fn reserve(&self, size: Bytes) -> Result<AddressRange> {
        const CALL: &str = "cuMemAddressReserve";
        let (driver, asked) = (self.driver(), length(CALL, size)?);
        refuse(CALL, self.inner.books.lock().check_size(size))?;
        let _context = self.inner.context.enter_relaxed()?;
        let mut start = 0;
        // SAFETY: `start` may be written; no alignment, place or flag is asked for.
        let code = unsafe { (driver.address_reserve)(&raw mut start, asked, 0, 0, 0) };
        driver.check_given(CALL, code)?;
        let range = AddressRange::new(Address::new(start), size);
        self.inner.books.lock().add_reservation(range);
        Ok(range)
    }

    fn unreserve(&self, range: AddressRange) -> Result<()> {
        const CALL: &str = "cuMemAddressFree";
        let (driver, size) = (self.driver(), length(CALL, range.size())?);
        let _context = self.inner.context.enter_relaxed()?;
        let mut books = self.inner.books.lock();
        refuse(CALL, books.check_unreserve(range))?;
        // SAFETY: the range is one that `reserve` gave, nothing is mapped in it, and the books stay
        // locked until it is off them.
        let code = unsafe { (driver.address_free)(range.start().get(), size) };
        driver.check_given(CALL, code)?;
        books.remove_reservation(range);
        Ok(())
    }

    fn create(&self, size: Bytes) -> Result<Handle> {
        const CALL: &str = "cuMemCreate";
        let (driver, asked) = (self.driver(), length(CALL, size)?);
        refuse(CALL, self.inner.books.lock().check_size(size))?;
        let _context = self.inner.context.enter_relaxed()?;
        let (mut handle, properties) = (0, &raw const self.inner.properties);
        // SAFETY: `handle` may be written, and the properties are of the driver's layout.
        let code = unsafe { (driver.mem_create)(&raw mut handle, asked, properties, 0) };
        driver.check_memory(CALL, code, size)?;
        let handle = Handle::new(handle);
        self.inner.books.lock().add_handle(handle, size);
        Ok(handle)
    }

    fn release(&self, handle: Handle) -> Result<()> {
        const CALL: &str = "cuMemRelease";
        let driver = self.driver();
        let _context = self.inner.context.enter_relaxed()?;
        let mut books = self.inner.books.lock();
        refuse(CALL, books.check_handle(handle))?;
        // SAFETY: the handle is alive, and the books stay locked until it is off them.
        let code = unsafe { (driver.mem_release)(handle.get()) };
        driver.check_given(CALL, code)?;
        books.remove_handle(handle);
        Ok(())
    }

    fn map(&self, range: AddressRange, handle: Handle) -> Result<()> {
        const CALL: &str = "cuMemMap";
        let (driver, size) = (self.driver(), length(CALL, range.size())?);
        let _context = self.inner.context.enter_relaxed()?;
        let mut books = self.inner.books.lock();
        refuse(CALL, books.check_map(range, handle))?;
        // SAFETY: the handle is alive and of this size, the range is reserved and empty, and the
        // books stay locked until the mapping is on them.
        let code = unsafe { (driver.mem_map)(range.start().get(), size, 0, handle.get(), 0) };
        driver.check_given(CALL, code)?;
        books.add_mapping(range);
        Ok(())
    }

    fn set_access(&self, range: AddressRange) -> Result<()> {
        const CALL: &str = "cuMemSetAccess";
        let (driver, size) = (self.driver(), length(CALL, range.size())?);
        let _context = self.inner.context.enter_relaxed()?;
        let books = self.inner.books.lock();
        refuse(CALL, books.check_mapped(range))?;
        let access = &self.inner.access;
        // SAFETY: the range is made of mappings, the books stay locked, and `access` is an array of
        // that many of the driver's structs.
        let code = unsafe {
            (driver.set_access)(range.start().get(), size, access.as_ptr(), access.len())
        };
        driver.check_given(CALL, code)
    }

    fn unmap(&self, range: AddressRange) -> Result<()> {
        const CALL: &str = "cuMemUnmap";
        let (driver, size) = (self.driver(), length(CALL, range.size())?);
        let _context = self.inner.context.enter_relaxed()?;
        let mut books = self.inner.books.lock();
        refuse(CALL, books.check_mapped(range))?;
        // SAFETY: the range is made of whole mappings of this device, and the books stay locked
        // until they are off them.
        let code = unsafe { (driver.mem_unmap)(range.start().get(), size) };
        driver.check_given(CALL, code)?;
        books.remove_mappings(range);
        Ok(())
    }
}
