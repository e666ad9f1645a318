//! Adapters, recomputation, offloading and sharding at once: the mix on which `PyTorch` 2.0 used
//! 64 % of what it had reserved.
//!
//! A model of 13 billion parameters is sharded over 4 devices. Its frozen layers are gathered on
//! stream 1, the inputs of layers leave for the host on stream 3 and come back on it, and lengths
//! change per step, so hardly two sizes on any stream are alike.

use crate::Trace;

use super::bytes::{half, long};
use super::layers::{Batch, Ends, Llama, Training, Widths};
use super::lora::loss_gradient;
use super::model::{COMPUTE, Model, Optimizer, Tensor};
use super::random::Random;
use super::streams::gather;
use super::tape::{Mode, Tape, forget, recompute};

pub(super) const ABOUT: &str = "adapters on 13 billion frozen parameters sharded over 4 devices, \
    recomputed, inputs of layers offloaded, a new length of 256..3072 per step: a good allocator \
    uses at least 98 % of what it reserves";

const WIDTHS: Widths = Widths { model: 5120, keys: 5120, hidden: 13824, heads: 40 };
const LAYERS: usize = 40;
const RANK: u64 = 8;
const WORDS: u64 = 32_000;
const DEVICES: u64 = 4;
const GATHER: u16 = 1;
const OFFLOAD: u16 = 3;
const STEPS: u64 = 5;
const SEQUENCES: u64 = 2;

pub(super) fn make(seed: u64) -> Trace {
    let mut random = Random::new(seed);
    let mut model = Model::new(ABOUT);
    let ends = Ends::frozen(&mut model, WIDTHS.model, WORDS);
    let layers: Vec<Llama> = (0..LAYERS)
        .map(|_| {
            let layer = Llama::new(&mut model, WIDTHS, Training::ShardedAdapter(RANK));
            model.resident(half(layer.elements().div_ceil(DEVICES)));
            layer
        })
        .collect();
    model.workspaces();
    for step in 0..STEPS {
        let batch = Batch { sequences: SEQUENCES, length: random.between(256, 3072) };
        model.step(&format!("{step} length {}", batch.length));
        train(&mut model, &layers, &ends, batch);
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
    for layer in layers {
        let weights = gather_layer(model, layer);
        let output = forget(model, value, |model, tape| layer.run(model, tape, batch));
        model.drop(weights);
        model.record(value, OFFLOAD); // copied to the host
        model.drop(value);
        value = output;
    }
    let size = value.size();
    let mut gradient = loss_gradient(model, ends, value, batch);
    for layer in layers.iter().rev() {
        let input = model.get_on(size, OFFLOAD); // copied back
        model.record(input, COMPUTE);
        let weights = gather_layer(model, layer);
        let run = |model: &mut Model, tape: &mut Tape| layer.run(model, tape, batch);
        gradient = recompute(model, input, gradient, run);
        model.drop(weights);
    }
    model.drop(gradient);
    model.drop_all(inputs);
}

fn gather_layer(model: &mut Model, layer: &Llama) -> Tensor {
    let weights = gather(model, half(layer.elements()), DEVICES, GATHER);
    model.record(weights, COMPUTE);
    weights
}
