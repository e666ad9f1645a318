//! What [`Memory`](freeboard::device::Memory) promises.

use std::thread;

use freeboard::Bytes;
use freeboard::device::{Device, Handle};
use freeboard::units::{Address, AddressRange};

use crate::check::{Check, assert_refused, checks};

pub(crate) fn checks<D: Device + Sync>() -> Vec<Check<D>> {
    checks![
        a_device_says_what_is_free,
        the_granularity_is_a_power_of_two,
        whole_allocations_come_and_go,
        no_bytes_cannot_be_allocated,
        too_much_is_out_of_memory_and_changes_nothing,
        what_is_not_allocated_cannot_be_freed,
        reservations_do_not_overlap,
        sizes_must_be_whole_granules,
        a_page_is_mapped_and_unmapped,
        what_is_mapped_wrongly_is_refused,
        one_page_may_lie_at_several_addresses,
        several_mappings_are_opened_and_unmapped_at_once,
        released_memory_lives_until_it_is_unmapped,
        handles_are_released_once,
        memory_runs_out_and_comes_back,
        threads_may_map_at_the_same_time,
    ]
}

/// A page of memory at a range of its own.
pub(crate) struct Mapped {
    pub(crate) range: AddressRange,
    pub(crate) handle: Handle,
}

impl Mapped {
    pub(crate) fn new(device: &impl Device, size: Bytes) -> Self {
        let range = device.reserve(size).unwrap();
        let handle = device.create(size).unwrap();
        device.map(range, handle).unwrap();
        device.set_access(range).unwrap();
        Self { range, handle }
    }

    pub(crate) fn give_back(self, device: &impl Device) {
        device.unmap(self.range).unwrap();
        device.release(self.handle).unwrap();
        device.unreserve(self.range).unwrap();
    }
}

/// The `n`-th stretch of `size` in `range`.
fn part(range: AddressRange, n: u64, size: Bytes) -> AddressRange {
    AddressRange::new(range.start() + size * n, size)
}

fn a_device_says_what_is_free<D: Device>(device: &D) {
    let before = device.info().unwrap();
    assert!(before.free <= before.total && !before.free.is_zero());
    let start = device.allocate(Bytes::mib(64)).unwrap();
    assert!(device.info().unwrap().free < before.free);
    device.free(start).unwrap();
}

fn the_granularity_is_a_power_of_two<D: Device>(device: &D) {
    let granularity = device.granularity();
    assert!(granularity.get().is_power_of_two() && granularity >= Bytes::kib(4));
    assert_eq!(device.granularity(), granularity);
}

fn whole_allocations_come_and_go<D: Device>(device: &D) {
    let sizes = [1, 511, 513, 2 << 20, (2 << 20) + 1, 20 << 20].map(Bytes::new);
    let starts = sizes.map(|size| device.allocate(size).unwrap());
    for (n, (&start, &size)) in starts.iter().zip(&sizes).enumerate() {
        assert!(!start.is_null() && start.get().is_multiple_of(256), "{start}");
        let range = AddressRange::new(start, size);
        assert!(starts.iter().skip(n + 1).all(|&other| !range.contains(other)));
    }
    for start in starts {
        device.free(start).unwrap();
    }
}

fn no_bytes_cannot_be_allocated<D: Device>(device: &D) {
    assert_refused(device.allocate(Bytes::ZERO));
    assert_refused(device.reserve(Bytes::ZERO));
    assert_refused(device.create(Bytes::ZERO));
}

fn too_much_is_out_of_memory_and_changes_nothing<D: Device>(device: &D) {
    let granularity = device.granularity();
    let too_much = (device.info().unwrap().total + granularity).align_up(granularity);
    assert!(device.allocate(too_much).unwrap_err().is_out_of_memory());
    assert!(device.create(too_much).unwrap_err().is_out_of_memory());
    whole_allocations_come_and_go(device);
}

fn what_is_not_allocated_cannot_be_freed<D: Device>(device: &D) {
    let start = device.allocate(Bytes::mib(2)).unwrap();
    assert_refused(device.free(start + Bytes::new(256)));
    device.free(start).unwrap();
    assert_refused(device.free(start));
    assert_refused(device.free(Address::new(0x1000)));
}

fn reservations_do_not_overlap<D: Device>(device: &D) {
    let unit = device.granularity();
    let ranges = [1, 8, 3].map(|n| device.reserve(unit * n).unwrap());
    for (n, range) in ranges.iter().enumerate() {
        assert!(range.start().get().is_multiple_of(unit.get()));
        assert!(ranges.iter().skip(n + 1).all(|other| !range.overlaps(*other)));
    }
    for range in ranges {
        device.unreserve(range).unwrap();
        assert_refused(device.unreserve(range));
    }
}

fn sizes_must_be_whole_granules<D: Device>(device: &D) {
    let crooked = device.granularity() + Bytes::new(512);
    assert_refused(device.reserve(crooked));
    assert_refused(device.create(crooked));
}

fn a_page_is_mapped_and_unmapped<D: Device>(device: &D) {
    for _ in 0..3 {
        Mapped::new(device, device.granularity()).give_back(device);
    }
}

fn what_is_mapped_wrongly_is_refused<D: Device>(device: &D) {
    let unit = device.granularity();
    let range = device.reserve(unit * 4).unwrap();
    let (small, large) = (device.create(unit).unwrap(), device.create(unit * 2).unwrap());
    let page = |n| part(range, n, unit);
    device.map(part(range, 0, unit * 2), large).unwrap();
    assert_refused(device.map(page(1), small)); // something is there
    assert_refused(device.map(page(4), small)); // not reserved
    assert_refused(device.set_access(page(2))); // nothing is there
    assert_refused(device.unmap(page(2)));
    assert_refused(device.unmap(page(0))); // half a mapping
    assert_refused(device.unreserve(range)); // something is there
    device.map(page(2), small).unwrap();
    device.set_access(part(range, 0, unit * 2)).unwrap();
    device.set_access(page(2)).unwrap();
    device.unmap(part(range, 0, unit * 2)).unwrap();
    assert_refused(device.unmap(part(range, 0, unit * 2)));
    device.unmap(page(2)).unwrap();
    for handle in [small, large] {
        device.release(handle).unwrap();
    }
    device.unreserve(range).unwrap();
}

fn one_page_may_lie_at_several_addresses<D: Device>(device: &D) {
    let unit = device.granularity();
    let range = device.reserve(unit * 3).unwrap();
    let handle = device.create(unit).unwrap();
    for n in 0..3 {
        device.map(part(range, n, unit), handle).unwrap();
        device.set_access(part(range, n, unit)).unwrap();
    }
    for n in [1, 0, 2] {
        device.unmap(part(range, n, unit)).unwrap();
    }
    device.release(handle).unwrap();
    device.unreserve(range).unwrap();
}

fn several_mappings_are_opened_and_unmapped_at_once<D: Device>(device: &D) {
    let unit = device.granularity();
    let range = device.reserve(unit * 3).unwrap();
    let handles = [0, 1, 2].map(|n| {
        let handle = device.create(unit).unwrap();
        device.map(part(range, n, unit), handle).unwrap();
        handle
    });
    device.set_access(range).unwrap();
    device.unmap(range).unwrap();
    for handle in handles {
        device.release(handle).unwrap();
    }
    device.unreserve(range).unwrap();
}

fn released_memory_lives_until_it_is_unmapped<D: Device>(device: &D) {
    let size = Bytes::mib(128).align_up(device.granularity());
    let Mapped { range, handle } = Mapped::new(device, size);
    device.release(handle).unwrap();
    let held = device.info().unwrap().free;
    device.unmap(range).unwrap();
    assert!(device.info().unwrap().free > held);
    device.unreserve(range).unwrap();
}

fn handles_are_released_once<D: Device>(device: &D) {
    let handle = device.create(device.granularity()).unwrap();
    device.release(handle).unwrap();
    assert_refused(device.release(handle));
    let range = device.reserve(device.granularity()).unwrap();
    assert_refused(device.map(range, handle));
    device.unreserve(range).unwrap();
}

fn memory_runs_out_and_comes_back<D: Device>(device: &D) {
    let size = Bytes::new(device.info().unwrap().free.get() / 12).align_up(device.granularity());
    let take = || {
        let mut handles = Vec::new();
        let error = loop {
            match device.create(size) {
                Ok(handle) => handles.push(handle),
                Err(error) => break error,
            }
            assert!(handles.len() <= 12, "more than there is");
        };
        assert!(error.is_out_of_memory(), "{error}");
        handles
    };
    let first = take();
    assert!(first.len() >= 10, "{} of 12", first.len());
    assert!(device.allocate(size).unwrap_err().is_out_of_memory());
    for handle in first {
        device.release(handle).unwrap();
    }
    for handle in take() {
        device.release(handle).unwrap();
    }
}

fn threads_may_map_at_the_same_time<D: Device + Sync>(device: &D) {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 1..20 {
                    let mapped = Mapped::new(device, device.granularity() * (n % 3 + 1));
                    let start = device.allocate(Bytes::kib(n)).unwrap();
                    mapped.give_back(device);
                    device.free(start).unwrap();
                }
            });
        }
    });
}
