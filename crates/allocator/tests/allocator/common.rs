//! Devices, allocators and sizes, in few words.

use std::sync::Arc;

use freeboard_allocator::{Allocation, CachingAllocator, Config, Error, OutOfMemory};
use freeboard_device_sim::{SimConfig, SimDevice};
use freeboard_units::{Bytes, StreamId};

pub(crate) type Device = Arc<SimDevice>;
pub(crate) type Allocator = Arc<CachingAllocator<Device>>;
pub(crate) type Held = Allocation<Device>;

pub(crate) const MIB: u64 = 1 << 20;

/// A device of `mib` MiB and an allocator on it.
pub(crate) fn lend(config: Config, mib: u64) -> (Device, Allocator) {
    lend_with_lag(config, mib, 0)
}

/// The same, with events that are done `ticks` after their recording.
pub(crate) fn lend_with_lag(config: Config, mib: u64, ticks: u64) -> (Device, Allocator) {
    let sim = SimConfig { event_lag_ticks: ticks, ..SimConfig::new(Bytes::mib(mib)) };
    let device = Arc::new(SimDevice::with_config(sim));
    let allocator = CachingAllocator::new(Arc::clone(&device), config).expect("good settings");
    (device, Arc::new(allocator))
}

/// Settings in `PyTorch`'s words.
pub(crate) fn parse(text: &str) -> Config {
    Config::parse(text).expect(text).config
}

pub(crate) const fn stream(number: u64) -> StreamId {
    StreamId::new(number)
}

/// Memory on the default stream, which must be there.
#[track_caller]
pub(crate) fn take(allocator: &Allocator, bytes: Bytes) -> Held {
    take_on(allocator, bytes, 0)
}

/// Memory on a stream, which must be there.
#[track_caller]
pub(crate) fn take_on(allocator: &Allocator, bytes: Bytes, number: u64) -> Held {
    match allocator.allocate_shared(bytes, stream(number)) {
        Ok(held) => held,
        Err(error) => panic!("{bytes} on stream {number}: {error}"),
    }
}

#[track_caller]
pub(crate) fn take_many(allocator: &Allocator, count: usize, bytes: Bytes) -> Vec<Held> {
    (0..count).map(|_| take(allocator, bytes)).collect()
}

/// The report of a request that must run out of memory.
#[track_caller]
pub(crate) fn refused(allocator: &Allocator, bytes: Bytes) -> OutOfMemory {
    refused_on(allocator, bytes, 0)
}

/// The same on a stream.
#[track_caller]
pub(crate) fn refused_on(allocator: &Allocator, bytes: Bytes, number: u64) -> OutOfMemory {
    match allocator.allocate_shared(bytes, stream(number)) {
        Err(Error::OutOfMemory(report)) => *report,
        Err(error) => panic!("{bytes}: {error}"),
        Ok(held) => panic!("{bytes} were served: {held:?}"),
    }
}

pub(crate) fn reserved(allocator: &Allocator) -> Bytes {
    bytes(allocator.stats().reserved_bytes.all.current)
}

pub(crate) fn bytes(counter: i64) -> Bytes {
    Bytes::new(u64::try_from(counter).expect("a counter is not negative"))
}

/// Everything is in order, and everything was given back once the allocator is gone.
#[track_caller]
pub(crate) fn finish(device: &Device, allocator: Allocator) {
    allocator.check().expect("the books are in order");
    drop(Arc::into_inner(allocator).expect("nobody else holds the allocator"));
    assert_eq!(device.first_violation(), None);
    assert!(device.is_empty(), "left behind: {:?}", device.leaks());
}

/// Every class of settings, by name.
pub(crate) const CONFIGURATIONS: &[(&str, &str)] = &[
    ("pytorch", ""),
    ("expandable", "expandable_segments:True"),
    ("max_split", "max_split_size_mb:32"),
    ("max_split_rounding", "max_split_size_mb:64,max_non_split_rounding_mb:40"),
    ("max_split_expandable", "max_split_size_mb:64,expandable_segments:True"),
    ("roundup_number", "roundup_power2_divisions:4"),
    ("roundup_list", "roundup_power2_divisions:[1:2,4:4,16:8,>:1]"),
    ("gc_without_fraction", "garbage_collection_threshold:0.5"),
    ("gc_with_fraction", "garbage_collection_threshold:0.5,per_process_memory_fraction:0.8"),
    ("throw_on_oom", "throw_on_cudamalloc_oom:True,per_process_memory_fraction:0.7"),
    ("large_segments", "large_segment_size_mb:32"),
    ("large_pages", "large_segment_size_mb:64,expandable_segments:True"),
    ("small_reserve", "expandable_segments:True,expandable_segments_reserve:0.3"),
];
