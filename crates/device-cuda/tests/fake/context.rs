//! The caller's context is left as it was found.

use std::thread;

use freeboard_device::{DeviceError, Memory, Order};
use freeboard_device_cuda::CudaDevice;
use freeboard_fake_cuda::Live;
use freeboard_units::Bytes;

use crate::common::{DEFAULT, driver, lend, on};

#[test]
fn a_thread_without_a_context_gets_one_for_each_call_only() {
    let (fake, device) = lend();
    for _ in 0..3 {
        device.info().unwrap();
    }
    assert_eq!(fake.calls("cuCtxPushCurrent_v2"), 3);
    assert_eq!(fake.calls("cuCtxPopCurrent_v2"), 3);
}

#[test]
fn two_devices_do_not_disturb_each_other() {
    let (fake, driver) = driver();
    fake.set_devices(2);
    let devices = [0, 1].map(|n| CudaDevice::with_options(n, on(driver)).unwrap());
    let first = devices[0].allocate(Bytes::mib(1)).unwrap();
    assert!(devices[1].free(first).is_err(), "it is not the other's");
    let second = devices[1].allocate(Bytes::mib(1)).unwrap();
    devices[0].free(first).unwrap();
    devices[1].free(second).unwrap();
    assert_eq!(devices[1].id().get(), 1);
}

#[test]
fn any_thread_may_call() {
    fn may_move<T: Clone + Send + Sync + 'static>(_: &T) {}
    let (_, device) = lend();
    may_move(&device);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let address = device.allocate(Bytes::kib(64)).unwrap();
                    let event = device.create_event().unwrap();
                    device.record(event, DEFAULT).unwrap();
                    device.wait(event).unwrap();
                    device.destroy_event(event).unwrap();
                    device.free(address).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_call_fails_where_the_context_cannot_be_made_current() {
    let (fake, device) = lend();
    for call in ["cuCtxGetCurrent", "cuCtxPushCurrent_v2"] {
        fake.fail(call, 1, 709, 1);
        let error = device.info().unwrap_err();
        assert!(matches!(error, DeviceError::Driver { code: 709, .. }), "{error}");
        assert!(device.info().is_ok());
    }
}

#[test]
fn the_last_clone_gives_everything_back() {
    let (fake, device) = lend();
    assert_eq!(fake.live().contexts, 1);
    let clone = device.clone();
    device.create_event().unwrap();
    device.create_stream().unwrap();
    drop(device);
    assert_eq!(fake.live().events, 1);
    drop(clone);
    assert_eq!(fake.live(), Live::default());
}

#[test]
fn a_device_goes_quietly_whatever_fails() {
    let (fake, device) = lend();
    device.create_event().unwrap();
    device.create_stream().unwrap();
    fake.fail_any(1, 4, u64::MAX);
    drop(device);
    assert!(fake.failures_hit() >= 4, "it tried");
}
