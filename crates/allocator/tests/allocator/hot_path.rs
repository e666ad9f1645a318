//! What is cached costs no driver call.

use std::collections::VecDeque;

use freeboard_allocator::Config;
use freeboard_device_sim::Call;
use freeboard_units::Bytes;

use crate::common::{Allocator, MIB, lend, parse, take, take_on};

/// The three ways to hold segments: fixed, by pages, and by pages with our searches.
fn configurations() -> [Config; 3] {
    [Config::pytorch(), parse("expandable_segments:True"), Config::default()]
}

/// Does `work` until its memory is cached, and once more: that must not touch the device.
fn costs_nothing_again(work: impl Fn(&Allocator)) {
    for config in configurations() {
        let (device, allocator) = lend(config.clone(), 4096);
        work(&allocator);
        // Stitched, streams wait for each other's memory: no call about memory. Else no call at all.
        let order: &[Call] = if config.stitching {
            &[Call::EventCreate, Call::EventRecord, Call::StreamWaitEvent]
        } else {
            &[]
        };
        let calls =
            || device.total_calls() - order.iter().map(|&call| device.count(call)).sum::<u64>();
        let (before, reserved) = (calls(), crate::common::reserved(&allocator));
        work(&allocator);
        assert_eq!(calls(), before, "under {config:?}");
        assert_eq!(crate::common::reserved(&allocator), reserved);
        allocator.check().unwrap();
    }
}

const SIZES: [u64; 8] = [1, 512, 4000, MIB, MIB + 1, 9 * MIB, 10 * MIB, 100 * MIB];

#[test]
fn allocations_and_frees_in_turn() {
    for size in SIZES {
        costs_nothing_again(|allocator| {
            for _ in 0..10 {
                drop(take(allocator, Bytes::new(size)));
            }
        });
    }
}

#[test]
fn stacks_and_queues() {
    costs_nothing_again(|allocator| {
        let mut stack: Vec<_> =
            SIZES.iter().cycle().take(40).map(|&size| take(allocator, Bytes::new(size))).collect();
        while stack.pop().is_some() {}
    });
    costs_nothing_again(|allocator| {
        let mut queue = VecDeque::new();
        for _ in 0..200 {
            queue.push_back(take(allocator, Bytes::kib(700)));
            if queue.len() > 20 {
                queue.pop_front();
            }
        }
    });
}

#[test]
fn several_streams() {
    costs_nothing_again(|allocator| {
        for number in 0..20 {
            let mut held = Vec::new();
            for size in SIZES.iter().take(6) {
                held.push(take_on(allocator, Bytes::new(*size), number % 5));
            }
        }
    });
}

/// A training step is the same sequence of requests each time.
#[test]
fn mixed_sizes_in_the_same_order() {
    costs_nothing_again(|allocator| {
        let mut random = 1_u64;
        let mut held = VecDeque::new();
        for _ in 0..500 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let bits = (random >> 59) % 25;
            held.push_back(take(allocator, Bytes::new(1 + (random >> 20) % (1 << bits))));
            if held.len() > 40 {
                held.remove(usize::try_from(random >> 40).unwrap() % held.len());
            }
        }
        // Freed in the order of their making, so that every run begins alike.
        while held.pop_front().is_some() {}
    });
}

#[test]
fn reading_the_books() {
    for config in configurations() {
        let (device, allocator) = lend(config, 1024);
        let held = take(&allocator, Bytes::mib(5));
        let calls = device.total_calls();
        let _ =
            (allocator.stats(), allocator.fragmentation(held.stream()), allocator.bookkeeping());
        let _ = (allocator.config(), allocator.streams(), format!("{allocator:?} {held:?}"));
        allocator.check().unwrap();
        assert_eq!(device.total_calls(), calls);
    }
}
