//! A network of tanh layers in any precision, forward and backward.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::text::{BATCH, CONTEXT};

/// The numbers of a character.
const EMBEDDING: usize = 16;
const HIDDEN: usize = 64;
const LAYERS: usize = 3;
/// The characters whose losses are averaged: those of all processes.
const WHOLE_BATCH: f32 = 2_097_152.0;

/// What the network's numbers are kept in.
pub(crate) trait Precision: Copy + 'static {
    fn widen(numbers: &[Self]) -> Vec<f32>;
    fn narrow(numbers: &[f32]) -> Vec<Self>;
}

impl Precision for f32 {
    fn widen(numbers: &[Self]) -> Vec<f32> {
        numbers.to_vec()
    }

    fn narrow(numbers: &[f32]) -> Vec<Self> {
        numbers.to_vec()
    }
}

impl Precision for f16 {
    fn widen(numbers: &[Self]) -> Vec<f32> {
        let mut wide = vec![0.0; numbers.len()];
        numbers.convert_to_f32_slice(&mut wide);
        wide
    }

    fn narrow(numbers: &[f32]) -> Vec<Self> {
        let mut narrow = vec![f16::ZERO; numbers.len()];
        narrow.convert_from_f32_slice(numbers);
        narrow
    }
}

/// The rows and columns of each weight: embedding, layers, output.
pub(crate) fn shapes(vocabulary: usize) -> Vec<(usize, usize)> {
    let mut shapes = vec![(vocabulary, EMBEDDING), (CONTEXT * EMBEDDING, HIDDEN)];
    shapes.extend([(HIDDEN, HIDDEN); LAYERS - 1]);
    shapes.push((HIDDEN, vocabulary));
    shapes
}

/// First weights, the same for every run.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
pub(crate) fn first_weights(shape: (usize, usize), seed: u64) -> Vec<f32> {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let spread = (3.0 / shape.0.min(128) as f32).sqrt();
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..shape.0 * shape.1).map(|_| next() * spread).collect()
}

/// What a pass gives.
pub(crate) struct Pass {
    /// The mean loss of this process's share, in nats.
    pub(crate) loss: f32,
    /// The gradients of the weights, scaled, as the network's precision has them.
    pub(crate) gradients: Vec<Vec<f32>>,
    /// Gradients of activations that became zero, and all that were not zero before.
    pub(crate) flushed: (usize, usize),
}

/// Forward and backward, with the loss multiplied by `scale`.
pub(crate) fn pass<T: Precision>(
    weights: &[Vec<T>],
    vocabulary: usize,
    (before, next): &(Vec<usize>, Vec<usize>),
    scale: f32,
) -> Pass {
    let shapes = shapes(vocabulary);
    let embedding = T::widen(&weights[0]);
    let first = before.iter().flat_map(|id| &embedding[id * EMBEDDING..][..EMBEDDING]).copied();
    let mut activations = vec![T::narrow(&first.collect::<Vec<_>>())];
    for layer in 1..=LAYERS {
        let sums = product(&activations[layer - 1], &weights[layer], shapes[layer]);
        let tanh: Vec<f32> = T::widen(&sums).into_iter().map(f32::tanh).collect();
        activations.push(T::narrow(&tanh));
    }
    let last = LAYERS + 1;
    let scores = product(&activations[LAYERS], &weights[last], shapes[last]);
    let (loss, mut gradient) = cross_entropy::<T>(&scores, next, scale / WHOLE_BATCH);

    let mut flushed = (0, 0);
    let mut gradients = vec![Vec::new(); weights.len()];
    for layer in (1..=last).rev() {
        let (rows, columns) = shapes[layer];
        gradients[layer] = inner::<T>(&activations[layer - 1], &gradient, (rows, columns));
        let mut below = outer(&gradient, &weights[layer], (rows, columns));
        if layer > 1 {
            let tanh = T::widen(&activations[layer - 1]);
            below.iter_mut().zip(tanh).for_each(|(below, tanh)| *below *= 1.0 - tanh * tanh);
        }
        gradient = T::narrow(&below);
        let kept = T::widen(&gradient);
        let is_lost = |(wide, kept): &(&f32, &f32)| **kept == 0.0 && **wide != 0.0;
        flushed.0 += below.iter().zip(&kept).filter(is_lost).count();
        flushed.1 += below.iter().filter(|&&wide| wide != 0.0).count();
    }
    let mut embedding = vec![0.0; vocabulary * EMBEDDING];
    for (id, row) in before.iter().zip(T::widen(&gradient).chunks_exact(EMBEDDING)) {
        let sums = &mut embedding[id * EMBEDDING..][..EMBEDDING];
        sums.iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
    }
    gradients[0] = T::widen(&T::narrow(&embedding));
    Pass { loss, gradients, flushed }
}

/// The mean loss, and the gradient of each score.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn cross_entropy<T: Precision>(scores: &[T], next: &[usize], factor: f32) -> (f32, Vec<T>) {
    let mut scores = T::widen(scores);
    let vocabulary = scores.len() / next.len();
    let mut loss = 0.0;
    for (row, &next) in scores.chunks_exact_mut(vocabulary).zip(next) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for score in &mut *row {
            *score = (*score - most).exp();
        }
        let sum: f32 = row.iter().sum();
        loss -= (row[next] / sum).ln();
        for score in &mut *row {
            *score *= factor / sum;
        }
        row[next] -= factor;
    }
    (loss / next.len() as f32, T::narrow(&scores))
}

/// `a × w`: a line for each of the batch.
fn product<T: Precision>(a: &[T], w: &[T], (rows, columns): (usize, usize)) -> Vec<T> {
    let (a, w) = (T::widen(a), T::widen(w));
    let mut sums = vec![0.0; BATCH * columns];
    for (a, sums) in a.chunks_exact(rows).zip(sums.chunks_exact_mut(columns)) {
        for (a, w) in a.iter().zip(w.chunks_exact(columns)) {
            sums.iter_mut().zip(w).for_each(|(sum, w)| *sum += a * w);
        }
    }
    T::narrow(&sums)
}

/// `aᵗ × g`: the gradient of a weight.
fn inner<T: Precision>(a: &[T], g: &[T], (rows, columns): (usize, usize)) -> Vec<f32> {
    let (a, g) = (T::widen(a), T::widen(g));
    let mut sums = vec![0.0; rows * columns];
    for (a, g) in a.chunks_exact(rows).zip(g.chunks_exact(columns)) {
        for (a, sums) in a.iter().zip(sums.chunks_exact_mut(columns)) {
            sums.iter_mut().zip(g).for_each(|(sum, g)| *sum += a * g);
        }
    }
    T::widen(&T::narrow(&sums))
}

/// `g × wᵗ`: the gradient of an activation, before it is narrowed.
fn outer<T: Precision>(g: &[T], w: &[T], (rows, columns): (usize, usize)) -> Vec<f32> {
    let (g, w) = (T::widen(g), T::widen(w));
    let mut sums = vec![0.0; BATCH * rows];
    for (g, sums) in g.chunks_exact(columns).zip(sums.chunks_exact_mut(rows)) {
        for (sum, w) in sums.iter_mut().zip(w.chunks_exact(columns)) {
            *sum = g.iter().zip(w).map(|(g, w)| g * w).sum();
        }
    }
    sums
}
