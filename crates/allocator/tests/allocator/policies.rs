//! One setting at a time, with exact numbers.

use freeboard_allocator::Config;
use freeboard_device_sim::Call;
use freeboard_units::Bytes;

use crate::common::{finish, lend, lend_with_lag, parse, refused, reserved, stream, take, take_on};

#[test]
fn requests_become_blocks_and_segments_of_known_sizes() {
    // Asked for, block, segment taken for it.
    let mib = |n: u64| n << 20;
    for (asked, block, segment) in [
        (1, 512, mib(2)),
        (513, 1024, mib(2)),
        (mib(1), mib(1), mib(2)),
        (mib(1) + 1, mib(1) + 512, mib(20)),
        (mib(10) - 1, mib(10), mib(10)),
        (mib(10) - 512, mib(10) - 512, mib(20)),
        (mib(11), mib(11), mib(12)),
        (mib(101), mib(101), mib(102)),
    ] {
        let (_device, allocator) = lend(Config::pytorch(), 1024);
        let held = take(&allocator, Bytes::new(asked));
        // What is left of a segment is cut off only if it is worth it.
        let whole = if segment - block > mib(1) || asked <= mib(1) { block } else { segment };
        assert_eq!(held.size(), Bytes::new(whole), "{asked}");
        assert_eq!(reserved(&allocator), Bytes::new(segment), "{asked}");
    }
}

#[test]
fn sizes_are_rounded_up_to_fractions_of_powers_of_two() {
    let list = "roundup_power2_divisions:[1:1,2:2,4:4,>:8]";
    for (settings, asked, size) in [
        ("roundup_power2_divisions:4", 1_200_000, 1_310_720),
        ("roundup_power2_divisions:4", 5 << 20, 5 << 20),
        ("roundup_power2_divisions:4", (5 << 20) + 1, 6 << 20),
        (list, (1 << 20) + 1, (1 << 20) + 512),
        (list, (2 << 20) + 1, 3 << 20),
        (list, (4 << 20) + 1, 5 << 20),
        (list, (64 << 20) + 1, 72 << 20),
    ] {
        let (_device, allocator) = lend(parse(settings).with_expandable_segments(true), 1024);
        let held = take(&allocator, Bytes::new(asked));
        assert_eq!(held.size(), Bytes::new(size), "{settings}, {asked}");
        let stats = allocator.stats();
        assert_eq!(stats.requested_bytes.all.current, held.requested().as_i64());
        assert_eq!(stats.allocated_bytes.all.current, held.size().as_i64());
        assert_eq!(allocator.fragmentation(stream(0)).rounding, Bytes::new(size - asked));
    }
}

#[test]
fn garbage_collection_gives_back_what_has_been_unused_longest() {
    let with_fraction = "garbage_collection_threshold:0.5,per_process_memory_fraction:0.9";
    let without = "garbage_collection_threshold:0.45";
    let ours = |text| {
        let mut config = parse(text);
        config.garbage_collection_without_fraction = true;
        config
    };
    for (config, collects) in
        [(parse(with_fraction), true), (parse(without), false), (ours(without), true)]
    {
        let (device, allocator) = lend(config.clone(), 1000);
        let [oldest, middle, newest] = [100, 120, 140].map(|mib| take(&allocator, Bytes::mib(mib)));
        drop(oldest);
        let _live = take(&allocator, Bytes::mib(190)); // 550 MiB held, 450 MiB may be
        drop((middle, newest));
        let _more = take(&allocator, Bytes::mib(210));
        assert_eq!(device.count(Call::Free), u64::from(collects), "under {config:?}");
        let held = if collects { 660 } else { 760 };
        assert_eq!(reserved(&allocator), Bytes::mib(held));
        let calls = device.count(Call::Malloc);
        let _again = (take(&allocator, Bytes::mib(140)), take(&allocator, Bytes::mib(120)));
        assert_eq!(device.count(Call::Malloc), calls, "the younger ones are still cached");
    }
}

#[test]
fn work_on_another_stream_delays_reuse_until_it_is_done() {
    for config in [Config::pytorch(), Config::default()] {
        let (device, allocator) = lend_with_lag(config, 1024, 5);
        let held = take(&allocator, Bytes::mib(20));
        let address = held.address();
        held.record_use(stream(1)).unwrap();
        held.record_use(stream(1)).unwrap(); // once is enough
        held.record_use(stream(2)).unwrap();
        drop(held);
        assert_eq!(device.count(Call::EventRecord), 2, "an event on each stream");
        let stats = allocator.stats();
        assert_eq!(
            (stats.allocated_bytes.all.current, stats.active_bytes.all.current),
            (0, 20 << 20)
        );
        assert_eq!(stats.requested_bytes.all.current, 20 << 20);
        assert_eq!(allocator.fragmentation(stream(0)).pending, Bytes::mib(20));
        device.advance(4);
        let other = take(&allocator, Bytes::mib(20));
        assert_ne!(other.address(), address);
        device.advance(1);
        assert_eq!(take(&allocator, Bytes::mib(20)).address(), address);
        drop(other);
        assert_eq!(device.leaks().events, 2, "events are kept for the next time");
        finish(&device, allocator);
    }
}

#[test]
fn memory_of_one_stream_does_not_serve_another() {
    let (device, allocator) = lend(Config::pytorch(), 1024);
    drop(take_on(&allocator, Bytes::mib(20), 1));
    let _other = take_on(&allocator, Bytes::mib(20), 2);
    assert_eq!(device.count(Call::Malloc), 2);
    let _own = take_on(&allocator, Bytes::mib(20), 1);
    assert_eq!(device.count(Call::Malloc), 2);
}

#[test]
fn early_refusals_do_not_ask_the_device() {
    let settings = "throw_on_cudamalloc_oom:True,per_process_memory_fraction:0.5";
    let (device, allocator) = lend(parse(settings), 1000);
    // With a limit in force, that is what refuses; the early check stays when it is lifted.
    allocator.set_memory_fraction(1.0).unwrap();
    drop(take(&allocator, Bytes::mib(300)));
    let calls = device.count(Call::Malloc);
    let report = refused(&allocator, Bytes::mib(400));
    assert!(report.refused_early);
    assert_eq!(device.count(Call::Malloc), calls);
    assert_eq!(reserved(&allocator), Bytes::mib(300), "nothing is given back for it");
    let stats = allocator.stats();
    assert_eq!((stats.num_oom_rejections, stats.num_ooms, stats.num_alloc_retries), (1, 0, 0));
}

#[test]
fn the_limit_follows_the_fraction() {
    let (_device, allocator) = lend(Config::pytorch(), 1000);
    for (fraction, most) in [(0.5, 500), (0.25, 250), (0.0, 0), (1.0, 1000)] {
        allocator.set_memory_fraction(fraction).unwrap();
        refused(&allocator, Bytes::mib(most) + Bytes::new(1));
        drop(take(&allocator, Bytes::mib(most)));
        allocator.empty_cache().unwrap();
    }
    for fraction in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert!(allocator.set_memory_fraction(fraction).is_err(), "{fraction}");
        assert_eq!(allocator.config().memory_fraction, Some(1.0), "as before");
    }
}

#[test]
fn peaks_and_sums_are_reset_apart_as_in_torch() {
    let (_device, allocator) = lend(Config::pytorch(), 1000);
    let kept = take(&allocator, Bytes::mib(30));
    drop(take(&allocator, Bytes::mib(50)));
    let stat = || {
        let stat = allocator.stats().allocated_bytes.all;
        [stat.current, stat.peak, stat.allocated, stat.freed].map(|bytes| bytes >> 20)
    };
    assert_eq!(stat(), [30, 80, 80, 50]);
    allocator.reset_peak_stats();
    assert_eq!(stat(), [30, 30, 80, 50]);
    allocator.reset_accumulated_stats();
    assert_eq!(stat(), [30, 30, 0, 0]);
    assert_eq!(allocator.stats().num_device_alloc, 0);
    drop(kept);
    assert_eq!(stat(), [0, 30, 0, 30]);
    let reserved = allocator.stats().reserved_bytes.all;
    assert_eq!([reserved.current, reserved.peak].map(|bytes| bytes >> 20), [80, 80]);
}

#[test]
fn emptying_the_cache_gives_back_whole_segments_and_whole_pages() {
    for (settings, left) in [("", 60), ("expandable_segments:True", 40)] {
        let (device, allocator) = lend(parse(settings), 1000);
        let large = take(&allocator, Bytes::mib(60));
        drop(take(&allocator, Bytes::mib(200)));
        drop(large);
        let _pin = take(&allocator, Bytes::mib(30));
        allocator.empty_cache().unwrap();
        assert_eq!(reserved(&allocator), Bytes::mib(left), "{settings}");
        assert_eq!(device.used(), reserved(&allocator));
    }
}
