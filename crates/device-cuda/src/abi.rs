//! The driver's structs and numbers, as NVIDIA documents them.

/// `CUmemAllocationProp`: memory on one device.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct AllocationProperties {
    kind: i32,
    handle_types: i32,
    location_kind: i32,
    device: i32,
    /// Windows only.
    security: usize,
    compression: u8,
    direct_rdma: u8,
    usage: u16,
    reserved: [u8; 4],
}

/// `CUmemAccessDesc`: which device may do what.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Access {
    location_kind: i32,
    device: i32,
    flags: i32,
}

const _: () = assert!(size_of::<AllocationProperties>() == 32);
const _: () = assert!(size_of::<Access>() == 12);

/// `CU_MEM_ALLOCATION_TYPE_PINNED`
const PINNED: i32 = 1;
/// `CU_MEM_LOCATION_TYPE_DEVICE`
const ON_DEVICE: i32 = 1;
/// `CU_MEM_ACCESS_FLAGS_PROT_READWRITE`
const READ_AND_WRITE: i32 = 3;
/// `CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR`
pub(crate) const FILE_DESCRIPTOR: i32 = 1;
/// `CU_MEM_ALLOC_GRANULARITY_MINIMUM`
pub(crate) const MINIMUM: i32 = 0;
/// `CU_STREAM_NON_BLOCKING`
pub(crate) const NON_BLOCKING: u32 = 1;
/// `CU_EVENT_DISABLE_TIMING`
pub(crate) const DISABLE_TIMING: u32 = 2;
/// `CU_MEMHOSTALLOC_PORTABLE`
pub(crate) const PORTABLE: u32 = 1;
/// `CU_STREAM_CAPTURE_MODE_RELAXED`
pub(crate) const RELAXED: i32 = 2;
/// `CU_STREAM_LEGACY` as a handle; the null handle is the same stream.
pub(crate) const LEGACY_STREAM: usize = 1;
/// `CU_STREAM_PER_THREAD` as a handle: another stream in every thread.
pub(crate) const PER_THREAD_STREAM: usize = 2;

/// Attributes of a device (`CU_DEVICE_ATTRIBUTE_*`).
pub(crate) mod attribute {
    pub(crate) const MAJOR: i32 = 75;
    pub(crate) const MINOR: i32 = 76;
    pub(crate) const VIRTUAL_MEMORY: i32 = 102;
    pub(crate) const FILE_DESCRIPTORS: i32 = 103;
    pub(crate) const MEMORY_POOLS: i32 = 115;
}

impl AllocationProperties {
    pub(crate) const fn new(device: i32, exportable: bool) -> Self {
        Self {
            kind: PINNED,
            handle_types: if exportable { FILE_DESCRIPTOR } else { 0 },
            location_kind: ON_DEVICE,
            device,
            security: 0,
            compression: 0,
            direct_rdma: 0,
            usage: 0,
            reserved: [0; 4],
        }
    }
}

impl Access {
    /// Reading and writing by one device.
    pub(crate) const fn full(device: i32) -> Self {
        Self { location_kind: ON_DEVICE, device, flags: READ_AND_WRITE }
    }
}
