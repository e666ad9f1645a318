//! How fast gradients are unscaled and checked on the host, beside the same without the check and
//! beside a plain loop.
//!
//! `cargo bench --bench grad_scaler`. One thread, then all of rayon's; throughput counts each byte
//! once, though it is read and written. `tests/torch/unscale.py` compares with `PyTorch`.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use bytemuck::Pod;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use freeboard_grad_scaler::host::{Check, HostTensor, multiply_and_check};
use half::{bf16, f16};
use rayon::ThreadPoolBuilder;

/// Tensors and elements of each: large ones, small ones, tiny ones.
const SHAPES: [(usize, usize); 3] = [(8, 4 << 20), (1000, 1000), (10_000, 64)];
/// Close to 1, so that numbers stay ordinary however often they are multiplied.
const FACTOR: f32 = 0.999_999_94;

fn shapes<N: Pod>(criterion: &mut Criterion, name: &str, one: N, times: impl Fn(&mut N) + Copy)
where
    for<'slice> HostTensor<'slice>: From<&'slice mut [N]>,
{
    let alone = ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started");
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
            let mut act = || multiply_and_check(&mut list, black_box(FACTOR), check);
            let mut measure = |name: &str, act: &mut (dyn FnMut() + Send)| {
                group.bench_function(name, |bencher| bencher.iter(&mut *act));
            };
            alone.install(|| measure(name, &mut || _ = black_box(act())));
            measure(&format!("{name}, threads"), &mut || _ = black_box(act()));
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

criterion_group!(benches, unscale, one_number);
criterion_main!(benches);
