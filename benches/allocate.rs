//! How long cached allocation takes: by pattern, and by the number of threads.
//!
//! `cargo bench --bench allocate`. To compare with `PyTorch`'s own allocator in the same rounds,
//! use `freeboard time`.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use freeboard::replay::trace::OpKind;
use freeboard::replay::{Trace, workload};
use freeboard::{Bytes, CachingAllocator, Config, SimDevice, StreamId};

const CAPACITY: Bytes = Bytes::gib(1024);

fn allocator() -> CachingAllocator<SimDevice> {
    CachingAllocator::new(SimDevice::new(CAPACITY), Config::default()).expect("valid settings")
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

/// Whole traces, each round ending as it began.
fn traces(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("trace");
    group.sample_size(20);
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/resnet50_varsize.trace.gz");
    let recorded = Trace::read(data).expect("a recorded trace is shipped");
    let drawn = ["transformer", "moe", "rmm-random", "h15-fifo"]
        .map(|name| workload::find(name).expect("a workload of ours").trace(0));
    for trace in std::iter::once(recorded).chain(drawn) {
        let allocator = allocator();
        replay(&trace, &allocator);
        group.throughput(Throughput::Elements(trace.allocs));
        group.bench_function(trace.name.clone(), |bencher| {
            bencher.iter(|| replay(&trace, &allocator));
        });
    }
    group.finish();
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

fn replay(trace: &Trace, allocator: &CachingAllocator<SimDevice>) {
    let mut held: Vec<_> = (0..trace.slots).map(|_| None).collect();
    for op in &trace.ops {
        match op.kind {
            OpKind::Allocate { slot, size, stream } => {
                held[slot as usize] = allocator.allocate(size, StreamId::new(stream.into())).ok();
            }
            OpKind::Free { slot } => held[slot as usize] = None,
            OpKind::RecordUse { .. } | OpKind::EmptyCache => {}
        }
    }
}

criterion_group!(benches, pairs, traces, threads);
criterion_main!(benches);
