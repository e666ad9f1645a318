//! A request that nothing can serve is refused at no cost to what comes after it.

use freeboard_allocator::Config;
use freeboard_units::Bytes;

use crate::common::{finish, lend, lend_with_lag, refused, reserved, stream, take, take_many};

/// More than there is, as much as there may be addresses for, and more than that.
const HOPELESS: [Bytes; 4] =
    [Bytes::mib(1025), Bytes::gib(100), Bytes::new((1 << 60) - 1), Bytes::new(u64::MAX)];

#[test]
fn a_hopeless_request_reserves_no_addresses_and_makes_no_stream_wait() {
    let (device, allocator) = lend_with_lag(Config::default(), 1024, 1_000_000);
    let block = take(&allocator, Bytes::mib(10));
    block.record_use(stream(1)).unwrap();
    drop(block);
    let before = allocator.stitching();
    for bytes in HOPELESS {
        refused(&allocator, bytes);
        assert_eq!(allocator.stitching(), before, "after {bytes}");
    }
    finish(&device, allocator);
}

#[test]
fn a_hopeless_request_does_not_count_as_memory_that_was_live() {
    let (device, allocator) = lend(Config::default(), 1024);
    for bytes in HOPELESS {
        refused(&allocator, bytes);
    }
    refused_for_now(&allocator);
    drop(take_many(&allocator, 8, Bytes::mib(16)));
    let held = take_many(&allocator, 4, Bytes::mib(32));
    assert_eq!(reserved(&allocator), Bytes::mib(128), "stitched, not taken");
    drop(held);
    finish(&device, allocator);
}

/// A request that would fit, but not beside what is live.
fn refused_for_now(allocator: &crate::common::Allocator) {
    let small = take(allocator, Bytes::mib(1));
    refused(allocator, Bytes::gib(1));
    drop(small);
}

/// A limit that was lowered below what is held does not keep what is held from serving.
#[test]
fn a_lowered_limit_leaves_what_is_held_to_be_used() {
    let (device, allocator) = lend(Config::default(), 1024);
    drop(take_many(&allocator, 8, Bytes::mib(64)));
    allocator.set_memory_fraction(0.1).unwrap();
    drop(take(&allocator, Bytes::mib(512)));
    refused(&allocator, Bytes::mib(514));
    assert_eq!(reserved(&allocator), Bytes::mib(512));
    finish(&device, allocator);
}
