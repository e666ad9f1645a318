//! A step of 1,000 segments that do next to nothing, by plans that keep all and that recompute.

use std::convert::Infallible;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use freeboard_checkpoint::{
    Chain, Check, Fingerprint, Layer, Random, Runner, Segment, every_kth, keep_all,
};
use freeboard_units::{Bytes, Dtype};

const LAYERS: usize = 1000;

/// Adds one.
struct Next;

impl Segment for Next {
    type Value = f32;
    type Saved = f32;
    type Error = Infallible;

    fn name(&self) -> &'static str {
        "next"
    }

    fn forward(&self, input: &f32, _: Random) -> Result<f32, Infallible> {
        Ok(input + 1.0)
    }

    fn forward_saving(&self, input: &f32, _: Random) -> Result<f32, Infallible> {
        Ok(input + 1.0)
    }

    fn output<'saved>(&self, saved: &'saved f32) -> Option<&'saved f32> {
        Some(saved)
    }

    fn backward(&mut self, _: &f32, _: &f32, gradient: &f32, _: Random) -> Result<f32, Infallible> {
        Ok(*gradient)
    }

    fn fingerprint(&self, output: &f32, values: bool) -> Option<Fingerprint> {
        let print = Fingerprint::new(Bytes::new(4)).shape(&[]).dtype(Dtype::F32);
        Some(if values { print.values(1, |_| output.to_bits().into()) } else { print })
    }
}

/// Throughput counts segments: each runs forward and backward once, or forward twice.
pub(crate) fn runtime(criterion: &mut Criterion) {
    let layers = vec![Layer::new("next", 1.0, 1.0); LAYERS];
    let chain = Chain::new(Bytes::new(4), layers).expect("a chain");
    let keeps = keep_all(&chain);
    let recomputes = every_kth(&chain, 0);
    let mut group = criterion.benchmark_group("runtime");
    group.throughput(Throughput::Elements(LAYERS as u64));
    for (name, plan) in [("keep all", &keeps), ("square root", &recomputes)] {
        for check in [Check::Nothing, Check::Metadata, Check::Values] {
            let mut segments: Vec<Next> = (0..LAYERS).map(|_| Next).collect();
            let runner = Runner::new(&segments, plan).expect("the plan is for these segments");
            let mut runner = runner.checking(check);
            let random = Random::new(1);
            group.bench_function(format!("{name}, check {check:?}"), |bencher| {
                bencher.iter(|| runner.run(black_box(&mut segments), 0.0, random, |_| Ok(1.0)));
            });
        }
    }
    group.finish();
}
