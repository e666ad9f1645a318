//! Memory and addresses. The books refuse what is wrong, then the operating system does the work.

use freeboard_device::{DeviceError, Handle, Memory, MemoryInfo, Result};
use freeboard_units::{Address, AddressRange, Bytes, DeviceId};

use crate::HostDevice;
use crate::pages::Pages;
use crate::work::Ground;

impl Memory for HostDevice {
    fn id(&self) -> DeviceId {
        self.books().id()
    }

    fn info(&self) -> Result<MemoryInfo> {
        self.0.ground.failure.check()?;
        self.books().info()
    }

    fn granularity(&self) -> Bytes {
        self.books().granularity()
    }

    fn allocate(&self, size: Bytes) -> Result<Address> {
        let Ground { books, backing, pages, failure } = &*self.0.ground;
        failure.check()?;
        let _pages = pages.write();
        let start = books.allocate(size)?;
        let placed = books.allocation_at(start).map_or(Ok(()), |range| backing.fill(range));
        placed.inspect_err(|_| undone(books.free(start)))?;
        Ok(start)
    }

    fn free(&self, address: Address) -> Result<()> {
        let Ground { books, backing, pages, .. } = &*self.0.ground;
        if books.allocation_at(address).is_some() {
            self.0.drain();
        }
        let _pages = pages.write();
        let range = books.allocation_at(address);
        books.free(address)?;
        undone(range.map_or(Ok(()), |range| backing.clear(range)));
        Ok(())
    }

    fn reserve(&self, size: Bytes) -> Result<AddressRange> {
        self.0.ground.failure.check()?;
        self.books().reserve(size)
    }

    fn unreserve(&self, range: AddressRange) -> Result<()> {
        self.books().unreserve(range)
    }

    fn create(&self, size: Bytes) -> Result<Handle> {
        let Ground { books, pages, failure, .. } = &*self.0.ground;
        failure.check()?;
        let mut pages = pages.write();
        let handle = books.create(size)?;
        let placed = pages.place(handle, size);
        let out_of_memory = DeviceError::OutOfMemory { call: "cuMemCreate", size };
        placed.ok_or(out_of_memory).inspect_err(|_| undone(books.release(handle)))?;
        Ok(handle)
    }

    fn release(&self, handle: Handle) -> Result<()> {
        let ground = &*self.0.ground;
        let mut pages = ground.pages.write();
        ground.books.release(handle)?;
        ground.retire(&mut pages, handle);
        Ok(())
    }

    fn map(&self, range: AddressRange, handle: Handle) -> Result<()> {
        let Ground { books, backing, pages, failure } = &*self.0.ground;
        failure.check()?;
        let pages = pages.write();
        books.map(range, handle)?;
        let placed = pages.get(handle).map_or(Ok(()), |extent| backing.map(range, extent.offset));
        placed.inspect_err(|_| undone(books.unmap(range)))?;
        Ok(())
    }

    fn set_access(&self, range: AddressRange) -> Result<()> {
        let Ground { books, backing, pages, failure } = &*self.0.ground;
        failure.check()?;
        let _pages = pages.write();
        let closed =
            || books.mappings_in(range).into_iter().filter(|&(at, _)| !books.can_access(at));
        let closed: Vec<_> = closed().collect();
        books.set_access(range)?;
        let opened = backing.open(range);
        opened.inspect_err(|_| {
            // The books open mappings and do not close them; mapped anew they are closed.
            for (at, handle) in closed {
                undone(books.unmap(at).and_then(|()| books.map(at, handle)));
            }
        })?;
        Ok(())
    }

    fn unmap(&self, range: AddressRange) -> Result<()> {
        let ground = &*self.0.ground;
        let mut pages = ground.pages.write();
        let mappings = ground.books.mappings_in(range);
        ground.books.unmap(range)?;
        undone(ground.backing.clear(range));
        for (_, handle) in mappings {
            ground.retire(&mut pages, handle);
        }
        Ok(())
    }
}

impl Ground {
    /// Gives a handle's memory back to the operating system, if it is neither held nor mapped.
    fn retire(&self, pages: &mut Pages, handle: Handle) {
        if self.books.is_used(handle) {
            return;
        }
        if let Some(extent) = pages.forget(handle) {
            undone(self.backing.punch(extent.offset, extent.size));
        }
    }
}

/// Notes that a step which takes something back failed. The call it belongs to stands as it is.
fn undone<T, E: std::fmt::Debug>(outcome: std::result::Result<T, E>) {
    if let Err(error) = outcome {
        tracing::error!(?error, "memory or addresses could not be taken back");
    }
}
