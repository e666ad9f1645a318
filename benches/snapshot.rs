//! What a history costs, and how long snapshots and PyTorch's files of them take.
//!
//! `cargo bench --bench snapshot`. The file has 100,000 events, which is what PyTorch records
//! unless told otherwise.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use freeboard::allocator::HistoryOptions;
use freeboard::{CachingAllocator, Config, SimDevice};
use freeboard_snapshot::pickle::{self, ReadOptions};
use freeboard_snapshot::{Action, Event, Frame, History, NameId, PoolIndex, Snapshot, StackId};
use freeboard_units::{Bytes, StreamId};

const EVENTS: u64 = 100_000;

/// Blocks handed out, given back and free again, on 500 stacks of 12 frames.
fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::default();
    let file = snapshot.names.intern("/project/train.py");
    let stacks: Vec<StackId> = (0..500)
        .map(|stack| {
            let frames = (0..12).map(|depth| {
                let function = snapshot.names.intern(&format!("function_{}", (stack + depth) % 97));
                Frame { file, function, line: stack * depth }
            });
            let frames: Vec<Frame> = frames.collect();
            snapshot.stacks.intern(frames)
        })
        .collect();
    let event = |index: u64| Event {
        address: (1 << 44) + index / 3 % 4096 * 512,
        size: Bytes::new(512 + index % 7 * 100_000),
        stream: StreamId::DEFAULT,
        time_us: 1_790_000_000_000_000 + i64::try_from(index).unwrap_or(0),
        action: [Action::Alloc, Action::FreeRequested, Action::FreeCompleted]
            [usize::try_from(index % 3).unwrap_or(0)],
        pool: PoolIndex::default(),
        stack: stacks[usize::try_from(index % 500).unwrap_or(0)],
        tag: NameId::default(),
        context: NameId::default(),
    };
    let events = (0..EVENTS).map(event).collect();
    snapshot.histories.push(History { events, dropped: 0 });
    snapshot
}

fn files(criterion: &mut Criterion) {
    let snapshot = snapshot();
    let mut file = Vec::new();
    pickle::write(&snapshot, &mut file).expect("memory takes all");
    let mut group = criterion.benchmark_group("snapshot");
    group.sample_size(20).throughput(Throughput::Bytes(file.len() as u64));
    group.bench_function("read", |bencher| {
        bencher.iter(|| pickle::read(black_box(&file[..]), &ReadOptions::default()));
    });
    group.bench_function("write", |bencher| {
        let mut room = Vec::with_capacity(file.len());
        bencher.iter(|| {
            room.clear();
            pickle::write(black_box(&snapshot), &mut room)
        });
    });
    group.finish();
}

/// A cached pair of allocation and free, without and with a history: three events a pair.
fn pairs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pair");
    for events in [None, Some(100_000)] {
        let device = SimDevice::new(Bytes::gib(8));
        let allocator = CachingAllocator::new(device, Config::pytorch()).expect("settings");
        if let Some(events) = events {
            allocator.record_history(HistoryOptions::default().with_events(events));
        }
        let name = if events.is_some() { "recorded" } else { "unrecorded" };
        group.bench_function(name, |bencher| {
            bencher.iter(|| allocator.allocate(Bytes::kib(64), StreamId::DEFAULT));
        });
    }
    group.finish();
}

/// A snapshot of 2,000 live blocks and 100,000 events.
fn taken(criterion: &mut Criterion) {
    let device = SimDevice::new(Bytes::gib(8));
    let allocator = CachingAllocator::new(device, Config::pytorch()).expect("settings");
    allocator.record_history(HistoryOptions::default());
    let take = |index: u64| allocator.allocate(Bytes::kib(4 * (index % 97)), StreamId::DEFAULT);
    let _live: Vec<_> = (1..=2_000).map(take).collect();
    (0..50_000).for_each(|index| drop(take(index)));
    criterion.bench_function("snapshot/take", |bencher| bencher.iter(|| allocator.snapshot()));
}

criterion_group!(benches, pairs, taken, files);
criterion_main!(benches);
