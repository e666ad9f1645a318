//! The fake driver refuses what the real one refuses: its functions are called as C would.
#![allow(unsafe_code, reason = "the driver's functions are C functions")]
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

use std::ffi::c_void;
use std::ptr;

use freeboard_fake_cuda::{Fake, Live};
use libloading::Library;

const PAGE: usize = 2 << 20;
/// `CUmemAllocationProp` for device 0.
const PROPERTIES: [i32; 8] = [1, 0, 1, 0, 0, 0, 0, 0];
/// `CUmemAccessDesc`: device 0 may read and write.
const ACCESS: [i32; 3] = [1, 0, 3];

/// A copy of the driver and its functions by name.
struct Raw {
    fake: Fake,
    library: Library,
}

/// Calls a driver function with these arguments.
macro_rules! call {
    ($raw:expr, $name:ident($($argument:expr => $type:ty),*)) => {{
        let name = stringify!($name).as_bytes();
        // SAFETY: the function has these arguments, as NVIDIA documents it.
        let function = unsafe { $raw.library.get::<unsafe extern "C" fn($($type),*) -> u32>(name) };
        // SAFETY: pointers are to locals of the right type, or null to be refused.
        unsafe { function.unwrap()($($argument),*) }
    }};
}

impl Raw {
    fn new() -> Self {
        let fake = Fake::load().unwrap();
        // SAFETY: the fake driver does nothing when it is loaded.
        let library = unsafe { Library::new(fake.path()) }.unwrap();
        Self { fake, library }
    }

    /// Started, with the primary context of device 0 current.
    fn started() -> Self {
        let raw = Self::new();
        let mut context = 0;
        assert_eq!(call!(raw, cuInit(0 => u32)), 0);
        let retained =
            call!(raw, cuDevicePrimaryCtxRetain(&raw mut context => *mut usize, 0 => i32));
        assert_eq!(retained, 0);
        assert_eq!(call!(raw, cuCtxSetCurrent(context => usize)), 0);
        raw
    }

    fn reserve(&self, size: usize) -> Result<u64, u32> {
        let mut start = 0;
        let code = call!(self, cuMemAddressReserve(
            &raw mut start => *mut u64, size => usize, 0 => usize, 0 => u64, 0 => u64));
        if code == 0 { Ok(start) } else { Err(code) }
    }

    fn create(&self, size: usize) -> Result<u64, u32> {
        let mut handle = 0;
        let code = call!(self, cuMemCreate(
            &raw mut handle => *mut u64, size => usize, PROPERTIES.as_ptr() => *const i32, 0 => u64));
        if code == 0 { Ok(handle) } else { Err(code) }
    }

    fn map(&self, start: u64, size: usize, handle: u64) -> u32 {
        call!(self, cuMemMap(
            start => u64, size => usize, 0 => usize, handle => u64, 0 => u64))
    }

    fn open(&self, start: u64, size: usize) -> u32 {
        call!(self, cuMemSetAccess(
            start => u64, size => usize, ACCESS.as_ptr() => *const i32, 1 => usize))
    }

    fn unmap(&self, start: u64, size: usize) -> u32 {
        call!(self, cuMemUnmap(start => u64, size => usize))
    }
}

#[test]
fn nothing_works_before_the_start() {
    let raw = Raw::new();
    let mut count = 0;
    assert_eq!(call!(raw, cuDeviceGetCount(&raw mut count => *mut i32)), 3);
    assert_eq!(call!(raw, cuInit(1 => u32)), 1);
    assert_eq!(call!(raw, cuInit(0 => u32)), 0);
    assert_eq!(call!(raw, cuDeviceGetCount(&raw mut count => *mut i32)), 0);
    assert_eq!(count, 1);
    assert_eq!(call!(raw, cuDeviceGetCount(ptr::null_mut() => *mut i32)), 1, "a null pointer");
    assert_eq!((raw.fake.calls("cuDeviceGetCount"), raw.fake.total_calls()), (3, 5));
    raw.fake.reset_counters();
    assert_eq!(raw.fake.total_calls(), 0);
}

#[test]
fn calls_that_need_a_context_say_so() {
    let raw = Raw::started();
    let (mut address, mut free, mut total) = (0, 0, 0);
    assert_eq!(call!(raw, cuCtxSetCurrent(0 => usize)), 0);
    assert_eq!(call!(raw, cuMemAlloc_v2(&raw mut address => *mut u64, 512 => usize)), 201);
    let info =
        call!(raw, cuMemGetInfo_v2(&raw mut free => *mut usize, &raw mut total => *mut usize));
    assert_eq!(info, 201);
    assert_eq!(call!(raw, cuCtxPushCurrent_v2(12345 => usize)), 201, "no such context");
    assert_eq!(call!(raw, cuCtxPopCurrent_v2(ptr::null_mut() => *mut usize)), 201);
    assert_eq!(call!(raw, cuDevicePrimaryCtxRelease_v2(0 => i32)), 0);
    assert_eq!(call!(raw, cuDevicePrimaryCtxRelease_v2(0 => i32)), 201, "released once too often");
    assert_eq!(call!(raw, cuDevicePrimaryCtxRelease_v2(1 => i32)), 101);
}

#[test]
fn pages_are_mapped_once_whole_and_within_a_reservation() {
    let raw = Raw::started();
    assert_eq!(raw.reserve(PAGE + 1), Err(1));
    assert_eq!(raw.create(0), Err(1));
    let start = raw.reserve(4 * PAGE).unwrap();
    let (one, two) = (raw.create(PAGE).unwrap(), raw.create(2 * PAGE).unwrap());
    assert_eq!(raw.map(start, PAGE, two), 1, "part of a handle");
    assert_eq!(raw.map(start + 3 * PAGE as u64, 2 * PAGE, two), 1, "past the end");
    assert_eq!(raw.map(start + 4096, PAGE, one), 1, "not at a page");
    assert_eq!(raw.map(start, PAGE, 1), 1, "no handle");
    assert_eq!(raw.map(start + PAGE as u64, 2 * PAGE, two), 0);
    assert_eq!(raw.map(start + PAGE as u64, 2 * PAGE, two), 1, "mapped already");
    assert_eq!(raw.map(start + 2 * PAGE as u64, PAGE, one), 1, "mapped already");
    assert_eq!(raw.map(start, PAGE, one), 0);
    assert_eq!(raw.open(start, 2 * PAGE), 1, "ends within a mapping");
    assert_eq!(raw.unmap(start + PAGE as u64, PAGE), 1, "part of a mapping");
    assert_eq!(raw.open(start, 4 * PAGE), 1, "a gap");
    assert_eq!(raw.open(start, 3 * PAGE), 0);
    assert_eq!(call!(raw, cuMemAddressFree(start => u64, 4 * PAGE => usize)), 1, "mapped still");
    assert_eq!(raw.unmap(start, 3 * PAGE), 0);
    assert_eq!(call!(raw, cuMemAddressFree(start => u64, PAGE => usize)), 1, "part of it");
    assert_eq!(call!(raw, cuMemAddressFree(start => u64, 4 * PAGE => usize)), 0);
    for handle in [one, two] {
        assert_eq!(call!(raw, cuMemRelease(handle => u64)), 0);
        assert_eq!(call!(raw, cuMemRelease(handle => u64)), 1);
    }
    assert_eq!(raw.fake.live(), Live { contexts: 1, ..Live::default() });
}

#[test]
fn capacity_is_counted_until_the_last_use() {
    let raw = Raw::started();
    raw.fake.set_capacity(3 * PAGE as u64);
    let handle = raw.create(2 * PAGE).unwrap();
    assert_eq!(raw.create(2 * PAGE), Err(2));
    let start = raw.reserve(2 * PAGE).unwrap();
    assert_eq!(raw.map(start, 2 * PAGE, handle), 0);
    assert_eq!(call!(raw, cuMemRelease(handle => u64)), 0);
    let mut address = 0;
    let ask = |address: *mut u64| call!(raw, cuMemAlloc_v2(address => *mut u64, 2 * PAGE => usize));
    assert_eq!(ask(&raw mut address), 2);
    assert_eq!(raw.unmap(start, 2 * PAGE), 0);
    assert_eq!(ask(&raw mut address), 0);
    assert_eq!(call!(raw, cuMemFreeAsync(address => u64, 0 => usize)), 1, "not made in order");
    assert_eq!(call!(raw, cuMemFree_v2(address + 512 => u64)), 1);
    assert_eq!(call!(raw, cuMemFree_v2(address => u64)), 0);
    assert_eq!(call!(raw, cuMemFree_v2(address => u64)), 1);
}

#[test]
fn handles_of_streams_and_events_are_checked() {
    let raw = Raw::started();
    let (mut stream, mut event, mut id) = (0, 0, 0);
    assert_eq!(call!(raw, cuEventQuery(0x77 => usize)), 400);
    assert_eq!(call!(raw, cuStreamSynchronize(0x77 => usize)), 400);
    assert_eq!(call!(raw, cuStreamDestroy_v2(0 => usize)), 400);
    assert_eq!(call!(raw, cuStreamCreate(&raw mut stream => *mut usize, 1 => u32)), 0);
    assert_eq!(call!(raw, cuStreamGetId(stream => usize, &raw mut id => *mut u64)), 0);
    assert_eq!(call!(raw, cuEventCreate(&raw mut event => *mut usize, 2 => u32)), 0);
    assert_eq!(call!(raw, cuEventRecord(event => usize, 0x77 => usize)), 400);
    assert_eq!(call!(raw, cuEventRecord(event => usize, stream => usize)), 0);
    assert_eq!(call!(raw, cuStreamDestroy_v2(stream => usize)), 0);
    assert_eq!(call!(raw, cuStreamDestroy_v2(stream => usize)), 400);
    assert_eq!(call!(raw, cuEventDestroy_v2(event => usize)), 0);
    assert_eq!(call!(raw, cuEventDestroy_v2(event => usize)), 400);
}

#[test]
fn kernels_are_known_by_name_and_touch_only_what_is_open() {
    let raw = Raw::started();
    let (mut module, mut function, image) = (0, 0, c".visible .entry freeboard_scale(");
    let image = image.as_ptr().cast::<c_void>();
    let loaded =
        call!(raw, cuModuleLoadData(&raw mut module => *mut usize, image => *const c_void));
    assert_eq!(loaded, 0);
    let mut find = |name: &std::ffi::CStr| {
        let function = &raw mut function;
        call!(raw, cuModuleGetFunction(
            function => *mut usize, module => usize, name.as_ptr() => *const std::ffi::c_char))
    };
    assert_eq!(find(c"unheard_of"), 500);
    assert_eq!(find(c"freeboard_touch"), 500, "of another module");
    assert_eq!(find(c"freeboard_scale"), 0);
    let mut start = 0_u64;
    assert_eq!(call!(raw, cuMemAlloc_v2(&raw mut start => *mut u64, 16 => usize)), 0);
    let floats = [1.0_f32, 2.0, 3.0, 4.0];
    assert_eq!(
        call!(raw, cuMemcpyHtoD_v2(start => u64, floats.as_ptr() => *const f32, 16 => usize)),
        0
    );
    let launch = |count: u64, factor: f32| {
        let arguments = [
            (&raw const start).cast::<c_void>(),
            (&raw const count).cast(),
            (&raw const factor).cast(),
        ];
        call!(raw, cuLaunchKernel(
            function => usize, 1 => u32, 1 => u32, 1 => u32, 32 => u32, 1 => u32, 1 => u32,
            0 => u32, 0 => usize, arguments.as_ptr() => *const *const c_void, 0 => usize))
    };
    assert_eq!(launch(5, 2.0), 700, "past the end");
    assert_eq!(launch(4, 2.0), 0);
    let mut back = [0.0_f32; 4];
    assert_eq!(
        call!(raw, cuMemcpyDtoH_v2(back.as_mut_ptr() => *mut f32, start => u64, 16 => usize)),
        0
    );
    assert_eq!(back.map(f32::to_bits), [2.0_f32, 4.0, 6.0, 8.0].map(f32::to_bits));
}

#[test]
fn failures_come_when_they_are_planned() {
    let raw = Raw::started();
    raw.fake.fail("cuMemRelease", 2, 4242, 2);
    let released: Vec<u32> = (0..4)
        .map(|_| {
            let handle = raw.create(PAGE).unwrap();
            call!(raw, cuMemRelease(handle => u64))
        })
        .collect();
    assert_eq!(released, [0, 4242, 4242, 0]);
    assert_eq!((raw.fake.failures_hit(), raw.fake.live().handles), (2, 2));
    raw.fake.clear_failures();
    raw.fake.fail_any(3, 9, 1);
    assert!(raw.create(PAGE).is_ok() && raw.create(PAGE).is_ok());
    assert_eq!(raw.create(PAGE), Err(9));
    assert!(Fake::without(&["cuNoSuchFunction"]).is_err());
}
