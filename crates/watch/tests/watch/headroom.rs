//! `check_headroom`: the peak against what there is.

use freeboard_device_sim::{Fault, FaultPlan, SimConfig};
use freeboard_watch::{HeadroomError, check_headroom};

use super::*;

#[track_caller]
fn refused<D: Device>(allocator: &CachingAllocator<D>, margin: Bytes) -> (Bytes, String) {
    let error = check_headroom(allocator, margin).unwrap_err();
    let HeadroomError::TooLittle { headroom } = &error else { panic!("{error}") };
    (headroom.spare, error.to_string())
}

#[test]
fn the_peak_counts_not_what_is_held_now() {
    let allocator = allocator(Config::pytorch());
    drop(take(&allocator, 800));
    allocator.empty_cache().unwrap();
    let headroom = check_headroom(&allocator, Bytes::mib(224)).unwrap();
    assert_eq!((headroom.peak_reserved, headroom.spare), (Bytes::mib(800), Bytes::mib(224)));
    assert_eq!(
        (headroom.total, headroom.outside, headroom.limit),
        (Bytes::gib(1), Bytes::ZERO, None)
    );
    let (spare, text) = refused(&allocator, Bytes::mib(225));
    assert_eq!(spare, Bytes::mib(224));
    assert!(text.contains("less than 225.00 MiB") && text.contains("save 1024.00 KiB"), "{text}");
}

#[test]
fn what_others_hold_is_not_there_for_the_allocator() {
    let config = SimConfig { context: Bytes::mib(512), ..SimConfig::new(Bytes::gib(1)) };
    let device = SimDevice::with_config(config);
    let allocator = CachingAllocator::new(device, Config::default()).unwrap();
    let _held = take(&allocator, 400);
    let headroom = check_headroom(&allocator, Bytes::mib(112)).unwrap();
    assert_eq!((headroom.outside, headroom.capacity), (Bytes::mib(512), Bytes::mib(512)));
    assert_eq!(headroom.spare, Bytes::mib(112));
    allocator.device().set_capacity(Bytes::mib(850)); // another process came
    assert!(refused(&allocator, Bytes::mib(112)).0 < Bytes::mib(112));
}

#[test]
fn a_limit_that_binds_is_named() {
    let allocator = allocator(Config::pytorch());
    allocator.set_memory_fraction(0.5).unwrap();
    let _held = take(&allocator, 500);
    let headroom = check_headroom(&allocator, Bytes::mib(12)).unwrap();
    assert_eq!((headroom.limit, headroom.capacity), (Some(Bytes::mib(512)), Bytes::mib(512)));
    let (_, text) = refused(&allocator, Bytes::mib(100));
    assert!(text.contains("raise the memory fraction by 88.00 MiB"), "{text}");
}

#[test]
fn cached_memory_is_told_from_memory_in_use() {
    let allocator = allocator(Config::pytorch());
    drop(take(&allocator, 500));
    let _larger = take(&allocator, 502); // does not fit the cached one
    let (_, text) = refused(&allocator, Bytes::mib(200));
    assert!(text.contains("only 502.00 MiB of it was in use at once"), "{text}");
}

#[test]
fn failed_requests_are_counted_and_a_device_that_fails_is_an_error() {
    let device = SimDevice::new(Bytes::gib(1));
    let allocator = CachingAllocator::new(&device, Config::default()).unwrap();
    allocator.allocate(Bytes::gib(2), StreamId::DEFAULT).unwrap_err();
    let headroom = check_headroom(&allocator, Bytes::ZERO).unwrap();
    assert_eq!(headroom.num_ooms, 1);
    assert!(headroom.to_string().contains("are in no peak: 1"), "{headroom}");
    let fault = Fault::Driver { code: 700, message: "illegal address".to_owned() };
    device.set_faults(FaultPlan::nth_call(1, fault));
    let error = check_headroom(&allocator, Bytes::ZERO).unwrap_err();
    assert!(matches!(error, HeadroomError::Device(_)), "{error}");
}
