//! What a budget comes to.

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_budget::{Budget, BudgetError};
use freeboard_buffer::DeviceBuffer;
use freeboard_device_sim::SimDevice;
use freeboard_units::{Bytes, StreamId};

use crate::model::allocator;

#[test]
fn what_the_allocator_keeps_and_has_not_handed_out_counts_as_free() {
    let allocator = allocator(Bytes::mib(64));
    let whole = Budget::free(&allocator).unwrap().get().unwrap();
    assert_eq!(whole, Bytes::mib(64));
    let kept = DeviceBuffer::<u8, _>::zeroed(&allocator, 4 << 20, StreamId::DEFAULT).unwrap();
    drop(DeviceBuffer::<u8, _>::zeroed(&allocator, 32 << 20, StreamId::DEFAULT).unwrap());
    let of_device = Budget::device_free(allocator.device()).unwrap().get().unwrap();
    assert!(of_device < Bytes::mib(32), "{of_device} is free beside the cache");
    assert_eq!(Budget::free(&allocator).unwrap().get(), Ok(Bytes::mib(60)));
    drop(kept);
    assert_eq!(Budget::free(&allocator).unwrap().get(), Ok(Bytes::mib(64)));
}

#[test]
fn the_limit_of_the_allocator_counts() {
    let config = Config::default().with_memory_fraction(0.25).unwrap();
    let allocator = CachingAllocator::new(SimDevice::new(Bytes::gib(1)), config).unwrap();
    assert_eq!(Budget::free(&allocator).unwrap().get(), Ok(Bytes::mib(256)));
    let taken = allocator.allocate(Bytes::mib(200), StreamId::DEFAULT).unwrap();
    assert_eq!(Budget::free(&allocator).unwrap().get(), Ok(Bytes::mib(56)));
    drop(taken);
}

#[test]
fn a_budget_of_nothing_and_a_share_of_no_part_are_errors() {
    let mib = Bytes::mib(1);
    let nothing = Budget::bytes(mib).minus(mib).minus(Bytes::MAX).share(0.5);
    assert_eq!(nothing.get(), Err(BudgetError::Nothing { from: mib, minus: Bytes::MAX }));
    assert!(Budget::bytes(Bytes::new(3)).share(0.1).get().is_err());
    for share in [0.0, -1.0, 1.5, f64::INFINITY] {
        let budget = Budget::bytes(mib).share(share).share(0.5);
        assert_eq!(budget.get(), Err(BudgetError::Share(share)));
    }
    assert!(matches!(Budget::bytes(mib).share(f64::NAN).get(), Err(BudgetError::Share(_))));
    assert_eq!(Budget::bytes(Bytes::MAX).share(1.0).get(), Ok(Bytes::MAX));
}
