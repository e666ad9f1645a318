//! The books can make any call fail; then the memory is as it was.

use freeboard_device::{DeviceError, Memory, Order};
use freeboard_device_host::{HostConfig, HostDevice};
use freeboard_device_sim::{Call, Fault, FaultPlan};
use freeboard_units::{AddressRange, Bytes, StreamId};

use crate::{PAGE, device, fill, first_byte};

#[test]
fn every_call_can_fail_and_changes_nothing() {
    let device = device();
    let stream = device.create_stream().unwrap();
    let event = device.create_event().unwrap();
    let (range, spare) = (device.reserve(PAGE).unwrap(), device.reserve(PAGE).unwrap());
    let handle = device.create(PAGE).unwrap();
    device.map(range, handle).unwrap();
    device.set_access(range).unwrap();
    fill(&device, range, 77, stream);
    let start = device.allocate(PAGE).unwrap();
    let whole = AddressRange::new(start, PAGE);
    fill(&device, whole, 88, stream);
    for &call in Call::ALL {
        let fault = Fault::Driver { code: 999, message: "on purpose".to_owned() };
        device.books().set_faults(FaultPlan::every_call_of(call, fault));
        let before = (device.books().leaks(), device.books().used());
        let outcome = match call {
            Call::Malloc => device.allocate(PAGE).map(drop),
            Call::Free => device.free(start),
            Call::AddressReserve => device.reserve(PAGE).map(drop),
            Call::AddressFree => device.unreserve(spare),
            Call::MemCreate => device.create(PAGE).map(drop),
            Call::MemRelease => device.release(handle),
            Call::MemMap => device.map(spare, handle),
            Call::MemUnmap => device.unmap(range),
            Call::MemSetAccess => device.set_access(range),
            Call::MemGetInfo => device.info().map(drop),
            Call::EventCreate => device.create_event().map(drop),
            Call::EventDestroy => device.destroy_event(event),
            Call::EventRecord => device.record(event, stream),
            Call::EventQuery => device.is_done(event).map(drop),
            Call::EventSynchronize => device.wait(event),
            Call::StreamSynchronize => device.synchronize_stream(stream),
            Call::StreamCreate => device.create_stream().map(drop),
            Call::StreamDestroy => device.destroy_stream(stream),
            Call::StreamWaitEvent => device.stream_wait(stream, event),
            Call::StreamIsCapturing => device.is_capturing(stream).map(drop),
        };
        assert!(matches!(outcome, Err(DeviceError::Driver { code: 999, .. })), "{call}");
        assert_eq!((device.books().leaks(), device.books().used()), before, "{call}");
        device.books().clear_faults();
        assert_eq!(first_byte(&device, range, stream), 77, "{call}");
        assert_eq!(first_byte(&device, whole, stream), 88, "{call}");
    }
    assert_eq!(device.books().violations(), 0);
}

#[test]
fn a_granularity_that_no_machine_has_is_refused() {
    for granularity in [0, 1, 4095, 4097] {
        let granularity = Bytes::new(granularity);
        let config = HostConfig { granularity, ..HostConfig::new(Bytes::mib(1)) };
        let error = HostDevice::with_config(config).unwrap_err();
        assert!(error.to_string().contains("no multiple of 4 KiB"), "{error}");
    }
}

#[test]
fn small_granules_work() {
    let granularity = Bytes::kib(4);
    let config = HostConfig { granularity, ..HostConfig::new(Bytes::kib(12)) };
    let device = HostDevice::with_config(config).unwrap();
    let range = device.reserve(granularity).unwrap();
    let handle = device.create(granularity).unwrap();
    device.map(range, handle).unwrap();
    device.set_access(range).unwrap();
    fill(&device, range, 3, StreamId::DEFAULT);
    assert_eq!(first_byte(&device, range, StreamId::DEFAULT), 3);
    assert!(device.create(Bytes::kib(12)).unwrap_err().is_out_of_memory());
}
