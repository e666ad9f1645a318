//! What a checkpoint keeps, counted in bytes by the allocator of this program.

#![allow(clippy::print_stdout, reason = "the figures are there to be read")]
#![allow(clippy::unwrap_used, reason = "a test that cannot run candle has failed")]

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Device, Result, Tensor, Var};
use freeboard_candle::{Checkpoint, checkpoint};
use freeboard_counting::Counting;
use freeboard_units::Bytes;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// An activation has 256 KiB.
const ROWS: usize = 1024;
const COLUMNS: usize = 64;
const ACTIVATION: Bytes = Bytes::new((ROWS * COLUMNS * 4) as u64);
/// Less than a quarter of an activation is none.
const LITTLE: Bytes = Bytes::new(ACTIVATION.get() / 4);
const BLOCKS: u64 = 12;

/// Eight activations between its input and its output.
fn block(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut h = x.matmul(weight)?;
    for _ in 0..7 {
        h = h.sin()?;
    }
    h + x
}

fn forward(x: &Tensor, weights: &[Var], checkpoints: bool) -> Tensor {
    let mut x = x.clone();
    for weight in weights {
        let weight = weight.as_tensor().clone();
        x = if checkpoints {
            checkpoint(move |x| block(&x[0], &weight), &[&x]).unwrap()
        } else {
            block(&x, &weight).unwrap()
        };
    }
    x
}

/// Activations that are live after the forward pass, and at most until the end of the backward.
fn measure(x: &Tensor, weights: &[Var], checkpoints: bool) -> (u64, u64) {
    let before = Counting::reset_peak();
    let y = forward(x, weights, checkpoints);
    let kept = Counting::live() - before;
    let gradients = y.mean_all().unwrap().backward().unwrap();
    assert!(weights.iter().all(|weight| gradients.get(weight).is_some()));
    drop((y, gradients));
    let peak = Counting::peak() - before;
    (kept.get() / ACTIVATION.get(), peak.get() / ACTIVATION.get())
}

// One test, because all of the program's memory is counted; in one thread, because each has buffers.
#[test]
fn intermediate_results_are_freed() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(check);
}

fn check() {
    let x = Tensor::randn(0.0_f32, 1.0, (ROWS, COLUMNS), &Device::Cpu).unwrap();
    let weight = |_| Var::randn(0.0_f32, 0.1, (COLUMNS, COLUMNS), &Device::Cpu).unwrap();
    let weights: Vec<Var> = (0..BLOCKS).map(weight).collect();
    // The first pass makes the thread's buffers.
    measure(&x, &weights, true);
    let before = Counting::live();
    let (plain, checkpointed) = (measure(&x, &weights, false), measure(&x, &weights, true));
    let line = format!("activations kept and at most: {plain:?}, checkpointed {checkpointed:?}");
    println!("{line}");
    let left = Counting::live().saturating_sub(before);
    assert!(left < LITTLE, "{left} are left");
    assert_eq!(plain.0, BLOCKS * 9, "{line}");
    assert_eq!(checkpointed.0, BLOCKS, "{line}");
    // All outputs, and one block computed again, with its gradients (which candle keeps together
    // with the graph) and a copy of its input.
    assert!(checkpointed.1 <= BLOCKS + 24, "{line}");
    assert!(plain.1 > BLOCKS * 9, "{line}");

    a_failure_frees_what_it_had_computed(&x, &weights[0]);
}

fn a_failure_frees_what_it_had_computed(x: &Tensor, weight: &Var) {
    // The first two make what the runtime keeps to name frames of a backtrace.
    for (number, panics) in [false, true, false, true].into_iter().enumerate() {
        let own = weight.clone();
        let runs = AtomicUsize::new(0);
        let function = move |x: &[Tensor]| {
            let y = block(&x[0], &own)?;
            if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                return Ok(y);
            }
            assert!(!panics, "as it should");
            candle_core::bail!("as it should")
        };
        let y = Checkpoint::new("fails").run(function, &[x]).unwrap();
        let loss = y.mean_all().unwrap();
        let before = Counting::live();
        assert!(loss.backward().is_err());
        let left = Counting::live().saturating_sub(before);
        assert!(number < 2 || left < LITTLE, "{left} are left");
    }
}
