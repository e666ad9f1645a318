//! Llama-3 8B sharded over 8 devices, as fully sharded data parallel training does it.
//!
//! The full weights of a layer are gathered on stream 1 one layer ahead of their use on stream 0,
//! which is noted on them; they are freed right after. On the way back they are gathered again,
//! and the layer's gradients are reduced on stream 2. Each stream has its own cache in a
//! stream-ordered allocator, and freed memory stays away until the other stream is done with it.

use freeboard_units::Bytes;

use crate::Trace;

use super::bytes::{float, half, long};
use super::layers::{Batch, Ends, LLAMA_8B, Llama, Training};
use super::lora::loss_gradient;
use super::model::{COMPUTE, Model, Optimizer, Tensor, Weight};
use super::random::Random;
use super::tape::{Mode, Tape, forget, recompute};

pub(super) const ABOUT: &str = "Llama-3 8B sharded over 8 devices: layers gathered on stream 1, \
    gradients reduced on stream 2, checkpointed, batch 2, a new length of 512..4096 per step";

const GATHER: u16 = 1;
const REDUCE: u16 = 2;
const DEVICES: u64 = 8;
const LAYERS: usize = 32;
const WORDS: u64 = 128_256;
const STEPS: u64 = 8;
const SEQUENCES: u64 = 2;

/// A layer and this device's share of it, in 32 bits.
struct Sharded {
    layer: Llama,
    shard: Weight,
}

impl Sharded {
    fn new(model: &mut Model) -> Self {
        let layer = Llama::new(model, LLAMA_8B, Training::Sharded);
        let shard = model.weight(float(layer.elements().div_ceil(DEVICES)));
        Self { layer, shard }
    }

    /// The weights of all devices, in 16 bits, for use by the computing stream.
    fn gather(&self, model: &mut Model) -> Tensor {
        let full = gather(model, half(self.layer.elements()), DEVICES, GATHER);
        model.record(full, COMPUTE);
        full
    }

    /// Adds up the gradients of all devices and keeps this device's share.
    fn reduce(&self, model: &mut Model) {
        let all = model.get_on(half(self.layer.elements()), REDUCE);
        for weight in self.layer.trained() {
            if let Some(gradient) = model.take_gradient(weight) {
                model.record(gradient, REDUCE);
                model.drop(gradient);
            }
        }
        let share = model.get_on(half(self.layer.elements().div_ceil(DEVICES)), REDUCE);
        model.drop(all);
        let wide = model.get_on(model.size_of(self.shard), REDUCE);
        model.drop(share);
        model.record(wide, COMPUTE);
        model.set_gradient(self.shard, wide);
    }
}

/// Gathers a tensor from its shares; the own share is copied into place first.
pub(super) fn gather(model: &mut Model, full: Bytes, devices: u64, stream: u16) -> Tensor {
    let share = model.get_on(Bytes::new(full.get().div_ceil(devices)), stream);
    let gathered = model.get_on(full, stream);
    model.drop(share);
    gathered
}

pub(super) fn make(seed: u64) -> Trace {
    let mut random = Random::new(seed);
    let mut model = Model::new(ABOUT);
    let ends = Ends::frozen(&mut model, LLAMA_8B.model, WORDS);
    let layers: Vec<Sharded> = (0..LAYERS).map(|_| Sharded::new(&mut model)).collect();
    model.workspaces();
    for step in 0..STEPS {
        let batch = Batch { sequences: SEQUENCES, length: random.between(512, 4096) };
        model.step(&format!("{step} length {}", batch.length));
        train(&mut model, &layers, &ends, batch);
        model.clip_gradients();
        model.update(Optimizer::AdamEach);
    }
    model.finish()
}

fn train(model: &mut Model, layers: &[Sharded], ends: &Ends, batch: Batch) {
    let inputs = model.get_all(&[long(batch.tokens()), long(batch.tokens())]);
    let mut first = Tape::new(Mode::Forget, Vec::new());
    ends.embed(model, &mut first, batch);
    let mut value = first.take_value();

    let mut kept: Vec<Tensor> = Vec::with_capacity(layers.len());
    let mut ahead = layers.first().map(|first| first.gather(model));
    for (index, Sharded { layer, .. }) in layers.iter().enumerate() {
        let current = ahead.take();
        ahead = layers.get(index + 1).map(|next| next.gather(model));
        let output = forget(model, value, |model, tape| layer.run(model, tape, batch));
        kept.push(value);
        value = output;
        model.drop_all(current);
    }

    let mut gradient = loss_gradient(model, ends, value, batch);
    let mut ahead = layers.last().map(|last| last.gather(model));
    for (index, sharded) in layers.iter().enumerate().rev() {
        let current = ahead.take();
        ahead = index.checked_sub(1).map(|before| layers[before].gather(model));
        let input = kept.pop().expect("each layer kept its input");
        let run = |model: &mut Model, tape: &mut Tape| sharded.layer.run(model, tape, batch);
        gradient = recompute(model, input, gradient, run);
        model.drop_all(current);
        sharded.reduce(model);
    }
    model.drop(gradient);
    model.drop_all(inputs);
}
