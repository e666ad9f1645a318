//! [`Memory`]: physical bytes, address ranges, and which lies under which.

use std::sync::Arc;

use freeboard_units::{Address, AddressRange, Bytes, DeviceId};

use crate::Result;

/// Physical memory without an address, made by [`Memory::create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(u64);

impl Handle {
    /// The handle with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The bare number, as a driver takes it.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// How much memory a device has, as it counts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryInfo {
    /// Bytes that a request could get now.
    pub free: Bytes,
    /// Bytes the device has.
    pub total: Bytes,
}

/// Memory of a device: whole allocations, or pages mapped where one wants them.
pub trait Memory {
    /// Which device this is.
    fn id(&self) -> DeviceId;

    /// What is free and what there is, in bytes (`cudaMemGetInfo`).
    ///
    /// # Errors
    /// When the driver cannot tell.
    fn info(&self) -> Result<MemoryInfo>;

    /// The unit of the virtual-memory calls below, in bytes; 2 MiB on today's GPUs.
    fn granularity(&self) -> Bytes;

    /// A whole allocation of `size` bytes at an address of the device's choice (`cudaMalloc`).
    ///
    /// # Errors
    /// [`OutOfMemory`](crate::DeviceError::OutOfMemory) where too little is free.
    fn allocate(&self, size: Bytes) -> Result<Address>;

    /// Gives a whole allocation back (`cudaFree`). Waits for all work on the device.
    ///
    /// # Errors
    /// When nothing was allocated at `address`.
    fn free(&self, address: Address) -> Result<()>;

    /// A range of addresses with nothing behind it (`cuMemAddressReserve`).
    ///
    /// # Errors
    /// When no such range is left.
    fn reserve(&self, size: Bytes) -> Result<AddressRange>;

    /// Gives a range of addresses back (`cuMemAddressFree`). Nothing may be mapped in it.
    ///
    /// # Errors
    /// When `range` is not exactly a reserved one, or something is mapped in it.
    fn unreserve(&self, range: AddressRange) -> Result<()>;

    /// Physical memory of `size` bytes, without an address (`cuMemCreate`).
    ///
    /// # Errors
    /// [`OutOfMemory`](crate::DeviceError::OutOfMemory) where too little is free.
    fn create(&self, size: Bytes) -> Result<Handle>;

    /// Gives up a handle (`cuMemRelease`). Its memory is free again once nothing maps it.
    ///
    /// # Errors
    /// When there is no such handle.
    fn release(&self, handle: Handle) -> Result<()>;

    /// Puts all of a handle's memory at `range`, which has the handle's size (`cuMemMap`).
    ///
    /// # Errors
    /// When `range` is not reserved, or something is mapped in it already.
    fn map(&self, range: AddressRange, handle: Handle) -> Result<()>;

    /// Lets the device read and write a mapped range (`cuMemSetAccess`).
    ///
    /// # Errors
    /// When part of `range` is not mapped.
    fn set_access(&self, range: AddressRange) -> Result<()>;

    /// Takes whole mappings out of `range` (`cuMemUnmap`). Does not wait for work on the device.
    ///
    /// # Errors
    /// When `range` is not made of whole mappings.
    fn unmap(&self, range: AddressRange) -> Result<()>;
}

macro_rules! forward {
    ($($pointer:tt)*) => {
        impl<D: Memory + ?Sized> Memory for $($pointer)* {
            fn id(&self) -> DeviceId {
                (**self).id()
            }
            fn info(&self) -> Result<MemoryInfo> {
                (**self).info()
            }
            fn granularity(&self) -> Bytes {
                (**self).granularity()
            }
            fn allocate(&self, size: Bytes) -> Result<Address> {
                (**self).allocate(size)
            }
            fn free(&self, address: Address) -> Result<()> {
                (**self).free(address)
            }
            fn reserve(&self, size: Bytes) -> Result<AddressRange> {
                (**self).reserve(size)
            }
            fn unreserve(&self, range: AddressRange) -> Result<()> {
                (**self).unreserve(range)
            }
            fn create(&self, size: Bytes) -> Result<Handle> {
                (**self).create(size)
            }
            fn release(&self, handle: Handle) -> Result<()> {
                (**self).release(handle)
            }
            fn map(&self, range: AddressRange, handle: Handle) -> Result<()> {
                (**self).map(range, handle)
            }
            fn set_access(&self, range: AddressRange) -> Result<()> {
                (**self).set_access(range)
            }
            fn unmap(&self, range: AddressRange) -> Result<()> {
                (**self).unmap(range)
            }
        }
    };
}

forward!(&D);
forward!(Arc<D>);
