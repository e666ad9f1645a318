//! Memory goes from stream to stream in order of events: one for all that was freed before it, and
//! none that is not needed.

use freeboard_allocator::{Config, PoolOptions, PoolUse};
use freeboard_device_sim::Call;
use freeboard_units::Bytes;

use crate::common::{Device, finish, lend, lend_with_lag, refused_on, stream, take_on};

const SIZE: Bytes = Bytes::mib(20);

/// Events recorded, and waits for them on the device and on the host.
fn events(device: &Device) -> [u64; 3] {
    [Call::EventRecord, Call::StreamWaitEvent, Call::EventSynchronize]
        .map(|call| device.count(call))
}

#[test]
fn all_that_was_freed_before_a_wait_needs_no_second_one() {
    let (device, allocator) = lend_with_lag(Config::default(), 80, 1_000_000);
    let mut held: Vec<_> = (0..4).map(|_| take_on(&allocator, SIZE, 0)).collect();
    let (last, _, first) = (held.pop().unwrap(), held.remove(2), held.remove(0));
    drop(first);
    assert_eq!(events(&device), [0, 0, 0], "the same stream needs none");
    let one = take_on(&allocator, SIZE, 1);
    assert_eq!(events(&device), [1, 1, 0]);
    let two = take_on(&allocator, SIZE, 1);
    assert_eq!(events(&device), [1, 1, 0], "freed before that wait");
    drop(last);
    let three = take_on(&allocator, SIZE, 1);
    assert_eq!(events(&device), [2, 2, 0], "freed after it");
    drop((one, two, three));
    let back = take_on(&allocator, SIZE * 3, 0);
    assert_eq!(events(&device), [3, 3, 0], "one for all three");
    drop((held, back));
    finish(&device, allocator);
}

#[test]
fn each_stream_waits_for_itself_and_for_the_one_before_it() {
    let (device, allocator) = lend_with_lag(Config::default(), 20, 1_000_000);
    for number in 0..20 {
        drop(take_on(&allocator, SIZE, number));
        assert_eq!(events(&device), [number, number, 0]);
    }
    drop(take_on(&allocator, SIZE, 0));
    assert_eq!(events(&device), [20, 20, 0], "what it freed itself has been used since");
    finish(&device, allocator);
}

#[test]
fn what_is_known_to_be_over_needs_no_wait() {
    let (device, allocator) = lend_with_lag(Config::default(), 40, 1_000_000);
    let small = take_on(&allocator, Bytes::new(512), 0); // keeps one handle
    drop(take_on(&allocator, Bytes::mib(1), 0));
    allocator.empty_cache().unwrap();
    let [_, before, _] = events(&device);
    drop(take_on(&allocator, Bytes::mib(1), 1));
    assert_eq!(events(&device)[1], before);
    drop(small);
    finish(&device, allocator);
}

#[test]
fn nothing_is_ordered_while_a_graph_is_captured() {
    let (device, allocator) = lend_with_lag(Config::default(), 100, 5);
    let graph = allocator.create_pool(PoolOptions::default());
    let kept = take_on(&allocator, SIZE, 0);
    drop(take_on(&allocator, SIZE * 2, 2));
    allocator.begin_pool(graph, PoolUse::Capture, |id| id == stream(1)).unwrap();
    let calls =
        [Call::EventRecord, Call::StreamWaitEvent, Call::EventQuery, Call::EventSynchronize];
    let before = calls.map(|call| device.count(call));
    let captured = take_on(&allocator, SIZE, 1);
    drop(kept);
    // Another stream's memory would need an event; its own does not.
    refused_on(&allocator, SIZE * 3, 0);
    let own = take_on(&allocator, SIZE * 2, 0);
    own.record_use(stream(2)).unwrap();
    drop(own);
    assert_eq!(calls.map(|call| device.count(call)), before);
    allocator.end_pool(graph).unwrap();
    drop(take_on(&allocator, SIZE * 4, 0));
    assert!(device.count(Call::StreamWaitEvent) > before[1]);
    drop(captured);
    finish(&device, allocator);
}

/// A request that could be cut out of one large handle of two streams, without a driver call.
#[test]
fn parts_of_two_streams_are_one_after_a_wait() {
    let (device, allocator) = lend(Config::default(), 16);
    drop(take_on(&allocator, Bytes::mib(16), 0));
    let left = take_on(&allocator, Bytes::mib(8), 0);
    let right = take_on(&allocator, Bytes::mib(8), 1);
    drop((left, right));
    let maps = device.count(Call::MemMap);
    let both = take_on(&allocator, Bytes::mib(16), 1);
    assert_eq!(device.count(Call::MemMap), maps);
    drop(both);
    finish(&device, allocator);
}

#[test]
fn a_retired_stream_is_waited_for_by_nobody() {
    let (device, allocator) = lend(Config::default(), 64);
    drop(take_on(&allocator, Bytes::mib(40), 1));
    let _other = take_on(&allocator, Bytes::mib(2), 0);
    drop(take_on(&allocator, Bytes::mib(38), 1));
    allocator.retire_stream(stream(1));
    let before = events(&device);
    let taken = take_on(&allocator, Bytes::mib(40), 0);
    assert_eq!(events(&device), before);
    drop(taken);
    // It may come back.
    drop(take_on(&allocator, Bytes::mib(40), 1));
    drop(take_on(&allocator, Bytes::mib(40), 0));
    assert_eq!(events(&device)[1], before[1] + 2);
    allocator.check().unwrap();
}
