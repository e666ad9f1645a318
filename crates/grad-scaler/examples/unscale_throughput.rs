//! Times unscale-and-check on this machine for one case; `tests/torch/unscale.py` runs it in turns
//! with `PyTorch`.
//!
//! `unscale_throughput DTYPE TENSORS ELEMENTS THREADS` prints, as JSON, the least nanoseconds that a
//! sweep over all tensors took: checked; unchecked; by a plain loop, which has one thread.
#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytemuck::Pod;
use freeboard_grad_scaler::host::{Check, HostTensor, multiply_and_check};
use half::{bf16, f16};
use rayon::ThreadPoolBuilder;
use serde_json::json;

/// Close to 1, so that numbers stay ordinary however often they are multiplied.
const FACTOR: f32 = 0.999_999_94;
/// How long is measured, and at least how often.
const TIME: Duration = Duration::from_millis(400);
const LEAST: usize = 5;

/// Replaces a time by that of an action, if this took less.
fn time(least: &mut u128, act: impl FnOnce()) {
    let start = Instant::now();
    act();
    *least = start.elapsed().as_nanos().min(*least);
}

/// Does it again and again.
fn repeat(mut act: impl FnMut()) {
    let (start, mut rounds) = (Instant::now(), 0);
    while rounds < LEAST || start.elapsed() < TIME {
        act();
        rounds += 1;
    }
}

fn measure<N: Pod>(tensors: usize, elements: usize, one: N, times: impl Fn(&mut N)) -> [u128; 3]
where
    for<'slice> HostTensor<'slice>: From<&'slice mut [N]>,
{
    let mut memory = vec![vec![one; elements]; tensors];
    let mut least = [u128::MAX; 3];
    let mut list: Vec<_> = memory.iter_mut().map(|one| HostTensor::from(&mut one[..])).collect();
    repeat(|| {
        for (check, least) in [Check::Before, Check::Nothing].into_iter().zip(&mut least) {
            time(least, || {
                assert_eq!(multiply_and_check(black_box(&mut list), FACTOR, check), None);
            });
        }
    });
    // By itself: a processor takes a while to get its widest vectors going after code without them.
    repeat(|| {
        time(&mut least[2], || {
            for tensor in black_box(&mut memory) {
                tensor.iter_mut().for_each(&times);
            }
        });
    });
    least
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dtype, tensors, elements, threads] = &arguments[..] else {
        return Err("usage: unscale_throughput DTYPE TENSORS ELEMENTS THREADS".into());
    };
    let (tensors, elements) = (tensors.parse()?, elements.parse()?);
    let pool = ThreadPoolBuilder::new().num_threads(threads.parse()?).build()?;
    let [checked, unchecked, plain] = pool.install(|| match dtype.as_str() {
        "float32" => Ok(measure(tensors, elements, 1.0_f32, |n| *n *= FACTOR)),
        "float64" => Ok(measure(tensors, elements, 1.0_f64, |n| *n *= f64::from(FACTOR))),
        "float16" => Ok(measure(tensors, elements, f16::ONE, |n| {
            *n = f16::from_f32(n.to_f32() * FACTOR);
        })),
        "bfloat16" => Ok(measure(tensors, elements, bf16::ONE, |n| {
            *n = bf16::from_f32(n.to_f32() * FACTOR);
        })),
        other => Err(format!("{other} is not one of float32, float16, bfloat16, float64")),
    })?;
    println!("{}", json!({"checked_ns": checked, "unchecked_ns": unchecked, "plain_ns": plain}));
    Ok(())
}
