//! How long cached allocation takes: by pattern and policy, in planned steps, and by the number of
//! threads.
//!
//! `cargo bench --bench allocate`. To compare with `PyTorch`'s own allocator in the same rounds,
//! use `freeboard time`.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use freeboard::replay::trace::{Op, OpKind};
use freeboard::replay::{Trace, workload};
use freeboard::{Bytes, CachingAllocator, Config, SimDevice, StreamId};

const CAPACITY: Bytes = Bytes::gib(1024);

fn allocator() -> CachingAllocator<SimDevice> {
    under(Config::default())
}

fn under(config: Config) -> CachingAllocator<SimDevice> {
    CachingAllocator::new(SimDevice::new(CAPACITY), config).expect("valid settings")
}

fn recorded() -> Trace {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/resnet50_varsize.trace.gz");
    Trace::read(data).expect("a recorded trace is shipped")
}

/// One size, freed at once and allocated again.
fn pairs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pair");
    for size in [Bytes::new(512), Bytes::kib(4), Bytes::mib(1), Bytes::mib(3), Bytes::mib(64)] {
        let allocator = allocator();
        group.bench_with_input(BenchmarkId::from_parameter(size), &size, |bencher, &size| {
            bencher.iter(|| black_box(allocator.allocate(size, StreamId::DEFAULT)).is_ok());
        });
    }
    group.finish();
}

/// Whole traces, each round ending as it began, under every policy. Ours is without plans here: a
/// round is a whole program, and no step of it repeats for long.
fn traces(criterion: &mut Criterion) {
    let policies = [
        ("pytorch", Config::pytorch()),
        ("pytorch-expandable", Config::pytorch().with_expandable_segments(true)),
        ("freeboard-unstitched", Config::default().with_stitching(false)),
        ("freeboard", Config::default().with_planning(false)),
    ];
    let drawn = ["transformer", "moe", "rmm-random", "h15-fifo"]
        .map(|name| workload::find(name).expect("a workload of ours").trace(0));
    for trace in std::iter::once(recorded()).chain(drawn) {
        let mut group = criterion.benchmark_group(format!("trace/{}", trace.name));
        group.sample_size(10).throughput(Throughput::Elements(trace.allocs));
        for (policy, config) in &policies {
            let allocator = under(config.clone());
            replay(&trace.ops, trace.slots, &allocator);
            group.bench_function(*policy, |bencher| {
                bencher.iter(|| replay(&trace.ops, trace.slots, &allocator));
            });
        }
        group.finish();
    }
}

/// One step over and over: as always, and served from its plan.
fn steps(criterion: &mut Criterion) {
    let drawn = workload::find("transformer").expect("a workload of ours").trace(0);
    for trace in [recorded(), drawn] {
        // The last but one is well behind the warm-up, and whole.
        let marks = &trace.steps[trace.steps.len() - 2..];
        let (step, slots) = dense(&trace.ops[marks[0].op_index..marks[1].op_index]);
        let allocations = step.iter().filter(|op| matches!(op.kind, OpKind::Allocate { .. }));
        let mut group = criterion.benchmark_group(format!("step/{}", trace.name));
        group.sample_size(20).throughput(Throughput::Elements(allocations.count() as u64));
        for (policy, config) in [
            ("unstitched", Config::default().with_stitching(false)),
            ("unplanned", Config::default().with_planning(false)),
            ("planned", Config::default()),
        ] {
            let allocator = under(config);
            let round = || {
                replay(&step, slots, &allocator);
                allocator.step();
            };
            (0..8).for_each(|_| round());
            let rounds = allocator.planning().rounds;
            assert_eq!(rounds > 0, policy == "planned", "{} {policy}: {rounds}", trace.name);
            group.bench_function(policy, |bencher| bencher.iter(round));
        }
        group.finish();
    }
}

/// The operations with slots from 0 on, and how many there are.
#[expect(clippy::cast_possible_truncation, reason = "fewer slots than a trace has")]
fn dense(ops: &[Op]) -> (Vec<Op>, u32) {
    let mut numbers = HashMap::new();
    let mut ops = ops.to_vec();
    for op in &mut ops {
        if let OpKind::Allocate { slot, .. }
        | OpKind::Free { slot }
        | OpKind::RecordUse { slot, .. } = &mut op.kind
        {
            let next = numbers.len() as u32;
            *slot = *numbers.entry(*slot).or_insert(next);
        }
    }
    (ops, numbers.len() as u32)
}

/// The same allocator used by several threads at once; time is per pair of each thread.
fn threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("threads");
    for threads in [1, 2, 4] {
        let allocator = allocator();
        group.bench_function(BenchmarkId::from_parameter(threads), |bencher| {
            bencher.iter_custom(|rounds| together(&allocator, threads, rounds));
        });
    }
    group.finish();
}

fn together(allocator: &CachingAllocator<SimDevice>, threads: usize, rounds: u64) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..rounds {
                    black_box(allocator.allocate(Bytes::kib(4), StreamId::DEFAULT)).ok();
                }
            });
        }
    });
    start.elapsed()
}

/// Runs operations; what is left allocated is freed at the end.
fn replay(ops: &[Op], slots: u32, allocator: &CachingAllocator<SimDevice>) {
    let mut held: Vec<_> = (0..slots).map(|_| None).collect();
    for op in ops {
        match op.kind {
            OpKind::Allocate { slot, size, stream } => {
                held[slot as usize] = allocator.allocate(size, StreamId::new(stream.into())).ok();
            }
            OpKind::Free { slot } => held[slot as usize] = None,
            OpKind::RecordUse { .. } | OpKind::EmptyCache => {}
        }
    }
}

criterion_group!(benches, pairs, traces, steps, threads);
criterion_main!(benches);
