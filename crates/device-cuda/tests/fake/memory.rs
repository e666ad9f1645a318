//! Whole allocations and pages: what is done, and what is refused.

use freeboard_device::{DeviceError, Handle, Memory};
use freeboard_device_cuda::{CudaDevice, CudaOptions};
use freeboard_fake_cuda::Live;
use freeboard_units::{Address, AddressRange, Bytes};

use crate::common::{PAGE, driver, get, give_back, lend, on, pages, part, put, refused};

#[test]
fn whole_allocations_are_counted_and_freed_once() {
    let (fake, device) = lend();
    let before = device.info().unwrap();
    let address = device.allocate(Bytes::mib(100)).unwrap();
    assert_eq!(device.info().unwrap().free + Bytes::mib(100), before.free);
    device.free(address).unwrap();
    assert_eq!(device.info().unwrap(), before);
    refused(device.free(address), "nothing was allocated");
    refused(device.allocate(Bytes::ZERO), "CUDA_ERROR_INVALID_VALUE");
    assert_eq!(fake.live().allocations, 0);
}

#[test]
fn too_much_is_out_of_memory_and_less_is_not() {
    let (fake, device) = lend();
    fake.set_capacity(64 << 20);
    for ask in [&|size| device.allocate(size).map(drop) as Result<(), DeviceError>, &|size| {
        device.create(size).map(drop)
    }] as [&dyn Fn(Bytes) -> Result<(), DeviceError>; 2]
    {
        let error = ask(Bytes::mib(66)).unwrap_err();
        assert!(error.is_out_of_memory(), "{error}");
        assert!(matches!(error, DeviceError::OutOfMemory { size, .. } if size == Bytes::mib(66)));
        ask(Bytes::mib(32)).unwrap();
    }
}

#[test]
fn pages_hold_bytes_and_go_when_nothing_holds_them() {
    let (fake, device) = lend();
    assert_eq!(device.granularity(), PAGE);
    let (range, handle) = pages(&device, 3);
    put(&device, range.start() + PAGE, b"anchor").unwrap();
    device.release(handle).unwrap();
    assert_eq!(fake.live().used, range.size().get(), "the mapping keeps them");
    assert_eq!(get(&device, range.start() + PAGE, 6).unwrap(), b"anchor");
    device.unmap(range).unwrap();
    assert_eq!(fake.live().used, 0);
    device.unreserve(range).unwrap();
    drop(device);
    assert_eq!(fake.live(), Live::default());
}

#[test]
fn one_handle_at_two_places_is_the_same_bytes() {
    let (_, device) = lend();
    let (first, handle) = pages(&device, 1);
    let second = device.reserve(PAGE * 2).unwrap();
    device.map(part(second, 1, 1), handle).unwrap();
    device.set_access(part(second, 1, 1)).unwrap();
    put(&device, first.start() + Bytes::new(77), b"twice").unwrap();
    assert_eq!(get(&device, second.start() + PAGE + Bytes::new(77), 5).unwrap(), b"twice");
    device.unmap(first).unwrap();
    put(&device, second.start() + PAGE, b"still").unwrap();
    assert_eq!(get(&device, second.start() + PAGE, 5).unwrap(), b"still");
}

#[test]
fn several_mappings_are_opened_and_taken_out_at_once() {
    let (fake, device) = lend();
    let range = device.reserve(PAGE * 6).unwrap();
    for (first, count) in [(1, 1), (2, 3), (5, 1)] {
        let handle = device.create(PAGE * count).unwrap();
        device.map(part(range, first, count), handle).unwrap();
        device.release(handle).unwrap();
    }
    device.set_access(part(range, 1, 5)).unwrap();
    device.unmap(part(range, 1, 4)).unwrap();
    assert_eq!(fake.live().mappings, 1);
    refused(device.unreserve(range), "still mapped");
    device.unmap(part(range, 5, 1)).unwrap();
    device.unreserve(range).unwrap();
}

#[test]
fn sizes_are_whole_pages() {
    let (fake, device) = lend();
    for size in [Bytes::ZERO, Bytes::new(1), PAGE + Bytes::new(512), Bytes::MAX] {
        refused(device.reserve(size), "not a multiple");
        refused(device.create(size), "not a multiple");
    }
    assert_eq!(fake.live(), Live { contexts: 1, ..Live::default() });
}

#[test]
fn ranges_are_given_back_as_they_were_reserved() {
    let (_, device) = lend();
    let range = device.reserve(PAGE * 4).unwrap();
    refused(device.unreserve(part(range, 0, 3)), "not a reserved range");
    refused(device.unreserve(part(range, 1, 3)), "not a reserved range");
    device.unreserve(range).unwrap();
    refused(device.unreserve(range), "not a reserved range");
}

#[test]
fn nothing_is_mapped_over_another_or_beyond_its_range() {
    let (fake, device) = lend();
    let range = device.reserve(PAGE * 4).unwrap();
    let [one, two] = [1, 2].map(|count| device.create(PAGE * count).unwrap());
    device.map(part(range, 1, 1), one).unwrap();
    for (at, count, handle, why) in [
        (1, 1, one, "overlaps"),
        (0, 2, two, "overlaps"),
        (1, 2, two, "overlaps"),
        (3, 2, two, "not within"),
        (9, 1, one, "not within"),
        (2, 1, two, "its handle"),
        (2, 2, one, "its handle"),
        (2, 1, Handle::new(5), "no handle"),
    ] {
        refused(device.map(part(range, at, count), handle), why);
    }
    assert_eq!(fake.live().mappings, 1);
    device.map(part(range, 2, 2), two).expect("beside it there is room");
}

#[test]
fn access_and_unmapping_are_for_whole_mappings() {
    let (fake, device) = lend();
    let (range, _) = pages(&device, 2);
    for wrong in [part(range, 0, 1), part(range, 1, 1), part(range, 0, 3)] {
        refused(device.unmap(wrong), "mapping");
        refused(device.set_access(wrong), "mapping");
    }
    assert_eq!(fake.live().mappings, 1);
    device.unmap(range).unwrap();
    refused(device.unmap(range), "mapping");
}

#[test]
fn a_handle_is_released_once() {
    let (_, device) = lend();
    let made @ (_, handle) = pages(&device, 1);
    give_back(&device, made);
    refused(device.release(handle), "no handle");
}

#[test]
fn absurd_ranges_are_refused_without_a_panic() {
    let (fake, device) = lend();
    let (_, handle) = pages(&device, 1);
    let calls = fake.calls("cuMemUnmap");
    for (start, size) in [(u64::MAX - 5, 1 << 21), (0, 0), (4096, u64::MAX), (u64::MAX, u64::MAX)] {
        let range = AddressRange::new(Address::new(start), Bytes::new(size));
        refused(device.unreserve(range), "");
        refused(device.map(range, handle), "");
        refused(device.set_access(range), "");
        refused(device.unmap(range), "");
    }
    assert_eq!(fake.calls("cuMemUnmap"), calls, "the driver was not bothered");
}

#[test]
fn pages_are_closed_until_they_are_opened() {
    let (_, device) = lend();
    let range = device.reserve(PAGE).unwrap();
    assert!(put(&device, range.start(), b"x").is_err());
    let handle = device.create(PAGE).unwrap();
    device.map(range, handle).unwrap();
    assert!(put(&device, range.start(), b"x").is_err());
    device.set_access(range).unwrap();
    put(&device, range.start(), b"x").unwrap();
}

#[test]
fn pages_are_opened_to_peers_too() {
    let (fake, driver) = driver();
    fake.set_devices(2);
    let device = CudaDevice::with_options(0, CudaOptions { peers: vec![1], ..on(driver) }).unwrap();
    let (range, _) = pages(&device, 1);
    fake.set_devices(1);
    let error = device.set_access(range).unwrap_err();
    assert!(matches!(error, DeviceError::Driver { code: 101, .. }), "the peer is gone: {error}");
}
