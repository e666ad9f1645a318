//! Handles, addresses and streams, used as they should be and as they should not.

use std::sync::Arc;

use freeboard_allocator::{Allocation, Borrowed, CachingAllocator, Config, Error};
use freeboard_device_sim::SimDevice;
use freeboard_units::{Address, Bytes, StreamId};

use crate::common::{finish, lend, parse, stream, take};

#[test]
fn nothing_is_given_for_nothing() {
    let (device, allocator) = lend(Config::default(), 64);
    let held = take(&allocator, Bytes::ZERO);
    assert_eq!((held.address(), held.size()), (Address::NULL, Bytes::ZERO));
    held.record_use(stream(9)).unwrap();
    assert_eq!(held.into_raw(), Address::NULL);
    assert_eq!(allocator.allocate_raw(Bytes::ZERO, stream(3)).unwrap(), Address::NULL);
    allocator.free_raw(Address::NULL).unwrap();
    allocator.record_use_raw(Address::NULL, stream(3)).unwrap();
    assert!(allocator.claim(Address::NULL).unwrap().size().is_zero());
    assert_eq!(allocator.stats().allocation.all.allocated, 0);
    assert!(device.is_empty());
}

#[test]
fn sizes_beyond_any_device_are_out_of_memory_and_overflow_nothing() {
    for settings in ["", "expandable_segments:True", "roundup_power2_divisions:8"] {
        let (device, allocator) = lend(parse(settings), 64);
        for size in [u64::MAX, u64::MAX - 511, 1 << 63, 1 << 60, (1 << 60) - 1, 1 << 59, 1 << 45] {
            let refused = allocator.allocate(Bytes::new(size), stream(0)).unwrap_err();
            let report = refused.out_of_memory().expect("out of memory");
            assert_eq!(report.requested, Bytes::new(size));
            assert!(refused.to_string().contains("Exhaustion"), "{refused}");
            allocator.check().unwrap();
        }
        assert_eq!(device.first_violation(), None);
        drop(take(&allocator, Bytes::mib(30)));
    }
}

#[test]
fn addresses_that_are_not_allocated_are_refused_and_change_nothing() {
    let (device, allocator) = lend(Config::default(), 256);
    let kept = take(&allocator, Bytes::mib(2));
    let address = allocator.allocate_raw(Bytes::mib(2), stream(0)).unwrap();
    let freed = allocator.allocate_raw(Bytes::mib(2), stream(0)).unwrap();
    allocator.free_raw(freed).unwrap();
    for (what, unknown) in [
        ("freed before", freed),
        ("inside an allocation", address + Bytes::new(512)),
        ("of a handle", kept.address()),
        ("never seen", Address::new(0xdead_0000)),
    ] {
        let before = allocator.stats();
        for outcome in [
            allocator.free_raw(unknown),
            allocator.claim(unknown).map(drop),
            allocator.record_use_raw(unknown, stream(1)),
        ] {
            let refused =
                matches!(outcome, Err(Error::UnknownAddress { address }) if address == unknown);
            assert!(refused, "{what}: {outcome:?}");
        }
        assert_eq!(allocator.stats(), before, "{what}");
        allocator.check().unwrap();
    }
    allocator.free_raw(address).unwrap();
    drop(kept);
    finish(&device, allocator);
}

#[test]
fn a_handle_becomes_an_address_and_a_handle_again() {
    let (device, allocator) = lend(Config::default(), 256);
    let held = take(&allocator, Bytes::new(1_000_000));
    let (address, size) = (held.address(), held.size());
    assert_eq!(held.into_raw(), address);
    let claimed = allocator.claim(address).unwrap();
    assert_eq!((claimed.address(), claimed.size()), (address, size));
    assert_eq!((claimed.requested(), claimed.stream()), (Bytes::new(1_000_000), stream(0)));
    assert!(allocator.claim(address).is_err(), "claimed already");
    assert_eq!(claimed.into_raw(), address);
    allocator.record_use_raw(address, stream(2)).unwrap();
    allocator.free_raw(address).unwrap();
    assert!(allocator.free_raw(address).is_err(), "freed already");
    finish(&device, allocator);
}

#[test]
fn use_on_its_own_stream_delays_nothing() {
    let (device, allocator) = crate::common::lend_with_lag(Config::pytorch(), 256, 100);
    let held = take(&allocator, Bytes::mib(20));
    let address = held.address();
    held.record_use(held.stream()).unwrap();
    drop(held);
    assert_eq!(take(&allocator, Bytes::mib(20)).address(), address);
    assert!(device.leaks().events == 0);
}

#[test]
fn streams_are_counted_up_to_65_535() {
    let (device, allocator) = lend(Config::pytorch(), 64);
    let first = take(&allocator, Bytes::new(1));
    let numbered = |number: u64| StreamId::new((1 << 32) + number);
    let mut seen = 1;
    let held = loop {
        let held = take(&allocator, Bytes::new(1));
        match held.record_use(numbered(seen)) {
            Ok(()) => seen += 1,
            Err(error) => {
                assert!(matches!(error, Error::TooManyStreams), "{error}");
                break held;
            }
        }
    };
    assert_eq!((seen, allocator.streams().len()), (65_535, 65_535));
    let refused = allocator.allocate(Bytes::new(1), StreamId::new(7)).unwrap_err();
    assert!(matches!(refused, Error::TooManyStreams), "{refused}");
    held.record_use(numbered(500)).expect("a stream that is known");
    drop(held);
    drop(first);
    finish(&device, allocator);
}

#[test]
fn handles_and_allocators_may_be_sent_and_shared() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<CachingAllocator<SimDevice>>();
    is_shared::<Allocation<SimDevice>>();
    is_shared::<Borrowed<'_, SimDevice>>();
    is_shared::<Borrowed<'_, Arc<SimDevice>>>();
    is_shared::<Error>();
}

#[test]
fn an_allocator_may_go_before_its_bare_addresses() {
    for settings in ["", "expandable_segments:True"] {
        let (device, allocator) = lend(parse(settings), 256);
        let lost = allocator.allocate_raw(Bytes::mib(3), stream(0)).unwrap();
        let cached = take(&allocator, Bytes::mib(50));
        drop(cached);
        drop(allocator);
        let left = freeboard_units::AddressRange::new(lost, Bytes::mib(3));
        assert!(device.can_access(left), "its memory is not pulled away");
        assert_eq!(device.used(), Bytes::mib(20), "the rest was given back");
    }
}

#[test]
fn an_allocator_may_live_as_long_as_the_program() {
    let device = Arc::new(SimDevice::new(Bytes::mib(64)));
    let allocator = CachingAllocator::new(Arc::clone(&device), Config::default()).unwrap().leak();
    let held: Borrowed<'static, _> = allocator.allocate(Bytes::mib(2), stream(0)).unwrap();
    let thread = std::thread::spawn(move || held.size());
    assert_eq!(thread.join().unwrap(), Bytes::mib(2));
    assert_eq!(allocator.stats().allocated_bytes.all.current, 0);
}
