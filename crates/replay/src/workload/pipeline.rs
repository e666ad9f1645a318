//! The second of four stages of a pipeline, one forward and one backward in turn, recomputing.
//!
//! All iterations are equal but the last, which comes with another length. A planner that watches
//! three of them can lay out the rest to the byte, and must fall back when the last one differs.

use std::collections::VecDeque;

use crate::Trace;

use super::bytes::half;
use super::layers::{Batch, LLAMA_8B, Llama, Training};
use super::model::{Model, Optimizer, Tensor};
use super::random::Random;
use super::tape::{Tape, forget, recompute};

pub(super) const ABOUT: &str = "a pipeline stage of 6 Llama-3 8B layers, 8 micro-batches, \
    recomputing; 3 iterations to learn from, 3 alike, a last one of another length: a planned \
    layout reaches the peak of live bytes, and falls back in the last";

const LAYERS: usize = 6;
const MICRO_BATCHES: u64 = 8;
/// Forward passes before the first backward: the stages behind this one.
const AHEAD: u64 = 2;
const ALIKE: u64 = 6;
const LENGTH: u64 = 4096;

pub(super) fn make(seed: u64) -> Trace {
    let mut random = Random::new(seed);
    let mut model = Model::new(ABOUT);
    let layers: Vec<Llama> =
        (0..LAYERS).map(|_| Llama::new(&mut model, LLAMA_8B, Training::Full)).collect();
    model.workspaces();
    for iteration in 0..=ALIKE {
        let length = if iteration < ALIKE { LENGTH } else { random.between(4200, 6000) };
        model.step(&format!("{iteration} length {length}"));
        iterate(&mut model, &layers, Batch { sequences: 1, length });
        model.clip_gradients();
        model.update(Optimizer::AdamEach);
    }
    model.finish()
}

/// The inputs of the layers for a micro-batch under way, and what was sent to the next stage.
struct UnderWay {
    kept: Vec<Tensor>,
    sent: Tensor,
}

fn iterate(model: &mut Model, layers: &[Llama], batch: Batch) {
    let mut under_way = VecDeque::new();
    for _ in 0..AHEAD {
        under_way.push_back(forward(model, layers, batch));
    }
    for _ in AHEAD..MICRO_BATCHES {
        under_way.push_back(forward(model, layers, batch));
        if let Some(oldest) = under_way.pop_front() {
            backward(model, layers, batch, oldest);
        }
    }
    for rest in under_way {
        backward(model, layers, batch, rest);
    }
}

fn forward(model: &mut Model, layers: &[Llama], batch: Batch) -> UnderWay {
    let received = model.get(half(batch.tokens() * LLAMA_8B.model));
    let (mut kept, mut value) = (Vec::with_capacity(layers.len()), received);
    for layer in layers {
        let output = forget(model, value, |model, tape| layer.run(model, tape, batch));
        kept.push(value);
        value = output;
    }
    UnderWay { kept, sent: value }
}

fn backward(model: &mut Model, layers: &[Llama], batch: Batch, pass: UnderWay) {
    let mut gradient = model.get(pass.sent.size()); // received from the next stage
    model.drop(pass.sent);
    for (layer, input) in layers.iter().zip(pass.kept).rev() {
        let run = |model: &mut Model, tape: &mut Tape| layer.run(model, tape, batch);
        gradient = recompute(model, input, gradient, run);
    }
    model.drop(gradient); // sent to the stage before
}
