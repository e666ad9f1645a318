//! The caching allocator on a GPU's device.

use freeboard_allocator::{CachingAllocator, Error};
use freeboard_device_cuda::CudaDevice;
use freeboard_units::{Bytes, StreamId};

use crate::common::{DEFAULT, driver, lend, on};
use crate::program::{Random, World, configurations};

#[test]
fn random_programs_never_share_a_byte() {
    let (fake, driver) = driver();
    for config in configurations() {
        for seed in 0..8 {
            let mut world = World::new(&fake, driver, config.clone());
            let mut random = Random(seed);
            for _ in 0..150 {
                world.step(&mut random);
            }
            world.finish();
        }
    }
}

#[test]
fn what_is_cached_costs_no_driver_call() {
    for config in configurations() {
        let (fake, device) = lend();
        let allocator = CachingAllocator::new(device, config).unwrap();
        let round = || {
            let sizes = [1, 4000, 1 << 20, 3 << 20, 50 << 20];
            let held = sizes.map(|size| allocator.allocate(Bytes::new(size), DEFAULT).unwrap());
            drop(held);
        };
        round();
        fake.reset_counters();
        for _ in 0..100 {
            round();
        }
        assert_eq!(fake.total_calls(), 0);
    }
}

#[test]
fn a_full_device_is_told_as_such() {
    for config in configurations() {
        let (fake, driver) = driver();
        fake.set_capacity(100 << 20);
        let device = CudaDevice::with_options(0, on(driver)).unwrap();
        let allocator = CachingAllocator::new(device, config).unwrap();
        let held = allocator.allocate(Bytes::mib(60), DEFAULT).unwrap();
        let error = allocator.allocate(Bytes::mib(60), DEFAULT).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory(_)), "{error}");
        drop(held);
        let cached = allocator.allocate(Bytes::mib(30), DEFAULT).unwrap();
        drop(cached);
        assert!(allocator.allocate(Bytes::mib(90), DEFAULT).is_ok(), "the cache is given back");
    }
}

#[test]
fn memory_comes_back_only_after_the_streams_that_used_it() {
    let (fake, driver) = driver();
    for config in configurations() {
        let device = CudaDevice::with_options(0, on(driver)).unwrap();
        let other = freeboard_device::Order::create_stream(&device).unwrap();
        let allocator = CachingAllocator::new(device.clone(), config).unwrap();
        let handle = device.raw_stream(other).unwrap();
        fake.hold(handle, true);
        let held = allocator.allocate(Bytes::mib(4), DEFAULT).unwrap();
        let address = held.address();
        held.record_use(other).unwrap();
        drop(held);
        let busy = allocator.allocate(Bytes::mib(4), DEFAULT).unwrap();
        assert_ne!(busy.address(), address, "the other stream is not done with it");
        fake.hold(handle, false);
        drop(busy);
        // Pending blocks are looked at when a request asks for more than is cached, or by chance
        // earlier: so take what there is.
        let taken: Vec<_> =
            (0..4).map(|_| allocator.allocate(Bytes::mib(4), DEFAULT).unwrap()).collect();
        assert!(taken.iter().any(|one| one.address() == address), "now it is");
    }
}

#[test]
fn an_unknown_stream_is_an_error_not_a_leak() {
    let (fake, device) = lend();
    let allocator = CachingAllocator::new(device, configurations()[2].clone()).unwrap();
    let held = allocator.allocate(Bytes::mib(1), DEFAULT).unwrap();
    held.record_use(StreamId::new(12345)).unwrap();
    drop(held);
    let error = allocator.empty_cache().unwrap_err();
    assert!(error.to_string().contains("stream_of"), "{error}");
    allocator.check().unwrap();
    drop(allocator);
    assert_eq!(fake.live().events, 0);
}
