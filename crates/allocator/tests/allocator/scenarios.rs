//! Patterns that break caching allocators, and exactly what this one makes of them.
//!
//! Numbers (H1, H5, …) and outcomes are those of the field report; "as `PyTorch`" means to the byte.

use std::sync::Arc;

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_device::Memory;
use freeboard_device_sim::{Call, SimConfig, SimDevice};
use freeboard_units::Bytes;

use crate::common::{
    finish, lend, lend_with_lag, parse, refused, reserved, stream, take, take_many,
};

const EXPANDABLE: &str = "expandable_segments:True";

#[test]
fn h1_order_of_sizes_costs_256_mib_with_fixed_segments_140_with_pages_and_nothing_in_ours() {
    let ours = Config::default();
    for (config, mib) in [(parse(""), 256), (parse(EXPANDABLE), 140), (ours, 128)] {
        let (device, allocator) = lend(config, 1024);
        drop(take_many(&allocator, 8, Bytes::mib(16)));
        let held = take_many(&allocator, 4, Bytes::mib(32));
        assert_eq!(reserved(&allocator), Bytes::mib(mib));
        drop(held);
        finish(&device, allocator);
    }
}

#[test]
fn h2_live_blocks_pin_the_gaps_between_them() {
    for (settings, mib) in [("", 96), (EXPANDABLE, 100)] {
        let (_device, allocator) = lend(parse(settings), 1024);
        let mut blocks = take_many(&allocator, 4, Bytes::mib(16));
        drop((blocks.remove(2), blocks.remove(0)));
        let _held = take(&allocator, Bytes::mib(32));
        assert_eq!(reserved(&allocator), Bytes::mib(mib), "{settings}");
    }
}

/// Issue 189504: the block is free after the wait, but `PyTorch` does not look again.
#[test]
fn h5_a_pending_block_is_used_again_by_default_and_refused_as_in_pytorch() {
    let fixed = Config::default().with_expandable_segments(false);
    for (config, is_served) in [
        (Config::pytorch(), false),
        (parse(EXPANDABLE), true), // its pages are given back, and mapped again
        (Config::default(), true),
        (fixed, true),
    ] {
        let (device, allocator) = lend_with_lag(config.clone(), 1000, 1_000_000);
        drop(take(&allocator, Bytes::mib(1000)));
        let pin = take(&allocator, Bytes::mib(90)); // cut off the front, and stays
        let block = take(&allocator, Bytes::mib(910));
        block.record_use(stream(1)).unwrap();
        drop(block);
        let again = allocator.allocate(Bytes::mib(910), stream(0));
        assert_eq!(again.is_ok(), is_served, "under {config:?}");
        drop(again);
        let stats = allocator.stats();
        assert_eq!(stats.num_ooms, i64::from(!is_served));
        // Stitching waits on the device: the host goes on.
        let on_device = config.stitching;
        assert_eq!(device.count(Call::EventSynchronize), u64::from(!on_device));
        assert_eq!(device.count(Call::StreamWaitEvent), u64::from(on_device));
        drop(take(&allocator, Bytes::mib(910))); // there all the same
        drop(pin);
        finish(&device, allocator);
    }
}

#[test]
fn h6_an_oversize_block_is_kept_whole_lent_or_given_back() {
    let whole = "max_split_size_mb:400";
    let slack = "max_split_size_mb:400,max_non_split_rounding_mb:600";
    // What is reserved after 1,024 MiB were cached and 500 MiB asked for.
    for (settings, capacity, mib) in
        [("", 4096, 1024), (whole, 4096, 1524), (whole, 1200, 500), (slack, 4096, 1024)]
    {
        let (device, allocator) = lend(parse(settings), capacity);
        drop(take(&allocator, Bytes::mib(1024)));
        let held = take(&allocator, Bytes::mib(500));
        assert_eq!(reserved(&allocator), Bytes::mib(mib), "{settings} on {capacity}");
        let size = if settings == slack { 1024 } else { 500 };
        assert_eq!(held.size(), Bytes::mib(size), "{settings} on {capacity}");
        drop(held);
        finish(&device, allocator);
    }
}

#[test]
fn h7_unsplit_blocks_in_expandable_segments_are_released_and_nothing_breaks() {
    let both = "max_split_size_mb:500,expandable_segments:True";
    let searching = parse("max_split_size_mb:500").with_expandable_segments(true);
    for config in [parse("max_split_size_mb:500"), parse(both), searching] {
        let (device, allocator) = lend(config.clone(), 8140);
        drop(take(&allocator, Bytes::mib(550)));
        let held = take_many(&allocator, 74, Bytes::mib(110));
        assert_eq!(reserved(&allocator), Bytes::mib(8140), "under {config:?}");
        refused(&allocator, Bytes::mib(110));
        drop(held);
        finish(&device, allocator);
    }
}

/// A byte less moves a tensor to the other pool, whose memory is apart.
#[test]
fn h9_tensors_on_either_side_of_one_mib_never_share_memory() {
    for settings in ["", EXPANDABLE] {
        let (_device, allocator) = lend(parse(settings), 1024);
        for (size, mib) in [((1 << 20) + 1, 80), (1 << 20, 144), ((1 << 20) + 1, 144)] {
            drop(take_many(&allocator, 64, Bytes::new(size)));
            assert_eq!(reserved(&allocator), Bytes::mib(mib), "{settings}, {size}");
        }
    }
}

#[test]
fn h14_a_free_end_is_extended_in_place() {
    let ours = (Config::default(), 796, 0);
    for (config, mib, flushes) in [ours, (parse(EXPANDABLE), 800, 0), (parse(""), 796, 1)] {
        let (device, allocator) = lend(config, 810);
        let small = take(&allocator, Bytes::mib(12));
        drop(take(&allocator, Bytes::mib(736)));
        let large = take(&allocator, Bytes::mib(784));
        assert_eq!(reserved(&allocator), Bytes::mib(mib));
        let flushed = allocator.stats().num_alloc_retries;
        assert_eq!(flushed, flushes, "only fixed segments are given back first");
        drop((small, large));
        finish(&device, allocator);
    }
}

/// Growth by what is missing: a page that only begins to be used would be nobody else's.
#[test]
fn ours_maps_what_is_missing_and_less_where_there_is_less() {
    let ours = || Config::default().with_stitching(false);
    let (_device, allocator) = lend(ours(), 1024);
    let _large = take(&allocator, Bytes::mib(64));
    assert_eq!(reserved(&allocator), Bytes::mib(64));
    let _small = take(&allocator, Bytes::mib(3)); // many of this size would share a growth
    assert_eq!(reserved(&allocator), Bytes::mib(84));
    let (_device, allocator) = lend(ours(), 70);
    let _large = take(&allocator, Bytes::mib(64));
    let _small = take(&allocator, Bytes::mib(3));
    assert_eq!(reserved(&allocator), Bytes::mib(68));
}

#[test]
fn h16_a_fraction_counts_the_context_where_it_is_told_of_it() {
    let half = || Config::default().with_memory_fraction(0.5).unwrap();
    let context = Bytes::mib(600);
    for (config, used_mib) in [(half().with_context(context), 5120), (half(), 5720)] {
        let sim = SimConfig { context, ..SimConfig::new(Bytes::gib(10)) };
        let device = Arc::new(SimDevice::with_config(sim));
        let allocator = Arc::new(CachingAllocator::new(Arc::clone(&device), config).unwrap());
        let mut held = Vec::new();
        while let Ok(more) = allocator.allocate_shared(Bytes::mib(20), stream(0)) {
            held.push(more);
        }
        assert_eq!(device.used(), Bytes::mib(used_mib));
        assert!(device.info().unwrap().free > Bytes::gib(4), "the device has more");
    }
}

#[test]
fn h16_a_smaller_context_in_mib_steps_is_exact() {
    let config = Config::default().with_memory_fraction(0.5).unwrap().with_context(Bytes::mib(10));
    let (_device, allocator) = lend(config, 100);
    let report = refused(&allocator, Bytes::mib(41));
    assert_eq!(report.limit, Some(Bytes::mib(40)));
    drop(take(&allocator, Bytes::mib(40)));
}
