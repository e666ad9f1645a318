//! GPT-2 medium (24 layers of width 1,024) in training, all activations kept.
//!
//! With a fixed sequence length every step asks for the same sizes in the same order: the easy
//! case, where a caching allocator is at its best from the second step on. With a length that
//! changes per step nearly no size returns, which is what tears caches apart.

use crate::Trace;

use super::bytes::{float, long};
use super::layers::{Batch, Ends, Gpt, Widths};
use super::model::{Model, Optimizer};
use super::random::Random;
use super::tape::{Mode, Tape};

pub(super) const ABOUT_FIXED: &str =
    "GPT-2 medium in training, batch 8, length 512, AdamW over lists: every step is the same";
pub(super) const ABOUT_VARLEN: &str =
    "GPT-2 medium in training, batch 8, a new length of 64..1024 per step, AdamW over lists";

const WIDTHS: Widths = Widths { model: 1024, keys: 1024, hidden: 4096, heads: 16 };
const LAYERS: usize = 24;
const WORDS: u64 = 50_257;
const SEQUENCES: u64 = 8;
const STEPS: u64 = 12;

pub(super) fn fixed(_seed: u64) -> Trace {
    make(ABOUT_FIXED, || 512)
}

pub(super) fn varlen(seed: u64) -> Trace {
    let mut random = Random::new(seed);
    make(ABOUT_VARLEN, || random.between(64, 1024))
}

fn make(about: &str, mut next_length: impl FnMut() -> u64) -> Trace {
    let mut model = Model::new(about);
    let layers: Vec<Gpt> = (0..LAYERS).map(|_| Gpt::new(&mut model, WIDTHS)).collect();
    let ends = Ends::trained(&mut model, WIDTHS.model, WORDS);
    model.workspaces();
    for step in 0..STEPS {
        let batch = Batch { sequences: SEQUENCES, length: next_length() };
        model.step(&format!("{step} length {}", batch.length));
        train(&mut model, &layers, &ends, batch);
        model.clip_gradients();
        model.update(Optimizer::AdamList);
    }
    model.finish()
}

fn train(model: &mut Model, layers: &[Gpt], ends: &Ends, batch: Batch) {
    let inputs = model.get_all(&[long(batch.tokens()), long(batch.tokens())]);
    let mut tape = Tape::new(Mode::Train, Vec::new());
    ends.embed(model, &mut tape, batch);
    for layer in layers {
        layer.run(model, &mut tape, batch);
    }
    ends.loss(model, &mut tape, batch);
    let gradient = model.get(float(1));
    let none = tape.backward(model, gradient);
    debug_assert!(none.is_none(), "token numbers have no gradient");
    model.drop_all(inputs);
}
