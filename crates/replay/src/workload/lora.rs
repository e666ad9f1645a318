//! Llama-3 8B with adapters of rank 16 on all projections, checkpointed layer by layer.
//!
//! The weights are frozen, so gradients and states are small and nearly all that moves are
//! activations: huge in the recomputed layer, with lengths that change at every micro-batch.

use crate::Trace;

use super::bytes::{float, long};
use super::layers::{Batch, Ends, LLAMA_8B, Llama, Training};
use super::model::{Model, Optimizer, Tensor};
use super::random::Random;
use super::tape::{Mode, Tape, forget, recompute};

pub(super) const ABOUT: &str = "Llama-3 8B frozen with adapters of rank 16, checkpointed, batch 2, \
    2 micro-batches per step with a new length of 128..2048 each, AdamW over lists";

const LAYERS: usize = 32;
const RANK: u64 = 16;
const WORDS: u64 = 128_256;
const STEPS: u64 = 4;
const MICRO_BATCHES: u64 = 2;
const SEQUENCES: u64 = 2;

pub(super) fn make(seed: u64) -> Trace {
    let mut random = Random::new(seed);
    let mut model = Model::new(ABOUT);
    let ends = Ends::frozen(&mut model, LLAMA_8B.model, WORDS);
    let layers: Vec<Llama> =
        (0..LAYERS).map(|_| Llama::new(&mut model, LLAMA_8B, Training::Adapter(RANK))).collect();
    model.workspaces();
    for step in 0..STEPS {
        model.step(&step.to_string());
        for micro in 0..MICRO_BATCHES {
            let batch = Batch { sequences: SEQUENCES, length: random.between(128, 2048) };
            model.comment(&format!("micro-batch {micro} length {}", batch.length));
            train(&mut model, &layers, &ends, batch);
        }
        model.clip_gradients();
        model.update(Optimizer::AdamList);
    }
    model.finish()
}

fn train(model: &mut Model, layers: &[Llama], ends: &Ends, batch: Batch) {
    let inputs = model.get_all(&[long(batch.tokens()), long(batch.tokens())]);
    let mut first = Tape::new(Mode::Forget, Vec::new());
    ends.embed(model, &mut first, batch);
    let mut value = first.take_value();
    let mut kept: Vec<Tensor> = Vec::with_capacity(layers.len());
    for layer in layers {
        let output = forget(model, value, |model, tape| layer.run(model, tape, batch));
        kept.push(value);
        value = output;
    }
    let mut gradient = loss_gradient(model, ends, value, batch);
    for layer in layers.iter().rev() {
        let input = kept.pop().expect("each layer kept its input");
        let run = |model: &mut Model, tape: &mut Tape| layer.run(model, tape, batch);
        gradient = recompute(model, input, gradient, run);
    }
    model.drop(gradient);
    model.drop_all(inputs);
}

/// The loss and back again; takes over the holder of `value`, returns its gradient.
pub(super) fn loss_gradient(model: &mut Model, ends: &Ends, value: Tensor, batch: Batch) -> Tensor {
    let mut last = Tape::new(Mode::Train, vec![value]);
    ends.loss(model, &mut last, batch);
    let gradient = model.get(float(1));
    last.backward(model, gradient).expect("the loss has an input")
}
