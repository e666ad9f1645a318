//! History: the events are PyTorch's, in its order; tags and stacks are those of the calls.

use std::collections::BTreeMap;

use freeboard_allocator::{Backtraces, Config, HistoryOptions, scope};
use freeboard_snapshot::Action::{
    self, Alloc, FreeCompleted, FreeRequested, Oom, SegmentAlloc, SegmentFree, SegmentMap,
    SegmentUnmap,
};
use freeboard_snapshot::{Block, BlockState, Event, Snapshot};
use freeboard_units::{Address, Bytes, StreamId};

use crate::common::{
    Allocator, MIB, bytes, lend, lend_with_lag, parse, refused, reserved, take, take_on,
};
use crate::snapshots::verify;

fn record(allocator: &Allocator) {
    allocator.record_history(HistoryOptions::default());
}

fn events(allocator: &Allocator) -> Vec<Event> {
    allocator.snapshot().histories[0].events.clone()
}

/// What happened and how much, without snapshots that were taken.
fn actions(allocator: &Allocator) -> Vec<(Action, u64)> {
    let all = events(allocator);
    let told = all.iter().filter(|event| event.action != Action::Snapshot);
    told.map(|event| (event.action, event.size.get())).collect()
}

fn block_at(snapshot: &Snapshot, address: Address) -> &Block {
    let mut blocks = snapshot.segments.iter().flat_map(|segment| &segment.blocks);
    blocks.find(|block| block.address == address).expect("a block")
}

fn tag_of(snapshot: &Snapshot, event: &Event) -> String {
    snapshot.names.get(event.tag).to_owned()
}

/// Plays the history from nothing: memory taken and handed out must be what the counters say, and
/// no event may contradict the ones before it.
#[track_caller]
pub(crate) fn replay(allocator: &Allocator) {
    let snapshot = verify(allocator);
    let history = &snapshot.histories[0];
    assert_eq!(history.dropped, 0);
    let (mut held, mut live) = (BTreeMap::new(), BTreeMap::new());
    let mut waiting: BTreeMap<u64, Bytes> = BTreeMap::new();
    let mut last = i64::MIN;
    for event in &history.events {
        assert!(event.time_us >= last, "time goes back");
        last = event.time_us;
        let (from, to) = (event.address, event.address + event.size.get());
        match event.action {
            SegmentAlloc | SegmentMap => map(&mut held, from, to),
            SegmentFree | SegmentUnmap => unmap(&mut held, from, to),
            Alloc => {
                let inside = held.range(..=from).next_back().is_some_and(|(_, &end)| end >= to);
                assert!(inside, "{event:?} is handed out but not held");
                assert_eq!(live.insert(from, event.size), None, "{event:?} is live already");
            }
            FreeRequested => {
                assert_eq!(live.remove(&from), Some(event.size), "{event:?} was not live");
                waiting.insert(from, event.size);
            }
            FreeCompleted => {
                assert_eq!(waiting.remove(&from), Some(event.size), "{event:?} not given back");
            }
            _ => {}
        }
    }
    let mut seen = BTreeMap::new();
    for segment in &snapshot.segments {
        let from = segment.address.get();
        map(&mut seen, from, from + segment.size.get());
    }
    assert_eq!(held, seen, "what is held by the history and by the snapshot");
    let requested: Bytes = live.values().chain(waiting.values()).copied().sum();
    assert_eq!(requested, bytes(allocator.stats().requested_bytes.all.current));
}

/// Adds a range that is not there, joined with its neighbours.
fn map(held: &mut BTreeMap<u64, u64>, mut from: u64, mut to: u64) {
    if let Some((&start, &end)) = held.range(..to).next_back() {
        assert!(end <= from, "{from:#x}..{to:#x} is held already");
        if end == from {
            held.remove(&start);
            from = start;
        }
    }
    if let Some(end) = held.remove(&to) {
        to = end;
    }
    held.insert(from, to);
}

fn unmap(held: &mut BTreeMap<u64, u64>, from: u64, to: u64) {
    let (&start, &end) = held.range(..=from).next_back().expect("it is held");
    assert!(end >= to, "{from:#x}..{to:#x} is not held");
    held.remove(&start);
    for (start, end) in [(start, from), (to, end)] {
        if start < end {
            held.insert(start, end);
        }
    }
}

/// The sequence that `torch.cuda.memory._snapshot()["device_traces"]` of PyTorch 2.15 shows for the
/// same calls of `caching_allocator_alloc`, `caching_allocator_delete` and `empty_cache`.
#[test]
fn events_come_in_pytorchs_order_with_its_sizes() {
    let program = |allocator: &Allocator| {
        record(allocator);
        let a = take(allocator, Bytes::new(1000));
        let b = take(allocator, Bytes::mib(3));
        let c = take(allocator, Bytes::mib(25));
        drop(b);
        drop(a);
        let d = take(allocator, Bytes::new(2 * MIB + 1));
        drop(c);
        drop(d);
        allocator.empty_cache().unwrap();
        actions(allocator)
    };
    let (_device, fixed) = lend(Config::pytorch(), 1024);
    assert_eq!(
        program(&fixed),
        [
            (SegmentAlloc, 2_097_152),
            (Alloc, 1000),
            (SegmentAlloc, 20_971_520),
            (Alloc, 3_145_728),
            (SegmentAlloc, 27_262_976),
            (Alloc, 26_214_400),
            (FreeRequested, 3_145_728),
            (FreeCompleted, 3_145_728),
            (FreeRequested, 1000),
            (FreeCompleted, 1000),
            (Alloc, 2_097_153),
            (FreeRequested, 26_214_400),
            (FreeCompleted, 26_214_400),
            (FreeRequested, 2_097_153),
            (FreeCompleted, 2_097_153),
            (SegmentFree, 20_971_520),
            (SegmentFree, 27_262_976),
            (SegmentFree, 2_097_152),
        ]
    );
    let (_device, expandable) = lend(parse("expandable_segments:True"), 1024);
    assert_eq!(
        program(&expandable),
        [
            (SegmentMap, 2_097_152),
            (Alloc, 1000),
            (SegmentMap, 20_971_520),
            (Alloc, 3_145_728),
            (SegmentMap, 20_971_520),
            (Alloc, 26_214_400),
            (FreeRequested, 3_145_728),
            (FreeCompleted, 3_145_728),
            (FreeRequested, 1000),
            (FreeCompleted, 1000),
            (Alloc, 2_097_153),
            (FreeRequested, 26_214_400),
            (FreeCompleted, 26_214_400),
            (FreeRequested, 2_097_153),
            (FreeCompleted, 2_097_153),
            (SegmentUnmap, 41_943_040),
            (SegmentUnmap, 2_097_152),
        ]
    );
}

/// As PyTorch 2.15 on a device of 24 GiB of which its context takes 100 MiB before.
#[test]
fn a_refusal_is_an_event_with_what_is_free_and_what_was_asked_for() {
    let (_device, allocator) = lend(Config::pytorch(), 1024);
    record(&allocator);
    let held = take(&allocator, Bytes::mib(100));
    let report = refused(&allocator, Bytes::gib(40));
    drop(held);
    let all = events(&allocator);
    assert_eq!(all[2].action, Oom);
    assert_eq!(Bytes::new(all[2].address), report.free.unwrap());
    assert_eq!(
        actions(&allocator),
        [
            (SegmentAlloc, 104_857_600),
            (Alloc, 104_857_600),
            (Oom, 42_949_672_960),
            (FreeRequested, 104_857_600),
            (FreeCompleted, 104_857_600),
        ]
    );
}

#[test]
fn a_block_that_waits_for_another_stream_is_free_later() {
    let (device, allocator) = lend_with_lag(Config::pytorch(), 1024, 1000);
    record(&allocator);
    let held = take(&allocator, Bytes::mib(3));
    held.record_use(StreamId::new(5)).unwrap();
    drop(held);
    let first = [(SegmentAlloc, 20 * MIB), (Alloc, 3 * MIB), (FreeRequested, 3 * MIB)];
    assert_eq!(actions(&allocator), first);
    device.advance(1000);
    drop(take(&allocator, Bytes::mib(5)));
    let rest = [
        (FreeCompleted, 3 * MIB),
        (Alloc, 5 * MIB),
        (FreeRequested, 5 * MIB),
        (FreeCompleted, 5 * MIB),
    ];
    assert_eq!(actions(&allocator), [&first[..], &rest[..]].concat());
}

#[test]
fn blocks_and_events_have_the_scope_they_were_asked_for_in() {
    for config in [Config::pytorch(), Config::default()] {
        let (_device, allocator) = lend(config, 1024);
        let before = take(&allocator, Bytes::mib(2));
        record(&allocator);
        let (weights, scores) = {
            let _layer = scope("layer3");
            let weights = take(&allocator, Bytes::mib(4));
            let _attention = allocator.scope("attn");
            (weights, take(&allocator, Bytes::mib(7)))
        };
        let after = take(&allocator, Bytes::mib(5));
        let snapshot = verify(&allocator);
        let tag = |address| snapshot.names.get(block_at(&snapshot, address).tag);
        assert_eq!(tag(weights.address()), "layer3");
        assert_eq!(tag(scores.address()), "layer3/attn");
        assert_eq!((tag(before.address()), tag(after.address())), ("", ""));
        let address = scores.address().get();
        drop(scores);
        allocator.annotate("half way");
        let snapshot = allocator.snapshot();
        let all = &snapshot.histories[0].events;
        let freed = all.iter().rfind(|event| event.action == FreeCompleted).unwrap();
        assert_eq!((freed.address, tag_of(&snapshot, freed).as_str()), (address, "layer3/attn"));
        let last = all.last().unwrap();
        assert_eq!((last.action, tag_of(&snapshot, last).as_str()), (Action::Annotate, "half way"));
        // Begun anew, events are gone and tags are still there.
        record(&allocator);
        let snapshot = allocator.snapshot();
        assert!(snapshot.histories[0].events.is_empty());
        assert_eq!(snapshot.names.get(block_at(&snapshot, weights.address()).tag), "layer3");
        assert!(allocator.is_recording());
        allocator.stop_recording();
        allocator.annotate("nobody listens");
        let snapshot = allocator.snapshot();
        assert!(snapshot.histories[0].events.is_empty() && !allocator.is_recording());
        assert!(block_at(&snapshot, weights.address()).tag.is_zero());
    }
}

#[test]
fn what_plans_serve_is_recorded_too_and_plans_are_events() {
    let (_device, allocator) = lend(Config::default(), 1024);
    record(&allocator);
    let _weights = take(&allocator, Bytes::mib(10));
    for _ in 0..6 {
        let _scope = scope("step");
        drop([30, 20, 5].map(|mib| take(&allocator, Bytes::mib(mib))));
        allocator.step();
        replay(&allocator);
    }
    assert!(allocator.planning().hits > 0);
    let odd = take(&allocator, Bytes::mib(77));
    replay(&allocator);
    let snapshot = allocator.snapshot();
    let all = &snapshot.histories[0].events;
    let plans = all.iter().filter(|event| event.action == Action::Plan);
    let words: Vec<String> = plans.map(|event| tag_of(&snapshot, event)).collect();
    assert_eq!(words, ["made", "followed", "left"]);
    let served = all.iter().filter(|event| event.action == Alloc && event.size == Bytes::mib(30));
    assert!(served.map(|event| tag_of(&snapshot, event)).eq(["step"; 6]));
    drop(odd);
}

#[test]
fn stitched_memory_moves_from_where_it_is_to_where_it_is_needed() {
    let (_device, allocator) = lend(Config::default().with_planning(false), 128);
    record(&allocator);
    let blocks: Vec<_> = (0..6).map(|_| take(&allocator, Bytes::mib(20))).collect();
    let kept: Vec<_> = blocks.into_iter().enumerate().filter(|(n, _)| n % 2 == 1).collect();
    let joined = take(&allocator, Bytes::mib(50));
    let all = actions(&allocator);
    assert!(all.iter().any(|(action, size)| *action == Action::Stitch && *size > 0), "{all:?}");
    replay(&allocator);
    drop((kept, joined));
    allocator.empty_cache().unwrap();
    replay(&allocator);
    assert_eq!(reserved(&allocator), Bytes::ZERO);
}

#[test]
fn only_the_last_events_are_kept() {
    let (_device, allocator) = lend(Config::pytorch(), 1024);
    allocator.record_history(HistoryOptions::default().with_events(5));
    for size in 1..=10 {
        drop(take(&allocator, Bytes::mib(size)));
    }
    let history = &allocator.snapshot().histories[0];
    assert_eq!(history.events.len(), 5);
    assert!(history.dropped > 20);
    assert_eq!(history.events[4].size, Bytes::mib(10));
    allocator.record_history(HistoryOptions::default().with_events(0));
    let _scope = scope("kept");
    let held = take(&allocator, Bytes::mib(3));
    let snapshot = allocator.snapshot();
    assert_eq!(snapshot.histories[0].dropped, 1);
    assert_eq!(snapshot.names.get(block_at(&snapshot, held.address()).tag), "kept");
}

#[inline(never)]
fn a_layer_that_allocates(allocator: &Allocator) -> crate::common::Held {
    std::hint::black_box(take(allocator, Bytes::mib(3)))
}

#[test]
fn backtraces_begin_where_the_allocator_was_called() {
    for (backtraces, on_free) in [(Backtraces::Live, false), (Backtraces::All, true)] {
        let (_device, allocator) = lend(Config::pytorch(), 1024);
        allocator.record_history(HistoryOptions::default().with_backtraces(backtraces));
        let held = a_layer_that_allocates(&allocator);
        let snapshot = verify(&allocator);
        let functions = |stack| -> Vec<&str> {
            snapshot.stacks.get(stack).map(|frame| snapshot.names.get(frame.function)).collect()
        };
        let segment = &snapshot.segments[0];
        for stack in [segment.stack, segment.blocks[0].stack] {
            let functions = functions(stack);
            assert!(!functions[0].contains("freeboard_allocator"), "{functions:?}");
            let calls = functions.iter().any(|name| name.contains("a_layer_that_allocates"));
            assert!(calls, "{functions:?}");
        }
        assert_eq!(segment.blocks[1].state, BlockState::Free);
        assert!(segment.blocks[1].stack.is_zero());
        drop(held);
        let all = events(&allocator);
        let freed = all.iter().find(|event| event.action == FreeRequested).unwrap();
        assert_eq!(!freed.stack.is_zero(), on_free);
    }
}

#[test]
fn private_pools_have_their_names_in_the_history() {
    let (_device, allocator) = lend(Config::pytorch(), 256);
    record(&allocator);
    let _shared = take(&allocator, Bytes::mib(3));
    let _unused = allocator.create_pool(freeboard_allocator::PoolOptions::default());
    let pool = allocator.create_pool(freeboard_allocator::PoolOptions::default());
    allocator.begin_pool(pool, freeboard_allocator::PoolUse::Choice, |_| true).unwrap();
    let _private = take_on(&allocator, Bytes::mib(3), 2);
    let snapshot = allocator.snapshot();
    let pools: Vec<(u64, u64)> = snapshot.histories[0]
        .events
        .iter()
        .map(|event| (snapshot.pool(event.pool).1, event.stream.get()))
        .collect();
    assert_eq!(pools, [(0, 0), (0, 0), (2, 2), (2, 2)]);
}
