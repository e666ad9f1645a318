//! How fast gradients are unscaled and checked on the host, beside the same without the check and
//! beside a plain loop.
//!
//! `cargo bench --bench grad_scaler`. One thread, then all of rayon's; throughput counts each byte
//! once, though it is read and written. `tests/torch/unscale.py` compares with `PyTorch`.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytemuck::Pod;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use freeboard_grad_scaler::host::{Check, HostTensor, multiply_and_check};
use freeboard_grad_scaler::{GradScaler, Optimizer, Outcome, ScalerConfig, ScalerError, Tensors};
use half::{bf16, f16};
use rayon::ThreadPoolBuilder;

/// Tensors and elements of each: large ones, small ones, tiny ones.
const SHAPES: [(usize, usize); 3] = [(8, 4 << 20), (1000, 1000), (10_000, 64)];
/// Close to 1, so that numbers stay ordinary however often they are multiplied.
const FACTOR: f32 = 0.999_999_94;

/// How long so many sweeps take.
fn time(list: &mut [HostTensor<'_>], check: Check, rounds: u64) -> Duration {
    let start = Instant::now();
    for _ in 0..rounds {
        black_box(multiply_and_check(black_box(list), black_box(FACTOR), check));
    }
    start.elapsed()
}

fn shapes<N: Pod>(criterion: &mut Criterion, name: &str, one: N, times: impl Fn(&mut N) + Copy)
where
    for<'slice> HostTensor<'slice>: From<&'slice mut [N]>,
{
    let pool = |threads| ThreadPoolBuilder::new().num_threads(threads).build();
    let alone = pool(1).expect("a thread can be started");
    let together = pool(0).expect("threads can be started");
    for (tensors, elements) in SHAPES {
        let mut memory = vec![vec![one; elements]; tensors];
        let mut group = criterion.benchmark_group(format!("{name} {tensors}x{elements}"));
        let bytes = tensors * elements * size_of::<N>();
        group.sample_size(20).throughput(Throughput::Bytes(bytes as u64));
        group.bench_function("plain loop", |bencher| {
            bencher.iter(|| black_box(&mut memory).iter_mut().flatten().for_each(times));
        });
        let mut list: Vec<_> =
            memory.iter_mut().map(|one| HostTensor::from(&mut one[..])).collect();
        for (check, name) in [(Check::Nothing, "unchecked"), (Check::Before, "checked")] {
            for (pool, threads) in [(&alone, ""), (&together, ", threads")] {
                group.bench_function(format!("{name}{threads}"), |bencher| {
                    bencher.iter_custom(|rounds| pool.install(|| time(&mut list, check, rounds)));
                });
            }
        }
        group.finish();
    }
}

fn unscale(criterion: &mut Criterion) {
    shapes(criterion, "f32", 1.0_f32, |number| *number *= FACTOR);
    shapes(criterion, "f16", f16::ONE, |number| *number = f16::from_f32(number.to_f32() * FACTOR));
    shapes(criterion, "bf16", bf16::ONE, |n| *n = bf16::from_f32(n.to_f32() * FACTOR));
}

/// What a call costs whose tensor is next to nothing.
fn one_number(criterion: &mut Criterion) {
    let mut number = [1.0_f32];
    let mut list = [HostTensor::from(&mut number[..])];
    criterion.bench_function("one number", |bencher| {
        bencher.iter(|| multiply_and_check(black_box(&mut list), FACTOR, Check::Before));
    });
}

/// Gradients that are next to nothing.
struct Small(Vec<[f32; 4]>);

impl Optimizer for Small {
    type Output = ();
    type Error = Infallible;

    fn gradients<'a>(&'a mut self, list: &mut Tensors<'a>) -> Result<(), ScalerError> {
        self.0.iter_mut().for_each(|gradient| list.push_slice("gradient", gradient));
        Ok(())
    }

    fn step(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// What an iteration costs apart from memory: the scale asked for, a step, an update.
fn iteration(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("iteration");
    for tensors in [1, 10, 100] {
        let mut scaler = GradScaler::on_host(ScalerConfig::default()).expect("there is memory");
        let id = scaler.add_optimizer("none");
        let mut small = Small(vec![[0.0; 4]; tensors]);
        group.bench_function(format!("{tensors} tensors of 4"), |bencher| {
            bencher.iter(|| {
                black_box(scaler.start().expect("the device works"));
                let outcome = scaler.step(id, &mut small).expect("the device works");
                assert_eq!(black_box(outcome), Outcome::Stepped(()));
                scaler.update().expect("the device works")
            });
        });
    }
}

criterion_group!(benches, unscale, one_number, iteration);
criterion_main!(benches);
