//! Physical memory given to other processes, and taken from them, as file descriptors.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use freeboard_device::{Handle, Result};
use freeboard_units::Bytes;

use crate::CudaDevice;
use crate::abi::FILE_DESCRIPTOR;
use crate::memory::refuse;

impl CudaDevice {
    /// A file descriptor of physical memory. Whoever has it can [`import`](Self::import) the
    /// memory, which lives until all have given it up.
    ///
    /// # Errors
    /// When there is no such handle, or the device was not made
    /// [`exportable`](crate::CudaOptions::exportable).
    pub fn export(&self, handle: Handle) -> Result<OwnedFd> {
        const CALL: &str = "cuMemExportToShareableHandle";
        let driver = self.driver();
        if !self.inner.exportable {
            let reason = "the device was made without CudaOptions::exportable";
            return refuse(CALL, Err(reason.to_owned()));
        }
        let _context = self.inner.context.enter_relaxed()?;
        let books = self.inner.books.lock();
        refuse(CALL, books.check_handle(handle))?;
        let mut file = -1;
        // SAFETY: `file` may be written; the handle is alive, and the books stay locked.
        let code = unsafe { (driver.mem_export)(&raw mut file, handle.get(), FILE_DESCRIPTOR, 0) };
        driver.check_given(CALL, code)?;
        // SAFETY: the driver gave a new descriptor, which belongs to whoever asked.
        Ok(unsafe { OwnedFd::from_raw_fd(file) })
    }

    /// The physical memory behind a file descriptor that [`export`](Self::export) gave, in this
    /// process or another. `size` is what it was created with; the driver does not tell.
    ///
    /// # Errors
    /// When the descriptor is of something else, or `size` is no size.
    pub fn import(&self, file: impl AsFd, size: Bytes) -> Result<Handle> {
        const CALL: &str = "cuMemImportFromShareableHandle";
        let driver = self.driver();
        let _context = self.inner.context.enter_relaxed()?;
        let mut books = self.inner.books.lock();
        refuse(CALL, books.check_size(size))?;
        let number = usize::try_from(file.as_fd().as_raw_fd());
        let number = refuse(CALL, number.map_err(|_| "no descriptor is negative".to_owned()))?;
        let mut handle = 0;
        // SAFETY: `handle` may be written; the descriptor is open while it is borrowed.
        let code = unsafe { (driver.mem_import)(&raw mut handle, number, FILE_DESCRIPTOR) };
        driver.check_given(CALL, code)?;
        let handle = Handle::new(handle);
        books.add_handle(handle, size);
        Ok(handle)
    }
}
