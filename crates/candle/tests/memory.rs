//! What a checkpoint keeps, counted in bytes by the allocator of this program.

#![expect(unsafe_code, reason = "a global allocator can only be written with it")]
#![allow(clippy::print_stdout, reason = "the figures are there to be read")]
#![allow(clippy::unwrap_used, reason = "a test that cannot run candle has failed")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Device, Result, Tensor, Var};
use freeboard_candle::{Checkpoint, checkpoint};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every method forwards its arguments unchanged to the system's allocator, which keeps the
// contract; counting touches only two atomic numbers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of this method, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above, so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// An activation has 256 KiB.
const ROWS: usize = 1024;
const COLUMNS: usize = 64;
const ACTIVATION: usize = ROWS * COLUMNS * 4;
const BLOCKS: usize = 12;

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
fn measure(x: &Tensor, weights: &[Var], checkpoints: bool) -> (usize, usize) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let y = forward(x, weights, checkpoints);
    let kept = LIVE.load(Ordering::Relaxed) - before;
    let gradients = y.mean_all().unwrap().backward().unwrap();
    assert!(weights.iter().all(|weight| gradients.get(weight).is_some()));
    drop((y, gradients));
    let peak = PEAK.load(Ordering::Relaxed) - before;
    (kept / ACTIVATION, peak / ACTIVATION)
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
    let before = LIVE.load(Ordering::Relaxed);
    let (plain, checkpointed) = (measure(&x, &weights, false), measure(&x, &weights, true));
    let line = format!("activations kept and at most: {plain:?}, checkpointed {checkpointed:?}");
    println!("{line}");
    let left = LIVE.load(Ordering::Relaxed).saturating_sub(before);
    assert!(left < ACTIVATION / 4, "{left} bytes are left");
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
        let before = LIVE.load(Ordering::Relaxed);
        assert!(loss.backward().is_err());
        let left = LIVE.load(Ordering::Relaxed).saturating_sub(before);
        assert!(number < 2 || left < ACTIVATION / 4, "{left} bytes are left");
    }
}
