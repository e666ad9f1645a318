//! Work that fails ends the device, as on a GPU, and nobody waits for ever.

use freeboard_device::{DeviceError, Memory, Order, Pattern, Transfer};
use freeboard_device_host::HostDevice;
use freeboard_units::{AddressRange, StreamId};

use crate::{PAGE, device, fill, hold};

fn assert_lost(device: &HostDevice, code: u32, words: &str) {
    let stream = StreamId::DEFAULT;
    for outcome in [
        device.synchronize(),
        device.synchronize_stream(stream),
        device.create_event().map(drop),
        device.allocate(PAGE).map(drop),
        device.create(PAGE).map(drop),
        device.info().map(drop),
        device.launch(stream, || {}),
    ] {
        match outcome.unwrap_err() {
            DeviceError::Driver { code: seen, message, .. } => {
                assert_eq!(seen, code);
                assert!(message.contains(words), "{message}");
            }
            error => panic!("{error}"),
        }
    }
}

#[test]
fn work_on_memory_that_is_gone_is_an_illegal_address() {
    let device = device();
    let stream = device.create_stream().unwrap();
    let (range, handle) = (device.reserve(PAGE).unwrap(), device.create(PAGE).unwrap());
    device.map(range, handle).unwrap();
    device.set_access(range).unwrap();
    let event = device.create_event().unwrap();
    let gate = hold(&device, stream);
    fill(&device, range, 1, stream); // accepted: the page is there now
    device.record(event, stream).unwrap();
    device.unmap(range).unwrap();
    drop(gate);
    assert!(device.wait(event).is_err());
    assert_lost(&device, 700, "given back before the stream was past");
    // What it held can be given back all the same.
    device.release(handle).unwrap();
    device.unreserve(range).unwrap();
    device.destroy_event(event).unwrap();
    assert!(device.books().is_empty());
}

#[test]
fn memory_that_was_not_opened_cannot_be_used() {
    let device = device();
    let (range, handle) = (device.reserve(PAGE).unwrap(), device.create(PAGE).unwrap());
    device.map(range, handle).unwrap();
    // SAFETY: the device refuses.
    let refused = unsafe { device.fill(range, Pattern::U8(0), StreamId::DEFAULT) };
    assert!(matches!(refused, Err(DeviceError::InvalidCall { .. })));
    device.synchronize().unwrap();
}

#[test]
fn a_panic_on_a_stream_ends_the_device() {
    let device = device();
    device.launch(StreamId::DEFAULT, || panic!("on purpose")).unwrap();
    assert!(device.synchronize().is_err());
    assert_lost(&device, 719, "on purpose");
}

#[test]
fn ranges_beyond_all_addresses_are_refused() {
    let device = device();
    let end = AddressRange::new(freeboard_units::Address::new(u64::MAX - 10), PAGE);
    let zero = freeboard_units::Bytes::ZERO;
    let refused = [
        device.unmap(end),
        device.set_access(end),
        device.unreserve(end),
        device.unmap(AddressRange::new(end.start(), zero)),
        // SAFETY: the device refuses.
        unsafe { device.fill(end, Pattern::U8(0), StreamId::DEFAULT) },
    ];
    assert!(refused.iter().all(|outcome| matches!(outcome, Err(DeviceError::InvalidCall { .. }))));
}
