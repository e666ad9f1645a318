//! Fragmentation, measured by criterion in bytes instead of seconds: peak reserved ÷ peak live, in
//! parts per million, so that 1,000,000 is the floor.
//!
//! The figures are exact and the same on every machine; criterion adds the comparison with the last
//! run and the report.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::path::Path;

use criterion::measurement::{Measurement, ValueFormatter};
use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use freeboard::replay::run::{RunOptions, run};
use freeboard::replay::{Trace, workload};
use freeboard::{Bytes, Config};

/// Bytes reserved per million bytes live.
struct Overhead;

/// Writes a ratio as a factor of the live peak.
struct Factor;

impl ValueFormatter for Factor {
    fn format_value(&self, ppm: f64) -> String {
        format!("{:.4} × live", ppm / 1e6)
    }

    fn format_throughput(&self, _: &Throughput, ppm: f64) -> String {
        self.format_value(ppm)
    }

    fn scale_values(&self, _: f64, values: &mut [f64]) -> &'static str {
        for value in values {
            *value /= 1e6;
        }
        "× live"
    }

    fn scale_throughputs(&self, _: f64, _: &Throughput, values: &mut [f64]) -> &'static str {
        self.scale_values(0.0, values)
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        self.scale_values(0.0, values)
    }
}

impl Measurement for Overhead {
    type Intermediate = ();
    type Value = f64;

    fn start(&self) {}

    fn end(&self, (): ()) -> f64 {
        0.0
    }

    fn add(&self, a: &f64, b: &f64) -> f64 {
        a + b
    }

    fn zero(&self) -> f64 {
        0.0
    }

    fn to_f64(&self, value: &f64) -> f64 {
        *value
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Factor
    }
}

/// Peak reserved ÷ peak live with ample memory, in parts per million.
fn overhead(trace: &Trace, config: &Config) -> f64 {
    let options = RunOptions::new(config.clone(), Bytes::gib(512));
    let run = run(trace, &options).expect("ample memory");
    run.peak_reserved.as_f64() / run.peak_requested.as_f64() * 1e6
}

fn fragmentation(criterion: &mut Criterion<Overhead>) {
    let policies = [
        ("pytorch", Config::pytorch()),
        ("pytorch-expandable", Config::pytorch().with_expandable_segments(true)),
        ("freeboard-unstitched", Config::default().with_stitching(false)),
        ("freeboard", Config::default()),
    ];
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let recorded = ["resnet50_varsize.trace.gz", "fsdp8_llama8b_streams.trace.gz"]
        .map(|name| Trace::read(data.join(name)).expect("a recorded trace is shipped"));
    let drawn = workload::all().iter().map(|workload| workload.trace(0));
    for trace in recorded.into_iter().chain(drawn) {
        let mut group = criterion.benchmark_group(trace.name.clone());
        group.sample_size(10).sampling_mode(SamplingMode::Flat);
        for (policy, config) in &policies {
            group.bench_function(BenchmarkId::from_parameter(policy), |bencher| {
                bencher.iter_custom(|rounds| (0..rounds).map(|_| overhead(&trace, config)).sum());
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .with_measurement(Overhead)
        .warm_up_time(std::time::Duration::from_millis(1))
        .measurement_time(std::time::Duration::from_millis(1));
    targets = fragmentation
}
criterion_main!(benches);
