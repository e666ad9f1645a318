//! Kernels: loaded once, found by name, launched; whatever fails, the next launch works.

use freeboard_device::{Compute, DeviceError, Grid, Kernel, Memory, Module, Order, Result};
use freeboard_device_cuda::CudaDevice;
use freeboard_fake_cuda::Live;
use freeboard_units::{Address, Bytes, StreamId};

use crate::common::{DEFAULT, driver, get, give_back, lend, on, pages, put, refused};
use crate::faults::{Kind, Trial, codes, expect};

static SCALER: Module =
    Module { name: "scaler", ptx: include_str!("../../../grad-scaler/src/kernels/scaler.ptx") };
static ZERO: Module = Module { name: "zero", ptx: "a\0b" };

const fn kernel(module: &'static Module, name: &'static str) -> Kernel {
    /// These tests are of a GPU.
    unsafe fn nothing(_: &[u64]) {}
    Kernel { name, module, host: nothing }
}

/// Its parameter has nine words. Mode 1 sets the scale of a state, and 1 over it.
static UPDATE: Kernel = kernel(&SCALER, "freeboard_update_scale");
static UNKNOWN: Kernel = kernel(&SCALER, "no_such_kernel");
static ZERO_NAME: Kernel = kernel(&SCALER, "a\0b");
static ZERO_TEXT: Kernel = kernel(&ZERO, "freeboard_update_scale");

const ONE: Grid = Grid { blocks: 1, threads: 1 };

/// What a device cannot be without, on the way from a kernel to its launch.
pub(crate) const CALLS: [&str; 4] =
    ["cuModuleLoadData", "cuModuleGetFunction", "cuLaunchKernel", "cuModuleUnload"];

fn launch(device: &CudaDevice, kernel: &'static Kernel, state: Address) -> Result<()> {
    launch_on(device, kernel, state, ONE, DEFAULT)
}

/// Sets the scale to 4.
fn launch_on(
    device: &CudaDevice,
    kernel: &'static Kernel,
    state: Address,
    grid: Grid,
    stream: StreamId,
) -> Result<()> {
    let parameter = [state.get(), 0, 1 << 32, u64::from(4_f32.to_bits()), 0, 0, 0, 0, 0];
    // SAFETY: the kernel takes nine words, and touches a state, which the fake driver looks for.
    unsafe { device.launch(kernel, grid, &parameter, stream) }
}

/// Launches, and looks at what the kernel wrote.
#[track_caller]
fn works(device: &CudaDevice, state: Address) {
    put(device, state, &[0; 64]).unwrap();
    launch(device, &UPDATE, state).unwrap();
    let written = [4_f32, 0.25].map(f32::to_le_bytes).concat();
    assert_eq!(get(device, state, 8).unwrap(), written);
}

#[test]
fn a_module_is_loaded_once_and_unloaded_with_the_device() {
    let (fake, device) = lend();
    let pages = pages(&device, 1);
    assert!(!device.sees_process_memory());
    for _ in 0..3 {
        device.load(&SCALER).unwrap();
        works(&device, pages.0.start());
    }
    for call in &CALLS[..2] {
        assert_eq!(fake.calls(call), 1, "{call}");
    }
    assert_eq!(fake.live().modules, 1);
    give_back(&device, pages);
    let other = device.clone();
    drop(device);
    assert_eq!(fake.live().modules, 1, "one of two is left");
    drop(other);
    assert_eq!(fake.live(), Live::default());
}

#[test]
fn what_is_no_kernel_or_no_stream_is_refused_and_the_next_launch_works() {
    let (fake, device) = lend();
    let pages = pages(&device, 1);
    let state = pages.0.start();
    let error = launch(&device, &UNKNOWN, state).unwrap_err();
    assert!(matches!(&error, DeviceError::Driver { code: 500, .. }), "{error}");
    refused(launch(&device, &ZERO_NAME, state), "holds a zero byte");
    refused(launch(&device, &ZERO_TEXT, state), "holds a zero byte");
    refused(device.load(&ZERO), "holds a zero byte");
    for grid in
        [Grid { blocks: 0, ..ONE }, Grid { threads: 0, ..ONE }, Grid { threads: 1025, ..ONE }]
    {
        refused(launch_on(&device, &UPDATE, state, grid, DEFAULT), "CUDA_ERROR_INVALID_VALUE");
    }
    let gone = device.create_stream().unwrap();
    device.destroy_stream(gone).unwrap();
    refused(launch_on(&device, &UPDATE, state, ONE, gone), "stream");
    works(&device, state);
    give_back(&device, pages);
    drop(device);
    assert_eq!(fake.live(), Live::default());
}

#[test]
fn a_kernel_that_leaves_its_memory_is_an_illegal_address() {
    let (_, device) = lend();
    let pages = pages(&device, 1);
    let last = pages.0.start() + pages.0.size();
    for (address, wanted) in
        [(last, 700), (last + Bytes::mib(64), 700), (pages.0.start() + Bytes::new(4), 716)]
    {
        let error = launch(&device, &UPDATE, address).unwrap_err();
        assert!(matches!(error, DeviceError::Driver { code, .. } if code == wanted), "{error}");
    }
    works(&device, pages.0.start());
    give_back(&device, pages);
}

#[test]
fn each_call_on_the_way_fails_with_every_code() {
    let (fake, driver) = driver();
    for code in codes() {
        for (function, kind) in CALLS[..3].iter().zip([Kind::Own, Kind::Own, Kind::Given]) {
            let device = CudaDevice::with_options(0, on(driver)).unwrap();
            let state = device.allocate(Bytes::mib(1)).unwrap();
            if *function != CALLS[0] {
                device.load(&SCALER).unwrap();
            }
            let trial = Trial { fake: &fake, device: &device, function, code };
            let (error, ()) = trial.of(|| launch(&device, &UPDATE, state));
            expect(&error, function, kind, code);
            works(&device, state);
            device.free(state).unwrap();
            drop(device);
            assert_eq!(fake.live(), Live::default());
        }
    }
}

#[test]
fn a_module_that_cannot_be_unloaded_holds_nothing_else_up() {
    let (fake, driver) = driver();
    for code in codes() {
        let device = CudaDevice::with_options(0, on(driver)).unwrap();
        device.load(&SCALER).unwrap();
        fake.fail(CALLS[3], 1, code, 1);
        drop(device);
        assert_eq!(fake.failures_hit(), 1);
        fake.clear_failures();
    }
    let left = fake.live().modules;
    assert_eq!(fake.live(), Live { modules: left, ..Live::default() });
}

#[test]
fn whichever_driver_call_fails_nothing_leaks_and_the_next_launch_works() {
    let (fake, driver) = driver();
    let mut failed = 0;
    for n in 1.. {
        let device = CudaDevice::with_options(0, on(driver)).unwrap();
        let state = device.allocate(Bytes::mib(1)).unwrap();
        fake.fail_any(n, 719, 1);
        let stream = device.create_stream();
        let done = device.load(&SCALER).and_then(|()| {
            let stream = stream.as_ref().copied().unwrap_or(DEFAULT);
            launch_on(&device, &UPDATE, state, ONE, stream)?;
            device.synchronize_stream(stream)
        });
        let hit = fake.failures_hit();
        fake.clear_failures();
        failed += u64::from(done.is_err());
        works(&device, state);
        device.free(state).unwrap();
        drop(device);
        assert_eq!(fake.live(), Live::default(), "call {n}");
        if hit == 0 {
            break;
        }
    }
    assert!(failed > 5, "{failed} calls are too few to show anything");
}
