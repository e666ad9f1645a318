//! How long reading and replaying a trace takes.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use freeboard::replay::run::{RunOptions, run};
use freeboard::replay::{Trace, workload};
use freeboard::{Bytes, Config};

fn parsing(criterion: &mut Criterion) {
    let trace = workload::find("h15-fifo").expect("a workload of ours").trace(0);
    let mut text = Vec::new();
    trace.write(&mut text).expect("memory takes anything");
    let mut group = criterion.benchmark_group("parse");
    group.sample_size(20);
    group.throughput(Throughput::Elements(trace.ops.len() as u64));
    group.bench_function("h15-fifo", |bencher| {
        bencher.iter(|| Trace::parse("h15-fifo", black_box(&text)).is_ok());
    });
    group.finish();
}

fn running(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("run");
    group.sample_size(20);
    for name in ["transformer-varlen", "h15-fifo"] {
        let trace = workload::find(name).expect("a workload of ours").trace(0);
        group.throughput(Throughput::Elements(trace.ops.len() as u64));
        for (policy, config) in [("pytorch", Config::pytorch()), ("freeboard", Config::default())] {
            let options = RunOptions::new(config, Bytes::gib(512));
            group.bench_function(format!("{name}/{policy}"), |bencher| {
                bencher.iter(|| run(black_box(&trace), &options).is_ok());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, parsing, running);
criterion_main!(benches);
