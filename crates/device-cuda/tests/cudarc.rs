//! This crate and cudarc side by side, on one driver: the fake one, which answers to the driver's
//! name in this process. The tests take turns.
#![allow(unsafe_code, reason = "launches and bare addresses are the program's responsibility")]
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

use std::sync::Arc;

use cudarc::driver::sys::CUstreamCaptureMode;
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use freeboard_allocator::{CachingAllocator, Config};
use freeboard_device::{DeviceError, Memory, Order};
use freeboard_device_cuda::{CudaDevice, CudaOptions, Driver, Unavailable};
use freeboard_fake_cuda::{Fake, Live};
use freeboard_units::{Address, AddressRange, Bytes, StreamId};
use parking_lot::{Mutex, MutexGuard};

const PTX: &str = include_str!("../../../tests/gpu/kernels.ptx");

/// How a device on this driver is asked for.
fn on(fake: &Fake) -> CudaOptions {
    // SAFETY: the fake driver has the real one's functions, with the same meanings.
    let driver = unsafe { Driver::open(fake.path()) }.unwrap();
    CudaOptions { driver: Some(driver), ..CudaOptions::default() }
}

/// The driver that both find, for one test at a time.
fn turn() -> (&'static Fake, CudaOptions, MutexGuard<'static, ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock();
    let fake = Fake::shared().unwrap();
    fake.clear_failures();
    (fake, on(fake), turn)
}

/// A cudarc slice over memory that is not cudarc's: it must be leaked, not dropped.
fn view(stream: &Arc<CudaStream>, address: Address, count: usize) -> CudaSlice<f32> {
    // SAFETY: the caller leaks the slice, and its memory is that of `count` floats.
    unsafe { stream.upgrade_device_ptr(address.get(), count) }
}

/// Two mapped pages.
fn pages(device: &CudaDevice) -> AddressRange {
    let range = device.reserve(Bytes::mib(4)).unwrap();
    let handle = device.create(range.size()).unwrap();
    device.map(range, handle).unwrap();
    device.release(handle).unwrap();
    device.set_access(range).unwrap();
    range
}

#[test]
fn the_safe_layer_of_cudarc_works_on_the_fake_driver() {
    let (fake, _, _turn) = turn();
    assert_eq!(CudaContext::device_count().unwrap(), 1);
    let context = CudaContext::new(0).unwrap();
    assert_eq!(context.name().unwrap(), "Freeboard fake GPU");
    assert_eq!(context.compute_capability().unwrap(), (9, 0));
    assert_eq!(context.total_mem().unwrap(), context.mem_get_info().unwrap().1);
    assert!(context.has_async_alloc());
    assert_ne!(context.uuid().unwrap().bytes, [0; 16]);
    for stream in [context.default_stream(), context.new_stream().unwrap()] {
        let data = stream.clone_htod(&[1_u32, 2, 3, 4]).unwrap();
        let mut copy = stream.alloc_zeros::<u32>(4).unwrap();
        assert_eq!(stream.clone_dtoh(&copy).unwrap(), [0; 4]);
        stream.memcpy_dtod(&data, &mut copy).unwrap();
        assert_eq!(stream.clone_dtoh(&copy).unwrap(), [1, 2, 3, 4]);
        let event = stream.record_event(None).unwrap();
        assert!(event.is_complete());
        event.synchronize().unwrap();
        stream.synchronize().unwrap();
    }
    drop(context);
    assert_eq!(fake.live(), Live::default());
}

#[test]
fn both_have_the_same_context() {
    let (fake, options, _turn) = turn();
    let context = CudaContext::new(0).unwrap();
    let device = CudaDevice::from_cudarc_with(&context, options.clone()).unwrap();
    assert!(Arc::ptr_eq(&device.cudarc().unwrap(), &context));

    let other = CudaDevice::with_options(0, options).unwrap();
    let made = other.cudarc().unwrap();
    assert_eq!(made.cu_ctx(), context.cu_ctx());
    assert!(Arc::ptr_eq(&other.clone().cudarc().unwrap(), &made), "made once");
    drop((context, device, other, made));
    assert_eq!(fake.live(), Live::default());
}

#[test]
fn the_context_of_another_driver_is_refused() {
    let (_, _, _turn) = turn();
    let copy = Fake::load().unwrap();
    let options = on(&copy);
    let context = CudaContext::new(0).unwrap();
    let error = CudaDevice::from_cudarc_with(&context, options.clone()).unwrap_err();
    assert!(matches!(error, Unavailable::OtherContext { ordinal: 0, .. }), "{error}");
    let device = CudaDevice::with_options(0, options).unwrap();
    let error = device.cudarc().unwrap_err();
    assert!(matches!(error, Unavailable::OtherContext { .. }), "{error}");
    assert!(error.to_string().contains("LD_LIBRARY_PATH"), "{error}");
}

#[test]
fn a_failure_of_cudarc_is_an_answer() {
    let (fake, options, _turn) = turn();
    let device = CudaDevice::with_options(0, options).unwrap();
    fake.fail("cuDevicePrimaryCtxRetain", 1, 999, 1);
    let error = device.cudarc().unwrap_err();
    assert!(matches!(error, Unavailable::NoCudarc { .. }), "{error}");
    assert!(device.cudarc().is_ok());
}

#[test]
fn cudarc_copies_into_our_pages() {
    let (_, options, _turn) = turn();
    let context = CudaContext::new(0).unwrap();
    let device = CudaDevice::from_cudarc_with(&context, options).unwrap();
    let range = pages(&device);
    let stream = context.default_stream();
    let mut slice = view(&stream, range.start() + Bytes::mib(2), 3);
    stream.memcpy_htod(&[1.0, 2.0, 4.0], &mut slice).unwrap();
    assert_eq!(stream.clone_dtoh(&slice).unwrap(), [1.0, 2.0, 4.0]);
    let _ = slice.leak();
    device.unmap(range).unwrap();
    device.unreserve(range).unwrap();
}

#[test]
fn cudarc_launches_kernels_on_our_allocations() {
    let (_, options, _turn) = turn();
    let device = CudaDevice::with_options(0, options).unwrap();
    let context = device.cudarc().unwrap();
    let stream = context.new_stream().unwrap();
    let module = context.load_module(Ptx::from_src(PTX)).unwrap();
    let number = device.stream_of(&stream).unwrap();
    let allocator = CachingAllocator::new(device, Config::default()).unwrap();
    let words = allocator.allocate(Bytes::kib(4), number).unwrap();
    let counter = allocator.allocate(Bytes::new(4), number).unwrap();

    let (start, count) = (words.address().get(), 1024_u64);
    let config = LaunchConfig::for_num_elems(1024);
    let launch = |name: &str, value: u32, found: Option<u64>| {
        let function = module.load_function(name).unwrap();
        let mut launch = stream.launch_builder(&function);
        launch.arg(&start).arg(&count).arg(&value);
        if let Some(found) = &found {
            launch.arg(found);
        }
        // SAFETY: the kernel takes these arguments, and both addresses are allocated.
        unsafe { launch.launch(config) }.unwrap();
    };
    let found = counter.address();
    let mut slice = view(&stream, found, 1);
    stream.memset_zeros(&mut slice).unwrap();
    launch("freeboard_touch", 7, None);
    launch("freeboard_verify", 7, Some(found.get()));
    assert_eq!(stream.clone_dtoh(&slice).unwrap()[0].to_bits(), 0);
    launch("freeboard_verify", 8, Some(found.get()));
    assert_eq!(stream.clone_dtoh(&slice).unwrap()[0].to_bits(), 1024);
    let _ = slice.leak();
    assert!(module.load_function("no_such_kernel").is_err());
}

#[test]
fn streams_of_cudarc_have_lasting_numbers() {
    let (fake, options, _turn) = turn();
    let context = CudaContext::new(0).unwrap();
    let device = CudaDevice::from_cudarc_with(&context, options).unwrap();
    assert_eq!(device.stream_of(&context.default_stream()).unwrap(), StreamId::DEFAULT);

    let stream = context.new_stream().unwrap();
    let number = device.stream_of(&stream).unwrap();
    assert_eq!(device.stream_of(&stream).unwrap(), number);
    let handle = device.raw_stream(number).unwrap();
    assert_eq!(handle, stream.cu_stream().addr());
    drop(stream);
    assert_eq!(fake.live().streams, 1, "the device keeps it");
    let event = device.create_event().unwrap();
    device.record(event, number).unwrap();
    device.wait(event).unwrap();
    let error = device.destroy_stream(number).unwrap_err();
    assert!(matches!(&error, DeviceError::InvalidCall { reason, .. } if reason.contains("forget")));

    device.forget_stream(number).unwrap();
    assert_eq!(fake.live().streams, 0);
    let next = context.new_stream().unwrap();
    assert_eq!(next.cu_stream().addr(), handle, "the driver uses the handle again");
    assert_ne!(device.stream_of(&next).unwrap(), number);
}

#[test]
fn streams_are_known_by_their_handles_too() {
    let (_, options, _turn) = turn();
    let device = CudaDevice::with_options(0, options).unwrap();
    let stream = device.cudarc().unwrap().new_stream().unwrap();
    // SAFETY: the stream is forgotten before it is dropped.
    let number = unsafe { device.stream_id(stream.cu_stream().addr()) }.unwrap();
    assert_eq!(device.stream_of(&stream).unwrap(), number);
    assert!(device.destroy_stream(number).is_err(), "it is somebody else's");
    device.synchronize_stream(number).unwrap();
    device.forget_stream(number).unwrap();
    assert!(device.synchronize_stream(number).is_err());
}

#[test]
fn streams_that_cannot_be_ours_are_refused_with_advice() {
    let (fake, options, _turn) = turn();
    fake.set_devices(2);
    let contexts = [0, 1].map(|ordinal| CudaContext::new(ordinal).unwrap());
    let device = CudaDevice::from_cudarc_with(&contexts[0], options).unwrap();
    let foreign = contexts[1].new_stream().unwrap();
    let error = device.stream_of(&foreign).unwrap_err();
    assert!(error.to_string().contains("another device or context"), "{error}");
    let error = device.stream_of(&contexts[0].per_thread_stream()).unwrap_err();
    assert!(error.to_string().contains("new_with_stream"), "{error}");
    drop((foreign, contexts, device));
    fake.set_devices(1);
}

#[test]
fn a_capture_that_cudarc_begins_is_seen() {
    let (_, options, _turn) = turn();
    let device = CudaDevice::with_options(0, options).unwrap();
    let stream = device.cudarc().unwrap().new_stream().unwrap();
    let number = device.stream_of(&stream).unwrap();
    let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    stream.begin_capture(mode).unwrap();
    assert!(device.is_capturing(number).unwrap());
    // SAFETY: zero is a value of this set of flags: none.
    let flags = unsafe { std::mem::zeroed() };
    stream.end_capture(flags).unwrap();
    assert!(!device.is_capturing(number).unwrap());
}

#[test]
fn the_context_of_cudarc_stays_current() {
    let (fake, options, _turn) = turn();
    let context = CudaContext::new(0).unwrap();
    let device = CudaDevice::from_cudarc_with(&context, options).unwrap();
    context.bind_to_thread().unwrap();
    let pushes = fake.calls("cuCtxPushCurrent_v2");
    device.info().unwrap();
    assert_eq!(fake.calls("cuCtxPushCurrent_v2"), pushes, "it is the device's own");
    fake.set_devices(2);
    let other = CudaContext::new(1).unwrap(); // now current
    device.info().unwrap();
    let sets = fake.calls("cuCtxSetCurrent");
    other.bind_to_thread().unwrap();
    assert_eq!(fake.calls("cuCtxSetCurrent"), sets, "it was current still");
    drop(other);
    fake.set_devices(1);
}
