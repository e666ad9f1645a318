//! [`Pinned`]: host memory for transfers. Here all memory is near, so it is plain memory.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::HashMap;
use std::ptr::NonNull;

use freeboard_device::{DeviceError, Result};
use freeboard_units::{Address, Bytes};
use parking_lot::Mutex;

use crate::os::length;

/// As a GPU's driver aligns it: to a page.
const ALIGNMENT: usize = 4096;

/// What was pinned and not given back, by where it begins.
#[derive(Debug, Default)]
pub(crate) struct Pinned(Mutex<HashMap<Address, Layout>>);

impl Pinned {
    pub(crate) fn take(&self, size: Bytes) -> Result<NonNull<u8>> {
        let call = "cuMemHostAlloc";
        if size.is_zero() {
            return Err(DeviceError::InvalidCall { call, reason: "zero bytes".to_owned() });
        }
        let out_of_memory = DeviceError::OutOfMemory { call, size };
        let Ok(layout) = Layout::from_size_align(length(size), ALIGNMENT) else {
            return Err(out_of_memory);
        };
        // SAFETY: the layout has bytes.
        let start = NonNull::new(unsafe { alloc(layout) }).ok_or(out_of_memory)?;
        self.0.lock().insert(address(start), layout);
        Ok(start)
    }

    /// Frees what begins at `start`. The caller promised that nobody uses it.
    pub(crate) fn give(&self, start: NonNull<u8>) -> Result<()> {
        let Some(layout) = self.0.lock().remove(&address(start)) else {
            let reason = format!("nothing pinned begins at {}", address(start));
            return Err(DeviceError::InvalidCall { call: "cuMemFreeHost", reason });
        };
        // SAFETY: it was allocated with this layout and has just been taken off the list.
        unsafe { dealloc(start.as_ptr(), layout) };
        Ok(())
    }
}

fn address(start: NonNull<u8>) -> Address {
    Address::new(start.as_ptr().expose_provenance() as u64)
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let count = self.0.get_mut().len();
        if count > 0 {
            tracing::warn!(count, "pinned memory was not given back and stays taken");
        }
    }
}
