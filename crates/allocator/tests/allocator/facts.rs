//! What a refusal tells whoever explains it.

use freeboard_allocator::{Config, HistoryOptions, PoolOptions, PoolUse, scope};
use freeboard_units::{Bytes, StreamId};

use crate::common::{lend, lend_with_lag, parse, refused, take, take_on};

#[test]
fn streams_pools_limits_and_settings_are_told_apart() {
    let options = "max_split_size_mb:64,per_process_memory_fraction:0.5";
    let (_device, allocator) = lend_with_lag(parse(options), 1024, 1_000_000);
    let held = take(&allocator, Bytes::new(3_000_000));
    let (own, larger) = (take(&allocator, Bytes::mib(12)), take(&allocator, Bytes::mib(30)));
    let other = take_on(&allocator, Bytes::mib(40), 3);
    let waits = take(&allocator, Bytes::mib(50));
    waits.record_use(StreamId::new(3)).unwrap();
    let pool = allocator.create_pool(PoolOptions::default());
    allocator.begin_pool(pool, PoolUse::Capture, |stream| stream == StreamId::new(9)).unwrap();
    let private = take_on(&allocator, Bytes::mib(14), 9);
    drop(take_on(&allocator, Bytes::mib(16), 9));
    drop((own, larger, other, waits));
    let facts = refused(&allocator, Bytes::mib(600)).facts();
    assert_eq!((facts.requested, facts.stream), (Some(Bytes::mib(600)), Some(StreamId::DEFAULT)));
    assert_eq!((facts.limit, facts.fraction), (Some(Bytes::mib(512)), Some(0.5)));
    assert_eq!(facts.total, Some(Bytes::mib(1024)));
    assert_eq!(facts.allocated, Some(held.size() + private.size()));
    assert_eq!(facts.asked, Some(Bytes::new(3_000_000) + Bytes::mib(14)));
    assert_eq!(facts.pending, Some(Bytes::mib(50)));
    assert_eq!(facts.free_own, Some(Bytes::mib(50) - held.size()));
    assert_eq!(facts.largest_own, Some(Bytes::mib(30)));
    assert_eq!(facts.free_other_streams, Some(Bytes::mib(40)));
    assert_eq!(facts.private, Some(Bytes::mib(30)));
    assert_eq!(facts.free_private, Some(Bytes::mib(16)));
    assert_eq!(facts.settings.as_deref(), Some(options));
    assert_eq!((facts.expandable, facts.refused_early), (Some(false), false));
    assert!(facts.holders.is_empty());
    let all = [facts.allocated, facts.pending, facts.free_own, facts.free_other_streams];
    let all = all.into_iter().chain([facts.free_private]).flatten().sum();
    assert_eq!(facts.reserved, Some(all));
}

#[test]
fn stitched_free_memory_is_every_streams_own() {
    let (_device, allocator) = lend(Config::default().with_planning(false), 128);
    let blocks: Vec<_> = (0..6).map(|n| take_on(&allocator, Bytes::mib(20), n % 2)).collect();
    let kept: Vec<_> = blocks.into_iter().enumerate().filter(|(n, _)| n % 3 == 1).collect();
    let report = refused(&allocator, Bytes::mib(120));
    let facts = report.facts();
    assert_eq!(facts.free_other_streams, Some(Bytes::ZERO));
    assert_eq!(facts.free_own, Some(report.cached));
    let reach = facts.largest_own.unwrap();
    assert!(reach >= report.stitched.unwrap().whole, "{report}");
    let room = report.free.unwrap();
    let joined = take(&allocator, reach + room.align_down(Bytes::mib(2)));
    assert_eq!(joined.size(), reach + room.align_down(Bytes::mib(2)));
    drop((joined, kept));
}

#[test]
fn the_largest_holders_are_told_by_scope() {
    let (_device, allocator) = lend(Config::pytorch(), 256);
    allocator.record_history(HistoryOptions::default());
    let mut held = vec![take(&allocator, Bytes::mib(20))];
    assert!(refused(&allocator, Bytes::gib(1)).holders.is_empty(), "no scope, no holders");
    for (name, mib) in [("a", 10), ("b", 30), ("a", 26), ("c", 2)] {
        let _scope = scope(name);
        held.push(take(&allocator, Bytes::mib(mib)));
    }
    let report = refused(&allocator, Bytes::gib(1));
    let facts = report.facts();
    let told: Vec<(&str, u64, u64)> =
        facts.holders.iter().map(|h| (h.name.as_str(), h.bytes.get() >> 20, h.blocks)).collect();
    assert_eq!(told, [("a", 36, 2), ("b", 30, 1), ("(no scope)", 20, 1), ("c", 2, 1)]);
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<freeboard_allocator::OutOfMemory>(&json).unwrap(), report);
}
