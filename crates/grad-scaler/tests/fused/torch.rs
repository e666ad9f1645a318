//! Steps as `PyTorch` 2.15 does them, recorded by `data/make-fused`.

use std::fs::File;

use flate2::read::GzDecoder;
use freeboard_device::Compute;
use freeboard_grad_scaler::fused::Settings;
use freeboard_grad_scaler::{AdamWConfig, Fused, FusedOptimizer, Predicate, SgdConfig};
use serde::Deserialize;

use crate::common::{World, caller, fake, threads};

#[derive(Deserialize)]
struct Recording {
    counts: Vec<usize>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    optimizer: String,
    settings: Recorded,
    steps: Vec<Step>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Recorded {
    lr: f64,
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
    momentum: f64,
    dampening: f64,
    nesterov: bool,
    maximize: bool,
}

#[derive(Deserialize)]
struct Step {
    lr: f64,
    scale: Option<f32>,
    found: bool,
    values: Vec<String>,
    gradients: Option<Vec<String>>,
}

/// As `numbers` in `data/make-fused`.
#[expect(clippy::cast_possible_truncation, reason = "numbers of tests are small")]
fn numbers(case: usize, tensor: usize, step: usize, count: usize) -> Vec<f32> {
    let start = case as u64 * 0x10001 + tensor as u64 * 0x100_0003 + step as u64 * 0x85eb_ca6b;
    let number = |index: usize| {
        let mut x = (index as u32).wrapping_mul(0x9e37_79b9).wrapping_add(start as u32);
        for (shift, factor) in [(16, 0x7feb_352d), (15, 0x846c_a68b)] {
            x = (x ^ x >> shift).wrapping_mul(factor);
        }
        x ^= x >> 16;
        let fraction = f64::from(x >> 8) / f64::from(1 << 23) - 1.0;
        (fraction * f64::from(1 << (x & 7)) / 64.0) as f32
    };
    (0..count).map(number).collect()
}

fn floats(hex: &str) -> Vec<f32> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let float = |at: usize| f32::from_le_bytes(std::array::from_fn(|n| byte(8 * at + 2 * n)));
    (0..hex.len() / 8).map(float).collect()
}

/// How far apart two numbers are, in units in the last place of the larger of them and of `before`: a
/// step adds to a number that size.
fn ulps(ours: f32, theirs: f32, before: f32) -> f64 {
    let size = ours.abs().max(theirs.abs()).max(before.abs());
    let unit = f64::from(f32::from_bits(size.to_bits() + 1)) - f64::from(size);
    (f64::from(ours) - f64::from(theirs)).abs() / unit
}

/// How far one step was off at most, in units in the last place: in whole vectors of 16 elements before
/// any step whose scale is no power of two, in the rest of tensors and after such a step, and in
/// gradients.
#[derive(Debug, Default)]
struct Off {
    vectors: f64,
    rest: f64,
    gradients: f64,
}

struct Run<'a, D: Compute> {
    world: &'a World<D>,
    number: usize,
    counts: &'a [usize],
    off: &'a mut Off,
    all: &'a mut Vec<u32>,
}

impl<D: Compute + 'static> Run<'_, D> {
    fn run<S: Settings>(&mut self, settings: S, steps: &[Step]) {
        let Self { world, number, counts, .. } = *self;
        let mut optimizer = Fused::new(&world.allocator, world.stream, settings).unwrap();
        let group = optimizer.first_group();
        let tensors: Vec<_> = counts.iter().enumerate().collect();
        let ids = tensors.iter().map(|&(tensor, &count)| {
            let values = world.buffer(&numbers(number, tensor, 0, count));
            optimizer.add_parameter(format!("tensor {tensor}"), values).unwrap()
        });
        let ids: Vec<_> = ids.collect();
        let start = |&(tensor, &count): &(usize, &usize)| numbers(number, tensor, 0, count);
        let mut before: Vec<Vec<f32>> = tensors.iter().map(start).collect();
        let mut done = 0;
        let mut was_divided = false;
        for (step, recorded) in steps.iter().enumerate() {
            let scale = recorded.scale.unwrap_or(1.0);
            was_divided |= scale.log2().fract() != 0.0 && !recorded.found;
            for &(tensor, &count) in &tensors {
                let mut gradients = numbers(number, tensor, step + 1, count);
                for gradient in &mut gradients {
                    *gradient *= scale;
                }
                let buffer = optimizer.gradient_mut::<f32>(ids[tensor]).unwrap();
                buffer.copy_from_slice(&gradients).unwrap();
            }
            let found = world.buffer(&[f32::from(u8::from(recorded.found))]);
            let inverse = world.buffer(&[scale.recip()]);
            optimizer.set_learning_rate(group, recorded.lr).unwrap();
            let predicate = Predicate {
                device: world.allocator.device().id(),
                stream: world.stream,
                found: found.address(),
                inverse_scale: recorded.scale.map(|_| inverse.address()),
            };
            optimizer.step_if(predicate).unwrap();
            done += u64::from(!recorded.found);
            assert_eq!(optimizer.steps(group).unwrap(), done);
            for &(tensor, &count) in &tensors {
                let ours = optimizer.values(ids[tensor]).unwrap().to_vec().unwrap();
                let theirs = floats(&recorded.values[tensor]);
                for (at, (&ours, &theirs)) in ours.iter().zip(&theirs).enumerate() {
                    let is_exact = at < count / 16 * 16 && !was_divided;
                    let off = if is_exact { &mut self.off.vectors } else { &mut self.off.rest };
                    *off = off.max(ulps(ours, theirs, before[tensor][at]));
                }
                // The next step begins where theirs does.
                optimizer.values_mut(ids[tensor]).unwrap().copy_from_slice(&theirs).unwrap();
                before[tensor] = theirs;
                self.all.extend(ours.iter().map(|value| value.to_bits()));
                if let Some(theirs) = &recorded.gradients {
                    let ours =
                        optimizer.gradient_mut::<f32>(ids[tensor]).unwrap().to_vec().unwrap();
                    for (&ours, theirs) in ours.iter().zip(floats(&theirs[tensor])) {
                        self.off.gradients = self.off.gradients.max(ulps(ours, theirs, 0.0));
                    }
                }
            }
        }
    }
}

/// All that was recorded; how far it was off, and all the values that came out.
fn run_all<D: Compute + 'static>(world: &World<D>) -> (Off, Vec<u32>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/fused.json.gz");
    let file: Recording =
        serde_json::from_reader(GzDecoder::new(File::open(path).unwrap())).unwrap();
    let (mut off, mut all) = (Off::default(), Vec::new());
    for (number, case) in file.cases.iter().enumerate() {
        let Recorded { lr, betas, eps, weight_decay, .. } = case.settings;
        let Recorded { momentum, dampening, nesterov, maximize, .. } = case.settings;
        let counts = &file.counts;
        let mut run = Run { world, number, counts, off: &mut off, all: &mut all };
        if case.optimizer == "SGD" {
            let settings = SgdConfig { lr, momentum, dampening, weight_decay, nesterov, maximize };
            run.run(settings, &case.steps);
        } else {
            let decoupled = case.optimizer == "AdamW";
            let settings = AdamWConfig { lr, betas, eps, weight_decay, decoupled, maximize };
            run.run(settings, &case.steps);
        }
    }
    (off, all)
}

/// `PyTorch` computes whole vectors as we do. It rounds the rest of a tensor in other places, and
/// divides by a scale where we multiply by its inverse.
fn check(off: &Off) {
    assert!(off.vectors == 0.0, "bit by bit: {off:?}");
    assert!(off.gradients <= 1.0, "{off:?}");
    assert!(off.rest <= 2.0, "{off:?}");
}

#[test]
fn steps_are_those_of_pytorch_and_the_same_bits_on_every_device() {
    let (off, on_caller) = run_all(&caller());
    check(&off);
    let (off, on_threads) = run_all(&threads());
    check(&off);
    let (fake, world) = fake();
    let (off, on_gpu) = run_all(&world);
    check(&off);
    assert!(fake.calls("cuLaunchKernel") > 300, "the kernels ran there");
    assert!(on_caller == on_threads, "threads change nothing");
    assert!(on_caller == on_gpu, "the two sources compute the same bits");
}
