//! Where there is no device to be had, the answer says why and what to do.

use freeboard_device::{DeviceError, Memory};
use freeboard_device_cuda::{CudaDevice, CudaOptions, Driver, Unavailable};
use freeboard_fake_cuda::Fake;

use crate::common::{driver, lend, on, open};

#[test]
fn a_missing_library_is_named_with_advice() {
    // SAFETY: there is no such library.
    let error = unsafe { Driver::open("/nowhere/libcuda.so.1") }.unwrap_err();
    assert!(matches!(&error, Unavailable::NoLibrary { tried, .. } if tried.len() == 1));
    let words = error.to_string();
    assert!(words.contains("/nowhere/libcuda.so.1"), "{words}");
    assert!(words.contains("Install NVIDIA's driver"), "{words}");
}

#[test]
fn a_library_that_is_no_driver_is_refused() {
    // SAFETY: the C library has none of the driver's functions.
    let error = unsafe { Driver::open("libc.so.6") }.unwrap_err();
    assert!(matches!(error, Unavailable::MissingSymbol { symbol: "cuInit", .. }), "{error}");
}

#[test]
fn a_driver_without_a_needed_function_is_too_old() {
    for symbol in ["cuMemCreate", "cuStreamIsCapturing", "cuMemsetD16Async", "cuEventQuery"] {
        let fake = Fake::without(&[symbol]).unwrap();
        let error = open(&fake).unwrap_err();
        let words = error.to_string();
        assert!(words.contains(symbol) && words.contains("525"), "{words}");
        assert_eq!(fake.total_calls(), 0, "nothing is called in a driver that is refused");
    }
}

#[test]
fn functions_one_can_do_without_are_not_missed() {
    let names = ["cuStreamGetId", "cuEventElapsedTime", "cuGetErrorName", "cuGetErrorString"];
    let fake = Fake::without(&names).unwrap();
    let driver = open(&fake).unwrap();
    let device = CudaDevice::with_options(0, on(driver)).unwrap();
    fake.fail("cuMemGetInfo_v2", 1, 719, 1);
    let error = device.info().unwrap_err();
    assert!(error.to_string().contains("CUDA_ERROR_LAUNCH_FAILED"), "our words: {error}");
}

#[test]
fn a_driver_that_does_not_start_says_why() {
    let hints = [
        (100, "CUDA_VISIBLE_DEVICES"),
        (802, "fabricmanager"),
        (803, "reboot"),
        (999, "nvidia-smi"),
        (4242, "NVIDIA's list"),
    ];
    let fake = Fake::load().unwrap();
    for (code, hint) in hints {
        fake.fail("cuInit", 1, code, 1);
        let error = open(&fake).unwrap_err();
        let words = error.to_string();
        assert!(words.contains(hint) && words.contains(&format!("code {code}")), "{words}");
        let Unavailable::Start { call: "cuInit", reason } = error else { panic!("{words}") };
        assert_eq!(reason.code, code);
    }
    open(&fake).expect("and once it starts, it is there");
}

#[test]
fn a_machine_whose_driver_sees_no_gpu_says_so() {
    let fake = Fake::load().unwrap();
    fake.set_devices(0);
    let error = open(&fake).unwrap_err();
    assert!(error.to_string().contains("CUDA_ERROR_NO_DEVICE"), "{error}");
}

#[test]
fn ordinals_end_where_devices_do() {
    let (fake, driver) = driver();
    fake.set_devices(2);
    assert!(CudaDevice::with_options(1, on(driver)).is_ok());
    for ordinal in [2, u32::MAX] {
        let error = CudaDevice::with_options(ordinal, on(driver)).unwrap_err();
        assert_eq!(error, Unavailable::NoSuchDevice { ordinal, count: 2 });
    }
}

#[test]
fn a_device_without_virtual_memory_is_refused() {
    let (fake, driver) = driver();
    fake.set_attribute(0, 102, 0);
    let error = CudaDevice::with_options(0, on(driver)).unwrap_err();
    assert!(matches!(error, Unavailable::NoVirtualMemory { ordinal: 0, .. }), "{error}");
}

#[test]
fn sharing_and_peers_are_checked_at_the_start() {
    let (fake, driver) = driver();
    fake.set_devices(2);
    let peers = CudaOptions { peers: vec![1, 0, 1], ..on(driver) };
    assert!(CudaDevice::with_options(0, peers.clone()).is_ok());
    fake.set_peers(false);
    let error = CudaDevice::with_options(0, peers).unwrap_err();
    assert_eq!(error, Unavailable::NoPeer { ordinal: 0, peer: 1 });
    let missing = CudaOptions { peers: vec![7], ..on(driver) };
    let error = CudaDevice::with_options(0, missing).unwrap_err();
    assert_eq!(error, Unavailable::NoSuchDevice { ordinal: 7, count: 2 });

    fake.set_attribute(0, 103, 0);
    let exportable = CudaOptions { exportable: true, ..on(driver) };
    let error = CudaDevice::with_options(0, exportable).unwrap_err();
    assert_eq!(error, Unavailable::NoSharing { ordinal: 0 });
    assert_eq!(fake.live().contexts, 0, "a device that is refused holds nothing");
}

#[test]
fn a_failure_while_setting_up_holds_nothing() {
    let calls = [
        "cuDeviceGetCount",
        "cuDeviceGet",
        "cuDeviceGetAttribute",
        "cuMemGetAllocationGranularity",
        "cuDevicePrimaryCtxRetain",
    ];
    let (fake, driver) = driver();
    for call in calls {
        fake.fail(call, 1, 4242, 1);
        let error = CudaDevice::with_options(0, on(driver)).unwrap_err();
        assert!(matches!(error, Unavailable::Start { .. }), "{error}");
        assert_eq!(fake.live().contexts, 0, "{call}");
    }
    assert_eq!(fake.failures_hit(), 5);
}

#[test]
fn an_error_of_the_device_reads_as_one_sentence() {
    let (fake, device) = lend();
    fake.fail("cuMemGetInfo_v2", 1, 700, 1);
    let error = device.info().unwrap_err();
    assert!(matches!(error, DeviceError::Driver { code: 700, .. }));
    assert_eq!(
        error.to_string(),
        "cuMemGetInfo: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered; \
         run under compute-sanitizer; restart the process (code 700)"
    );
}

#[test]
fn cudarc_is_not_asked_where_it_would_find_no_driver_or_another() {
    // No copy of the fake driver answers to the driver's name.
    let (_, device) = lend();
    let error = device.cudarc().unwrap_err();
    let words = error.to_string();
    assert!(matches!(error, Unavailable::NoCudarc { .. } | Unavailable::OtherContext { .. }));
    assert!(words.contains("LD_LIBRARY_PATH"), "{words}");
}
