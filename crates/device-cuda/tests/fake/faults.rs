//! Every driver function that the device calls fails with every code there is: the error is typed,
//! nothing has changed, and the same call works the next time.

use std::thread;

use freeboard_device::{DeviceError, Memory, Order, Pattern, Result, Transfer};
use freeboard_device_cuda::{CODES, CudaDevice, CudaOptions, Unavailable, survey};
use freeboard_fake_cuda::Fake;
use freeboard_units::{AddressRange, Bytes};

use crate::common::{DEFAULT, PAGE, driver, get, give_back, lend_exportable, on, open, pages};
use crate::compute;

const MIB: Bytes = Bytes::mib(1);

/// All documented codes and two that no driver has.
pub(crate) fn codes() -> impl Iterator<Item = u32> {
    CODES.iter().map(|known| known.code).chain([4242, u32::MAX])
}

/// What a call's codes 1, 2 and 400 mean.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Its arguments are all the device's own.
    Own,
    /// Its arguments are the caller's.
    Given,
    /// It takes memory.
    Takes,
}
use Kind::{Given, Own, Takes};

/// One function that fails with one code.
pub(crate) struct Trial<'a> {
    pub(crate) fake: &'a Fake,
    pub(crate) device: &'a CudaDevice,
    pub(crate) function: &'static str,
    pub(crate) code: u32,
}

impl Trial<'_> {
    /// Does something that fails, changes nothing, and works when it is done again.
    pub(crate) fn of<T>(&self, operation: impl Fn() -> Result<T>) -> (DeviceError, T) {
        let before = self.fake.live();
        self.fake.fail(self.function, 1, self.code, 1);
        let Err(error) = operation() else {
            panic!("{} does not matter ({})", self.function, self.code)
        };
        assert_eq!(self.fake.failures_hit(), 1, "{}", self.function);
        self.fake.clear_failures();
        assert_eq!(self.fake.live(), before, "after {} answered {}", self.function, self.code);
        let Ok(done) = operation() else {
            panic!("{} broke the device ({})", self.function, self.code)
        };
        (error, done)
    }
}

type Scene = fn(&Trial<'_>) -> DeviceError;

const MEMORY: &[(&str, Kind, Scene)] = &[
    ("cuMemGetInfo_v2", Own, |t| t.of(|| t.device.info()).0),
    ("cuCtxGetCurrent", Own, |t| t.of(|| t.device.info()).0),
    ("cuCtxPushCurrent_v2", Own, |t| t.of(|| t.device.info()).0),
    ("cuThreadExchangeStreamCaptureMode", Own, |t| t.of(|| t.device.info()).0),
    ("cuMemAlloc_v2", Takes, |t| {
        let (error, address) = t.of(|| t.device.allocate(MIB));
        t.device.free(address).unwrap();
        error
    }),
    ("cuMemFree_v2", Given, |t| {
        let address = t.device.allocate(MIB).unwrap();
        t.of(|| t.device.free(address)).0
    }),
    ("cuMemAddressReserve", Given, |t| {
        let (error, range) = t.of(|| t.device.reserve(PAGE));
        t.device.unreserve(range).unwrap();
        error
    }),
    ("cuMemAddressFree", Given, |t| {
        let range = t.device.reserve(PAGE).unwrap();
        t.of(|| t.device.unreserve(range)).0
    }),
    ("cuMemCreate", Takes, |t| {
        let (error, handle) = t.of(|| t.device.create(PAGE));
        t.device.release(handle).unwrap();
        error
    }),
    ("cuMemRelease", Given, |t| {
        let handle = t.device.create(PAGE).unwrap();
        t.of(|| t.device.release(handle)).0
    }),
    ("cuMemMap", Given, |t| {
        let (range, handle) = (t.device.reserve(PAGE).unwrap(), t.device.create(PAGE).unwrap());
        let (error, ()) = t.of(|| t.device.map(range, handle));
        give_back(t.device, (range, handle));
        error
    }),
    ("cuMemSetAccess", Given, |t| {
        let made = pages(t.device, 1);
        let (error, ()) = t.of(|| t.device.set_access(made.0));
        give_back(t.device, made);
        error
    }),
    ("cuMemUnmap", Given, |t| {
        let (range, handle) = pages(t.device, 1);
        let (error, ()) = t.of(|| t.device.unmap(range));
        t.device.release(handle).unwrap();
        t.device.unreserve(range).unwrap();
        error
    }),
    ("cuMemExportToShareableHandle", Given, |t| {
        let handle = t.device.create(PAGE).unwrap();
        let (error, _) = t.of(|| t.device.export(handle));
        t.device.release(handle).unwrap();
        error
    }),
    ("cuMemImportFromShareableHandle", Given, |t| {
        let handle = t.device.create(PAGE).unwrap();
        let file = t.device.export(handle).unwrap();
        let (error, imported) = t.of(|| t.device.import(&file, PAGE));
        t.device.release(imported).unwrap();
        t.device.release(handle).unwrap();
        error
    }),
];

const ORDER: &[(&str, Kind, Scene)] = &[
    ("cuStreamCreate", Own, |t| {
        let (error, stream) = t.of(|| t.device.create_stream());
        t.device.destroy_stream(stream).unwrap();
        error
    }),
    ("cuStreamGetId", Given, |t| {
        let (error, stream) = t.of(|| t.device.create_stream());
        t.device.destroy_stream(stream).unwrap();
        error
    }),
    ("cuStreamDestroy_v2", Given, |t| {
        let stream = t.device.create_stream().unwrap();
        t.of(|| t.device.destroy_stream(stream)).0
    }),
    ("cuStreamSynchronize", Given, |t| t.of(|| t.device.synchronize_stream(DEFAULT)).0),
    ("cuStreamIsCapturing", Given, |t| t.of(|| t.device.is_capturing(DEFAULT)).0),
    ("cuStreamWaitEvent", Given, |t| {
        with_event(t, |event| t.of(|| t.device.stream_wait(DEFAULT, event)).0)
    }),
    ("cuEventCreate", Own, |t| {
        let (error, event) = t.of(|| t.device.create_event());
        t.device.destroy_event(event).unwrap();
        error
    }),
    ("cuEventDestroy_v2", Given, |t| {
        let event = t.device.create_event().unwrap();
        t.of(|| t.device.destroy_event(event)).0
    }),
    ("cuEventRecord", Given, |t| with_event(t, |event| t.of(|| t.device.record(event, DEFAULT)).0)),
    ("cuEventQuery", Given, |t| with_event(t, |event| t.of(|| t.device.is_done(event)).0)),
    ("cuEventSynchronize", Given, |t| with_event(t, |event| t.of(|| t.device.wait(event)).0)),
    ("cuEventElapsedTime", Given, |t| {
        let marks = [0; 2].map(|_| t.device.mark(DEFAULT).unwrap());
        t.of(|| marks[1].milliseconds_since(&marks[0])).0
    }),
];

fn with_event(
    t: &Trial<'_>,
    scene: impl Fn(freeboard_units::EventId) -> DeviceError,
) -> DeviceError {
    let event = t.device.create_event().unwrap();
    let error = scene(event);
    t.device.destroy_event(event).unwrap();
    error
}

/// A megabyte of the device.
fn with_memory(t: &Trial<'_>, scene: impl Fn(AddressRange) -> DeviceError) -> DeviceError {
    let range = AddressRange::new(t.device.allocate(MIB).unwrap(), MIB);
    let error = scene(range);
    t.device.free(range.start()).unwrap();
    error
}

fn fill(t: &Trial<'_>, pattern: Pattern) -> DeviceError {
    with_memory(t, |range| {
        // SAFETY: the range was allocated for this.
        t.of(|| unsafe { t.device.fill(range, pattern, DEFAULT) }).0
    })
}

const TRANSFER: &[(&str, Kind, Scene)] = &[
    ("cuMemcpyHtoDAsync_v2", Given, |t| {
        with_memory(t, |range| t.of(|| crate::common::put(t.device, range.start(), b"x")).0)
    }),
    ("cuMemcpyDtoHAsync_v2", Given, |t| {
        with_memory(t, |range| t.of(|| get(t.device, range.start(), 1)).0)
    }),
    ("cuMemcpyDtoDAsync_v2", Given, |t| {
        with_memory(t, |range| {
            let (to, from) = (range.start() + Bytes::kib(1), range.start());
            // SAFETY: both ends lie in what was allocated for this.
            t.of(|| unsafe { t.device.copy(to, from, Bytes::kib(1), DEFAULT) }).0
        })
    }),
    ("cuMemsetD8Async", Given, |t| fill(t, Pattern::U8(1))),
    ("cuMemsetD16Async", Given, |t| fill(t, Pattern::U16(1))),
    ("cuMemsetD32Async", Given, |t| fill(t, Pattern::U32(1))),
    ("cuMemHostAlloc", Takes, |t| {
        let (error, start) = t.of(|| t.device.pin(MIB));
        // SAFETY: nothing uses it.
        unsafe { t.device.unpin(start) }.unwrap();
        error
    }),
    ("cuMemFreeHost", Given, |t| {
        let start = t.device.pin(MIB).unwrap();
        // SAFETY: nothing uses it; what fails frees nothing.
        t.of(|| unsafe { t.device.unpin(start) }).0
    }),
];

/// What can fail before there is a device.
const START: &[&str] = &[
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceCanAccessPeer",
    "cuMemGetAllocationGranularity",
    "cuDevicePrimaryCtxRetain",
];
/// What only the survey asks; a device that does not tell is unusable in its report.
const SURVEY: &[&str] =
    &["cuDeviceGetName", "cuDeviceGetPCIBusId", "cuDeviceTotalMem_v2", "cuDeviceGetUuid_v2"];
/// What fails when a driver is opened.
const OPEN: &[&str] = &["cuInit", "cuDriverGetVersion"];
/// What is done on the way out, where a failure is only worth a warning, and words.
const QUIET: &[&str] =
    &["cuCtxPopCurrent_v2", "cuDevicePrimaryCtxRelease_v2", "cuGetErrorName", "cuGetErrorString"];

/// The typed error that a code must become.
#[track_caller]
pub(crate) fn expect(error: &DeviceError, function: &str, kind: Kind, code: u32) {
    let good = match (error, code) {
        (DeviceError::OutOfMemory { .. }, 2) => kind == Takes,
        (DeviceError::InvalidCall { .. }, 1 | 400) => kind != Own,
        (DeviceError::Driver { code: told, message, .. }, _) => {
            let ours = code == 2 && kind == Takes || [1, 400].contains(&code) && kind != Own;
            *told == code && !message.is_empty() && !ours
        }
        _ => false,
    };
    assert!(good, "{function} answered {code}: {error:?}");
    assert!(function.starts_with(error.call()) || error.call() == "cuMemsetAsync", "{error}");
}

#[test]
fn calls_of_a_device() {
    let (fake, device) = lend_exportable();
    for (function, kind, scene) in [MEMORY, ORDER, TRANSFER].concat() {
        for code in codes().filter(|&code| !(function == "cuEventQuery" && code == 600)) {
            let error = scene(&Trial { fake: &fake, device: &device, function, code });
            expect(&error, function, kind, code);
        }
    }
}

#[test]
fn calls_that_make_a_device() {
    let (fake, driver) = driver();
    fake.set_devices(2);
    let options = CudaOptions { peers: vec![1], ..on(driver) };
    for function in START {
        for code in codes() {
            fake.fail(function, 1, code, 1);
            match CudaDevice::with_options(0, options.clone()) {
                Err(Unavailable::Start { call, reason }) => {
                    assert!(function.starts_with(call) && reason.code == code, "{reason}");
                }
                other => panic!("{function} answered {code}: {other:?}"),
            }
            fake.clear_failures();
            assert_eq!(fake.live().contexts, 0, "{function}");
        }
    }
    assert!(CudaDevice::with_options(0, options).is_ok());
}

#[test]
fn calls_that_only_the_survey_makes() {
    let (fake, driver) = driver();
    for function in SURVEY.iter().chain(&START[1..3]) {
        for code in codes() {
            fake.fail(function, 1, code, 1);
            let found = survey(driver, true).unwrap();
            let words = found.devices[0].unusable.as_ref().expect(function);
            assert!(words.contains(&format!("code {code}")), "{words}");
            fake.clear_failures();
        }
    }
    fake.fail("cuDeviceGetCount", 1, 4242, 1);
    assert!(matches!(survey(driver, true), Err(Unavailable::Start { .. })));
    assert_eq!(survey(driver, true).unwrap().devices[0].unusable, None);
}

#[test]
fn calls_that_open_a_driver() {
    let fake = Fake::load().unwrap();
    for function in OPEN {
        for code in codes() {
            fake.fail(function, 1, code, 1);
            let error = open(&fake).unwrap_err();
            assert!(matches!(&error, Unavailable::Start { reason, .. } if reason.code == code));
            fake.clear_failures();
        }
    }
    assert!(open(&fake).is_ok());
}

#[test]
fn calls_on_the_way_out() {
    let (fake, driver) = driver();
    for function in QUIET {
        for code in codes() {
            // In a thread of its own: the context may stay current in it.
            let quiet = || {
                let device = CudaDevice::with_options(0, on(driver)).unwrap();
                fake.fail(function, 1, code, u64::MAX);
                assert!(device.info().is_ok());
                assert_ne!(driver.reason(code).name, "");
            };
            thread::scope(|scope| scope.spawn(quiet).join()).unwrap();
            assert!(fake.failures_hit() > 0, "{function}");
            fake.clear_failures();
        }
    }
}

#[test]
fn no_function_is_left_out() {
    let table = include_str!("../../src/driver.rs");
    let tried = [MEMORY, ORDER, TRANSFER].concat().into_iter().map(|(function, ..)| function);
    let tried: Vec<_> = tried
        .chain([START, SURVEY, OPEN, QUIET, &compute::CALLS].concat())
        .chain(["cuDeviceGetUuid"])
        .collect();
    let quoted = table.split('"').filter(|word| word.starts_with("cu") && word.len() > 5);
    let wanted: Vec<_> = quoted.filter(|word| table.contains(&format!("\"{word}\" fn("))).collect();
    assert!(wanted.len() > 40, "the table is where it was");
    for function in wanted {
        assert!(tried.contains(&function), "{function} is not tried");
    }
}
