//! The device seen from outside: placement, capacity, mappings, time, counters and refusals.

use std::collections::BTreeMap;
use std::sync::Arc;

use freeboard_device::Device;

use super::*;
use crate::Held;

const PAGE: Bytes = Bytes::mib(2);

fn device() -> SimDevice {
    SimDevice::new(Bytes::mib(64))
}

fn range(start: Address, pages: u64) -> AddressRange {
    AddressRange::new(start, PAGE * pages)
}

#[test]
fn both_kinds_of_addresses_are_filled_from_the_lowest() {
    let device = device();
    let at = |page: u64| Address::new(0x1000_0000_0000) + PAGE * page;
    let sizes = [Bytes::new(1), Bytes::mib(3), PAGE, PAGE];
    let addresses = sizes.map(|size| device.allocate(size).unwrap());
    assert_eq!(addresses, [at(0), at(1), at(3), at(4)]);
    device.free(at(1)).unwrap();
    device.free(at(0)).unwrap();
    assert_eq!(device.allocate(PAGE * 4), Ok(at(5)));
    assert_eq!(device.allocate(PAGE * 3), Ok(at(0)), "two holes have become one");

    let at = |page: u64| Address::new(0x3000_0000_0000) + PAGE * page;
    let reserved = [3, 1, 2].map(|pages| device.reserve(PAGE * pages).unwrap());
    assert_eq!(reserved, [range(at(0), 3), range(at(3), 1), range(at(4), 2)]);
    device.unreserve(reserved[0]).unwrap();
    assert_eq!(device.reserve(PAGE * 4), Ok(range(at(6), 4)));
    assert_eq!(device.reserve(PAGE * 2), Ok(range(at(0), 2)));
}

#[test]
fn capacity_runs_out_exactly_when_it_is_used_up() {
    let config = SimConfig { context: Bytes::new(5), ..SimConfig::new(Bytes::mib(8)) };
    let device = SimDevice::with_config(config);
    device.create(PAGE * 3).unwrap();
    let oom = |call, size| DeviceError::OutOfMemory { call, size };
    assert_eq!(device.allocate(Bytes::new(1)), Err(oom("cudaMalloc", Bytes::new(1))));
    device.set_capacity(Bytes::mib(8) + Bytes::new(5));
    device.allocate(Bytes::new(1)).unwrap();
    assert_eq!(device.info(), Ok(MemoryInfo { free: Bytes::ZERO, total: device.capacity() }));
    assert_eq!(device.create(PAGE), Err(oom("cuMemCreate", PAGE)));
    assert_eq!(device.allocate(Bytes::MAX), Err(oom("cudaMalloc", Bytes::MAX)));
    assert_eq!(device.violations(), 0, "running out of memory is no bug of the caller");
    assert_eq!(device.peak_used(), device.used());

    device.set_capacity(Bytes::MAX);
    let addresses = Bytes::new(0x2000_0000_0000);
    assert_eq!(device.reserve(addresses + PAGE), Err(oom("cuMemAddressReserve", addresses + PAGE)));
    device.reserve(addresses).unwrap();
    let addresses = Bytes::new(0x1f00_0000_0000);
    assert!(device.allocate(addresses).unwrap_err().is_out_of_memory(), "one granule is taken");
}

#[test]
fn an_alias_keeps_memory_alive_until_the_last_mapping_is_gone() {
    let device = device();
    let reserved = device.reserve(PAGE * 4).unwrap();
    let (low, high) = (range(reserved.start(), 2), range(reserved.start() + PAGE * 2, 2));
    let handle = device.create(PAGE * 2).unwrap();
    device.map(low, handle).unwrap();
    device.map(high, handle).unwrap();
    device.set_access(reserved).unwrap();
    device.release(handle).unwrap();
    assert_eq!(device.leaks(), Held { reservations: 1, mappings: 2, ..Held::default() });
    device.unmap(low).unwrap();
    assert_eq!((device.used(), device.peak_used()), (PAGE * 2, PAGE * 2));
    assert!(device.map(low, handle).is_err(), "released");
    device.unmap(high).unwrap();
    assert_eq!((device.used(), device.peak_used()), (Bytes::ZERO, PAGE * 2));
    device.reset_peak();
    assert_eq!(device.peak_used(), Bytes::ZERO);
    device.unreserve(reserved).unwrap();
    assert!(device.is_empty());
}

#[test]
fn what_a_kernel_may_touch_is_allocated_or_mapped_with_access() {
    let device = device();
    let reserved = device.reserve(PAGE * 4).unwrap();
    let page = |n| range(reserved.start() + PAGE * n, 1);
    for n in 0..3 {
        device.map(page(n), device.create(PAGE).unwrap()).unwrap();
    }
    device.set_access(range(page(1).start(), 2)).unwrap();
    let bytes = |start, size| AddressRange::new(start, Bytes::new(size));
    let allocated = device.allocate(Bytes::mib(3)).unwrap();
    for (range, expected) in [
        (page(0), false),
        (page(1), true),
        (range(page(1).start(), 2), true),
        (bytes(page(1).start() + Bytes::new(7), PAGE.get()), true),
        (bytes(page(2).start() + Bytes::new(7), PAGE.get()), false),
        (bytes(page(0).start() + Bytes::new(7), PAGE.get()), false),
        (range(page(0).start(), 3), false),
        (page(3), false),
        (bytes(page(1).start(), 0), false),
        (bytes(page(1).start(), u64::MAX), false),
        (range(allocated, 2), true),
        (range(allocated, 3), false),
        (bytes(allocated - Bytes::new(1), 2), false),
    ] {
        assert_eq!(device.can_access(range), expected, "{range:?}");
    }
    device.unmap(page(1)).unwrap();
    device.map(page(1), device.create(PAGE).unwrap()).unwrap();
    assert!(!device.can_access(page(1)), "a new mapping has to be given access again");
}

#[test]
fn freeing_and_synchronizing_take_the_lag_and_waiting_no_more_than_needed() {
    let device = SimDevice::with_config(SimConfig { event_lag_ticks: 10, ..SimConfig::new(PAGE) });
    let event = device.create_event().unwrap();
    assert_eq!(device.is_done(event), Ok(true), "never recorded");
    device.record(event, StreamId::new(3)).unwrap();
    device.advance(9);
    assert_eq!(device.is_done(event), Ok(false));
    device.wait(event).unwrap();
    assert_eq!((device.now(), device.is_done(event)), (10, Ok(true)));
    device.wait(event).unwrap();
    assert_eq!(device.now(), 10);
    device.synchronize_stream(StreamId::new(8)).unwrap();
    assert_eq!(device.now(), 20);
    device.free(device.allocate(PAGE).unwrap()).unwrap();
    assert_eq!(device.now(), 30);
    device.set_event_lag(2);
    device.record(event, StreamId::DEFAULT).unwrap();
    device.synchronize_stream(StreamId::DEFAULT).unwrap();
    assert_eq!((device.now(), device.is_done(event)), (32, Ok(true)));
}

#[test]
fn calls_are_counted_whatever_becomes_of_them() {
    let device = device();
    assert_eq!(device.calls(), BTreeMap::new());
    device.free(Address::NULL).unwrap_err();
    device.allocate(Bytes::gib(1)).unwrap_err();
    device.create(Bytes::gib(1)).unwrap_err();
    device.info().unwrap();
    let calls = [
        ("cuMemCreate", 1),
        ("cuMemCreate_oom", 1),
        ("cudaFree", 1),
        ("cudaMalloc", 1),
        ("cudaMalloc_oom", 1),
        ("cudaMemGetInfo", 1),
    ];
    assert_eq!(device.calls(), BTreeMap::from(calls));
    assert_eq!((device.total_calls(), device.count(Call::Free)), (4, 1));
    device.reset_calls();
    assert_eq!((device.total_calls(), device.violations()), (0, 1));
}

/// Stage for the refusals: `at` holds a one-page and a two-page mapping, then two empty pages, and
/// right behind them lies another reservation.
struct Stage {
    device: SimDevice,
    at: Address,
    one: Handle,
}

fn stage() -> Stage {
    let device = device();
    let at = device.reserve(PAGE * 5).unwrap().start();
    device.reserve(PAGE * 2).unwrap();
    let (one, two) = (device.create(PAGE).unwrap(), device.create(PAGE * 2).unwrap());
    device.map(range(at, 1), one).unwrap();
    device.map(range(at + PAGE, 2), two).unwrap();
    device.allocate(Bytes::mib(4)).unwrap();
    Stage { device, at, one }
}

/// Checks that the call is refused for this reason and leaves all as it was.
fn check<T: std::fmt::Debug>(
    call: impl FnOnce(&SimDevice, Address, Handle) -> Result<T>,
    why: &str,
) {
    let Stage { device, at, one } = stage();
    let before = device.state.lock().model.clone();
    let error = call(&device, at, one).unwrap_err();
    assert!(
        matches!(&error, DeviceError::InvalidCall { reason, .. } if reason.contains(why)),
        "{error}"
    );
    assert_eq!(device.state.lock().model, before, "{error}");
    assert_eq!((device.violations(), device.first_violation()), (1, Some(error)));
}

#[test]
fn wrong_sizes_and_addresses_are_refused() {
    check(|d, _, _| d.allocate(Bytes::ZERO), "zero bytes");
    check(|d, _, _| d.reserve(Bytes::ZERO), "zero bytes");
    check(|d, _, _| d.create(Bytes::ZERO), "zero bytes");
    check(|d, _, _| d.reserve(Bytes::mib(3)), "3145728 bytes are no multiple");
    check(|d, _, _| d.create(Bytes::mib(3)), "no multiple of the granularity");
    check(|d, at, h| d.map(range(at + Bytes::mib(7), 1), h), "no multiple of the granularity");
    check(|d, at, h| d.map(range(at, 0), h), "zero bytes");
    check(|d, at, _| d.unmap(range(at, 0)), "zero bytes");
    check(|d, at, _| d.set_access(AddressRange::new(at, Bytes::mib(1))), "no multiple");
    let past_the_end = AddressRange::new(Address::new(u64::MAX), PAGE);
    check(|d, _, h| d.map(past_the_end, h), "are not that many");
    check(|d, _, _| d.unmap(past_the_end), "are not that many");
    check(|d, _, _| d.unreserve(past_the_end), "are not that many");
}

#[test]
fn giving_back_what_is_not_there_is_refused() {
    let allocated = Address::new(0x1000_0000_0000);
    check(|d, _, _| d.free(allocated + PAGE), "no allocation begins at 0x100000200000");
    check(|d, _, _| d.free(Address::NULL), "no allocation begins");
    check(|d, at, _| d.free(at), "no allocation begins");
    check(|d, _, _| d.release(Handle::new(99)), "handle 99 does not exist");
    check(|d, at, _| d.unreserve(range(at + PAGE, 4)), "no reservation begins");
    check(|d, at, _| d.unreserve(range(at, 4)), "has 10.00 MiB");
    check(|d, at, _| d.unreserve(range(at, 7)), "has 10.00 MiB");
    check(|d, at, _| d.unreserve(range(at, 5)), "is still mapped");
    check(|d, _, _| d.destroy_event(EventId::new(1)), "event 1 does not exist");
}

#[test]
fn wrong_mappings_are_refused() {
    check(|d, at, h| d.map(range(at + PAGE * 3, 2), h), "handle 1 has");
    check(|d, at, _| d.map(range(at + PAGE * 3, 1), Handle::new(2)), "handle 2 has 4.00 MiB");
    check(|d, at, _| d.map(range(at + PAGE * 3, 1), Handle::new(9)), "handle 9 does not exist");
    check(|d, at, h| d.map(range(at, 1), h), "is mapped already");
    check(|d, at, h| d.map(range(at + PAGE * 2, 1), h), "is mapped already");
    check(|d, at, _| d.map(range(at + PAGE * 2, 2), Handle::new(2)), "is mapped already");
    check(|d, at, _| d.map(range(at + PAGE * 4, 2), Handle::new(2)), "lies in no one reservation");
    check(|d, at, h| d.map(range(at + PAGE * 7, 1), h), "lies in no one reservation");
    check(|d, at, h| d.map(range(at - PAGE, 1), h), "lies in no one reservation");
}

#[test]
fn partial_and_missing_mappings_are_refused() {
    type OnRange = fn(&SimDevice, AddressRange) -> Result<()>;
    for call in [Memory::unmap as OnRange, Memory::set_access as OnRange] {
        check(|d, at, _| call(d, range(at, 2)), "ends inside the mapping");
        check(|d, at, _| call(d, range(at + PAGE, 1)), "ends inside the mapping");
        check(|d, at, _| call(d, range(at + PAGE * 2, 1)), "no mapping begins at");
        check(|d, at, _| call(d, range(at, 4)), "no mapping begins at");
        check(|d, at, _| call(d, range(at + PAGE * 3, 1)), "no mapping begins at");
        check(|d, at, _| call(d, range(at - PAGE, 2)), "no mapping begins at");
    }
}

#[test]
fn what_was_given_back_is_not_there_any_more() {
    let Stage { device, at, one } = stage();
    let event = device.create_event().unwrap();
    device.destroy_event(event).unwrap();
    device.release(one).unwrap();
    device.unmap(range(at + PAGE, 2)).unwrap();
    device.free(Address::new(0x1000_0000_0000)).unwrap();
    device.unreserve(range(at + PAGE * 5, 2)).unwrap();
    let before = device.state.lock().model.clone();
    let calls: [(&str, Result<()>); 10] = [
        ("event destroyed", device.destroy_event(event)),
        ("event recorded", device.record(event, StreamId::DEFAULT)),
        ("event queried", device.is_done(event).map(drop)),
        ("event waited for", device.wait(event)),
        ("handle released, mapped still", device.release(one)),
        ("released handle mapped", device.map(range(at + PAGE * 3, 1), one)),
        ("unmapped", device.unmap(range(at + PAGE, 2))),
        ("given access", device.set_access(range(at + PAGE, 2))),
        ("freed", device.free(Address::new(0x1000_0000_0000))),
        ("unreserved", device.unreserve(range(at + PAGE * 5, 2))),
    ];
    let len = calls.len() as u64;
    for (name, result) in calls {
        assert!(matches!(result, Err(DeviceError::InvalidCall { .. })), "{name}: {result:?}");
    }
    assert_eq!(device.violations(), len);
    assert_eq!(device.state.lock().model, before);
    device.unmap(range(at, 1)).unwrap();
    assert!(device.release(one).is_err(), "gone with its last mapping");
}

#[test]
fn a_device_can_be_lent_and_shared() {
    fn lend<D: Device + Send + Sync>(device: D) -> Address {
        device.allocate(PAGE).unwrap()
    }
    let config = SimConfig { id: DeviceId::new(3), ..SimConfig::new(Bytes::mib(64)) };
    let device = Arc::new(SimDevice::with_config(config));
    assert!(lend(Arc::clone(&device)) < lend(&*device));
    assert_eq!((device.id(), device.granularity()), (DeviceId::new(3), PAGE));
    assert_eq!(device.leaks(), Held { allocations: 2, ..Held::default() });
}

#[test]
#[should_panic(expected = "the granularity of a device is not zero")]
fn a_device_without_granularity_is_refused() {
    let _ = SimDevice::with_config(SimConfig { granularity: Bytes::ZERO, ..SimConfig::new(PAGE) });
}
