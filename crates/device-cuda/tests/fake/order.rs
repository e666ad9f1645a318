//! Streams and events.

use freeboard_device::{DeviceError, Memory, Order, Transfer};
use freeboard_device_cuda::CudaDevice;
use freeboard_fake_cuda::Fake;
use freeboard_units::{Bytes, EventId, StreamId};

use crate::common::{DEFAULT, lend, on, open, refused};

#[test]
fn an_event_is_done_once_its_stream_is_past_it() {
    let (fake, device) = lend();
    let stream = device.create_stream().unwrap();
    let event = device.create_event().unwrap();
    assert!(device.is_done(event).unwrap(), "recorded nowhere");
    assert!(fake.hold(device.raw_stream(stream).unwrap(), true));
    device.record(event, stream).unwrap();
    assert!(!device.is_done(event).unwrap());
    assert!(fake.hold(device.raw_stream(stream).unwrap(), false));
    assert!(device.is_done(event).unwrap());
}

#[test]
fn waiting_ends_when_the_work_is_done() {
    let (fake, device) = lend();
    let stream = device.create_stream().unwrap();
    fake.hold(device.raw_stream(stream).unwrap(), true);
    let events = [0; 3].map(|_| device.create_event().unwrap());
    for event in events {
        device.record(event, stream).unwrap();
    }
    device.wait(events[1]).unwrap();
    assert_eq!(events.map(|event| device.is_done(event).unwrap()), [true, true, false]);
    device.synchronize_stream(stream).unwrap();
    assert!(device.is_done(events[2]).unwrap());
}

#[test]
fn a_stream_that_waits_for_another_is_held_up_with_it() {
    let (fake, device) = lend();
    let [first, second] = [0; 2].map(|_| device.create_stream().unwrap());
    let [before, after] = [0; 2].map(|_| device.create_event().unwrap());
    fake.hold(device.raw_stream(first).unwrap(), true);
    device.record(before, first).unwrap();
    device.stream_wait(second, before).unwrap();
    device.record(after, second).unwrap();
    assert!(!device.is_done(after).unwrap());
    fake.hold(device.raw_stream(first).unwrap(), false);
    assert!(device.is_done(after).unwrap());
}

#[test]
fn numbers_of_streams_are_not_used_again_though_handles_are() {
    let (_, device) = lend();
    let first = device.create_stream().unwrap();
    let handle = device.raw_stream(first).unwrap();
    device.destroy_stream(first).unwrap();
    let second = device.create_stream().unwrap();
    assert_eq!(device.raw_stream(second).unwrap(), handle);
    assert_ne!(first, second);
    assert_ne!(second, DEFAULT);
    refused(device.synchronize_stream(first), "there is no stream");
}

#[test]
fn a_driver_that_numbers_no_streams_is_helped_out() {
    let fake = Fake::without(&["cuStreamGetId"]).unwrap();
    let driver = open(&fake).unwrap();
    let device = CudaDevice::with_options(0, on(driver)).unwrap();
    let first = device.create_stream().unwrap();
    device.destroy_stream(first).unwrap();
    let second = device.create_stream().unwrap();
    assert_ne!(first, second);
    let handle = device.raw_stream(second).unwrap();
    // SAFETY: the stream is the device's own and alive.
    let found = unsafe { device.stream_id(handle) };
    assert_eq!(found.unwrap(), second);
}

#[test]
fn the_two_handles_of_the_default_stream_are_one_stream() {
    let (_, device) = lend();
    for handle in [0, 1] {
        // SAFETY: the default stream is always there.
        assert_eq!(unsafe { device.stream_id(handle) }.unwrap(), DEFAULT);
    }
    assert_eq!(device.raw_stream(DEFAULT).unwrap(), 0);
    let event = device.create_event().unwrap();
    device.record(event, DEFAULT).unwrap();
    device.synchronize_stream(DEFAULT).unwrap();
    refused(device.destroy_stream(DEFAULT), "stays");
}

#[test]
fn the_default_stream_of_each_thread_is_refused_with_advice() {
    let (_, device) = lend();
    // SAFETY: the default stream is always there.
    refused(unsafe { device.stream_id(2) }, "new_with_stream");
}

#[test]
fn what_does_not_exist_is_refused() {
    let (fake, device) = lend();
    let (event, stream) = (device.create_event().unwrap(), device.create_stream().unwrap());
    let (no_event, no_stream) = (EventId::new(99), StreamId::new(9999));
    let calls = fake.total_calls();
    refused(device.record(event, no_stream), "stream_of");
    refused(device.record(no_event, stream), "no event 99");
    refused(device.is_done(no_event), "no event");
    refused(device.wait(no_event), "no event");
    refused(device.stream_wait(no_stream, event), "no stream");
    refused(device.stream_wait(stream, no_event), "no event");
    refused(device.synchronize_stream(no_stream), "no stream");
    refused(device.is_capturing(no_stream), "no stream");
    refused(device.raw_stream(no_stream), "no stream");
    refused(device.forget_stream(no_stream), "no stream");
    refused(device.forget_stream(stream), "destroy it");
    assert_eq!(fake.total_calls(), calls, "the driver was not bothered");
    device.destroy_event(event).unwrap();
    refused(device.destroy_event(event), "does not exist");
    device.destroy_stream(stream).unwrap();
    refused(device.destroy_stream(stream), "no stream");
}

#[test]
fn the_time_between_two_marks_is_measured() {
    let (fake, device) = lend();
    let stream = device.create_stream().unwrap();
    let before = device.mark(stream).unwrap();
    let after = device.mark(stream).unwrap();
    assert!(after.milliseconds_since(&before).unwrap() > 0.0);
    drop((before, after));
    assert_eq!(fake.live().events, 0);
    refused(device.mark(StreamId::new(9999)), "no stream");
    assert_eq!(fake.live().events, 0);
}

#[test]
fn work_that_failed_is_told_by_its_event() {
    let (fake, device) = lend();
    let event = device.create_event().unwrap();
    fake.fail("cuEventQuery", 1, 700, 1);
    let error = device.is_done(event).unwrap_err();
    assert!(matches!(error, DeviceError::Driver { code: 700, .. }), "{error}");
}

#[test]
fn a_stream_that_is_captured_says_so_and_does_not_wait() {
    let (fake, device) = lend();
    let stream = device.create_stream().unwrap();
    let handle = device.raw_stream(stream).unwrap();
    assert!(!device.is_capturing(stream).unwrap());
    assert!(fake.capture(handle, true));
    assert!(device.is_capturing(stream).unwrap() && !device.is_capturing(DEFAULT).unwrap());
    let error = device.synchronize_stream(stream).unwrap_err();
    assert!(matches!(error, DeviceError::Driver { code: 900, .. }), "{error}");
    let event = device.create_event().unwrap();
    device.record(event, stream).unwrap();
    for error in [device.is_done(event).unwrap_err(), device.wait(event).unwrap_err()] {
        assert!(matches!(error, DeviceError::Driver { code: 907, .. }), "{error}");
    }
    assert!(fake.capture(handle, false));
    assert!(!device.is_capturing(stream).unwrap());
    device.record(event, stream).unwrap();
    assert!(device.is_done(event).unwrap());
}

#[test]
fn memory_and_events_of_other_streams_are_at_hand_during_a_capture() {
    let (fake, device) = lend();
    let [captured, other] = [0; 2].map(|_| device.create_stream().unwrap());
    let event = device.create_event().unwrap();
    device.record(event, other).unwrap();
    assert!(fake.capture(device.raw_stream(captured).unwrap(), true));
    let address = device.allocate(Bytes::mib(1)).unwrap();
    assert!(device.is_done(event).unwrap());
    device.wait(event).unwrap();
    let pinned = device.pin(Bytes::mib(1)).unwrap();
    // SAFETY: nothing uses it.
    unsafe { device.unpin(pinned) }.unwrap();
    device.free(address).unwrap();
}

#[test]
fn a_thread_gets_its_own_capture_mode_back() {
    let (fake, device) = lend();
    device.info().unwrap();
    fake.capture(device.raw_stream(device.create_stream().unwrap()).unwrap(), true);
    // What the device relaxes is not relaxed for others: asked directly, the driver refuses.
    // SAFETY: the fake driver has this function, of this type.
    let library = unsafe { libloading::Library::new(fake.path()) }.unwrap();
    // SAFETY: as above.
    let query = unsafe { library.get::<extern "C" fn(usize) -> u32>(b"cuEventQuery") }.unwrap();
    assert_eq!(query(0), 900);
}
