//! The layers that transformer models share: projections, attention, embedding, loss.

use freeboard_units::Bytes;

use super::bytes::{float, half, long, mask};
use super::model::{Model, Weight};
use super::tape::{Kernel, Tape};

/// The tokens that go through a network together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub(super) sequences: u64,
    pub(super) length: u64,
}

impl Batch {
    pub(super) const fn tokens(self) -> u64 {
        self.sequences * self.length
    }
}

/// What a projection keeps in memory and what of it is trained; numbers are ranks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Training {
    /// All of it, in memory.
    Full,
    /// All of it, in memory only while gathered.
    Sharded,
    /// None of it; the weight is in memory.
    Frozen,
    /// A pair of thin matrices beside a frozen weight in memory.
    Adapter(u64),
    /// The same beside a frozen weight that is in memory only while gathered.
    ShardedAdapter(u64),
}

/// A projection without bias.
#[derive(Debug)]
pub(super) struct Linear {
    inputs: u64,
    outputs: u64,
    rank: u64,
    trained: Vec<Weight>,
}

impl Linear {
    pub(super) fn new(model: &mut Model, inputs: u64, outputs: u64, training: Training) -> Self {
        let full = half(inputs * outputs);
        let (rank, trained) = match training {
            Training::Full => (0, vec![model.weight(full)]),
            Training::Sharded => (0, vec![model.sharded_weight(full)]),
            Training::Frozen => {
                model.resident(full);
                (0, Vec::new())
            }
            Training::Adapter(rank) => {
                model.resident(full);
                (rank, adapter(model, inputs, outputs, rank))
            }
            Training::ShardedAdapter(rank) => (rank, adapter(model, inputs, outputs, rank)),
        };
        Self { inputs, outputs, rank, trained }
    }

    pub(super) const fn elements(&self) -> u64 {
        self.inputs * self.outputs
    }

    pub(super) fn run(&self, model: &mut Model, tape: &mut Tape, tokens: u64) {
        Self::run_together([self], model, tape, tokens);
    }

    /// Projects one input several ways.
    ///
    /// An adapter keeps its thin product, and its wide one lives until it is added.
    pub(super) fn run_together<const N: usize>(
        projections: [&Self; N],
        model: &mut Model,
        tape: &mut Tape,
        tokens: u64,
    ) {
        let outputs = projections.map(|it| half(tokens * it.outputs));
        let adapted = || projections.iter().filter(|it| it.rank > 0);
        let thin: Vec<Bytes> = adapted().map(|it| half(tokens * it.rank)).collect();
        let wide = adapted().map(|it| half(tokens * it.outputs)).max().unwrap_or_default();
        let trained: Vec<Weight> = projections.iter().flat_map(|it| &it.trained).copied().collect();
        let kernel = Kernel::to(&outputs).weights(&trained).saves(&thin).workspace(wide);
        tape.run(model, kernel.keeps_inputs());
    }
}

fn adapter(model: &mut Model, inputs: u64, outputs: u64, rank: u64) -> Vec<Weight> {
    vec![model.weight(half(inputs * rank)), model.weight(half(rank * outputs))]
}

/// The widths of a network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widths {
    pub(super) model: u64,
    /// Of keys, and of values: smaller than the model's where heads share them.
    pub(super) keys: u64,
    pub(super) hidden: u64,
    pub(super) heads: u64,
}

/// Llama-3 with 8 billion parameters.
pub(super) const LLAMA_8B: Widths = Widths { model: 4096, keys: 1024, hidden: 14336, heads: 32 };

/// Root-mean-square norm, computed in 32 bits: the copy and the scale of each token are kept.
pub(super) fn rms_norm(
    model: &mut Model,
    tape: &mut Tape,
    tokens: u64,
    width: u64,
    weights: &[Weight],
) {
    let (normed, saved) = ([half(tokens * width)], [float(tokens * width), float(tokens)]);
    let kernel = Kernel::to(&normed).weights(weights).saves(&saved).workspace(saved[0]);
    tape.run(model, kernel.keeps_inputs());
}

/// Fused attention over queries, keys and values: keeps them, its result and one number a token
/// and head.
fn attend(model: &mut Model, tape: &mut Tape, batch: Batch, widths: Widths) {
    let result = [half(batch.tokens() * widths.model)];
    let saved = [float(batch.tokens() * widths.heads), long(2)];
    tape.run(model, Kernel::to(&result).saves(&saved).keeps_inputs().keeps_outputs());
}

/// A layer of a Llama: attention with shared keys, gated hidden layer, norms before both.
#[derive(Debug)]
pub(super) struct Llama {
    widths: Widths,
    norms: [Vec<Weight>; 2],
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    /// Absent where experts take its place.
    hidden: Option<[Linear; 3]>,
}

impl Llama {
    pub(super) fn new(model: &mut Model, widths: Widths, training: Training) -> Self {
        let mut layer = Self::attention_only(model, widths, training);
        let Widths { model: width, hidden, .. } = widths;
        let sizes = [(width, hidden), (width, hidden), (hidden, width)];
        layer.hidden =
            Some(sizes.map(|(inputs, outputs)| Linear::new(model, inputs, outputs, training)));
        layer
    }

    /// Without the hidden layer, but with both norms.
    pub(super) fn attention_only(model: &mut Model, widths: Widths, training: Training) -> Self {
        let Widths { model: width, keys, .. } = widths;
        let mut linear = |inputs, outputs| Linear::new(model, inputs, outputs, training);
        let (query, key) = (linear(width, width), linear(width, keys));
        let (value, output) = (linear(width, keys), linear(width, width));
        let norms = [(); 2].map(|()| match training {
            Training::Full => vec![model.weight(half(width))],
            Training::Sharded => vec![model.sharded_weight(half(width))],
            Training::Frozen | Training::Adapter(_) | Training::ShardedAdapter(_) => {
                model.resident(half(width));
                Vec::new()
            }
        });
        Self { widths, norms, query, key, value, output, hidden: None }
    }

    pub(super) fn run(&self, model: &mut Model, tape: &mut Tape, batch: Batch) {
        self.attention(model, tape, batch);
        let Some([gate, up, down]) = &self.hidden else { return };
        let (tokens, hidden) = (batch.tokens(), half(batch.tokens() * self.widths.hidden));
        tape.fork(model);
        self.second_norm(model, tape, tokens);
        Linear::run_together([gate, up], model, tape, tokens);
        tape.run(model, Kernel::to(&[hidden]).saves(&[hidden]).keeps_inputs());
        down.run(model, tape, tokens);
        tape.join(model);
    }

    pub(super) fn attention(&self, model: &mut Model, tape: &mut Tape, batch: Batch) {
        let (tokens, Widths { model: width, keys, .. }) = (batch.tokens(), self.widths);
        tape.fork(model);
        rms_norm(model, tape, tokens, width, &self.norms[0]);
        Linear::run_together([&self.query, &self.key, &self.value], model, tape, tokens);
        // Queries and keys are rotated, values made contiguous.
        let rotated = [half(tokens * width), half(tokens * keys), half(tokens * keys)];
        tape.run(model, Kernel::to(&rotated).workspace(rotated[0]));
        attend(model, tape, batch, self.widths);
        self.output.run(model, tape, tokens);
        tape.join(model);
    }

    /// The norm before the hidden layer.
    pub(super) fn second_norm(&self, model: &mut Model, tape: &mut Tape, tokens: u64) {
        rms_norm(model, tape, tokens, self.widths.model, &self.norms[1]);
    }

    /// How many numbers its weights have, adapters not counted.
    pub(super) fn elements(&self) -> u64 {
        let hidden = self.hidden.iter().flatten();
        let linears = [&self.query, &self.key, &self.value, &self.output].into_iter().chain(hidden);
        linears.map(Linear::elements).sum::<u64>() + 2 * self.widths.model
    }

    /// What is trained, in the order of the forward pass.
    pub(super) fn trained(&self) -> Vec<Weight> {
        let hidden = self.hidden.iter().flatten();
        let attention = [&self.query, &self.key, &self.value, &self.output];
        let linears = attention.into_iter().chain(hidden).flat_map(|linear| &linear.trained);
        linears.chain(self.norms.iter().flatten()).copied().collect()
    }
}

/// A layer of a GPT-2: biases everywhere, fused projection, dropout, hidden layer four times wide.
#[derive(Debug)]
pub(super) struct Gpt {
    widths: Widths,
    /// Weight and bias of: norm, fused projection, output, norm, hidden, output.
    weights: [[Weight; 2]; 6],
}

impl Gpt {
    pub(super) fn new(model: &mut Model, widths: Widths) -> Self {
        let Widths { model: width, hidden, .. } = widths;
        let shapes = [
            (1, width),
            (width, 3 * width),
            (width, width),
            (1, width),
            (width, hidden),
            (hidden, width),
        ];
        let weights = shapes.map(|(inputs, outputs)| {
            [model.weight(half(inputs * outputs)), model.weight(half(outputs))]
        });
        Self { widths, weights }
    }

    pub(super) fn run(&self, model: &mut Model, tape: &mut Tape, batch: Batch) {
        let Widths { model: width, hidden, .. } = self.widths;
        let [norm1, fused, output, norm2, expand, contract] = &self.weights;
        let tokens = batch.tokens();
        tape.fork(model);
        layer_norm(model, tape, tokens, width, norm1);
        let queries = half(tokens * width);
        tape.run(model, Kernel::to(&[queries * 3]).weights(fused).keeps_inputs());
        attend(model, tape, batch, self.widths);
        tape.run(model, Kernel::to(&[queries]).weights(output).keeps_inputs());
        dropout(model, tape, tokens * width);
        tape.join(model);

        tape.fork(model);
        layer_norm(model, tape, tokens, width, norm2);
        let wide = [half(tokens * hidden)];
        tape.run(model, Kernel::to(&wide).weights(expand).keeps_inputs());
        tape.run(model, Kernel::to(&wide).keeps_inputs());
        tape.run(model, Kernel::to(&[queries]).weights(contract).keeps_inputs());
        dropout(model, tape, tokens * width);
        tape.join(model);
    }
}

fn layer_norm(model: &mut Model, tape: &mut Tape, tokens: u64, width: u64, weights: &[Weight; 2]) {
    let (normed, statistics) = ([half(tokens * width)], [float(tokens), float(tokens)]);
    let kernel = Kernel::to(&normed).weights(weights).saves(&statistics);
    tape.run(model, kernel.keeps_inputs());
}

fn dropout(model: &mut Model, tape: &mut Tape, elements: u64) {
    tape.run(model, Kernel::to(&[half(elements)]).saves(&[mask(elements)]));
}

/// What stands before and after the layers: token table, last norm, projection to words, loss.
#[derive(Debug)]
pub(super) struct Ends {
    width: u64,
    words: u64,
    /// Token table, norm, projection; empty where they are frozen.
    trained: [Vec<Weight>; 3],
}

impl Ends {
    pub(super) fn trained(model: &mut Model, width: u64, words: u64) -> Self {
        let sizes = [width * words, width, width * words];
        let trained = sizes.map(|elements| vec![model.weight(half(elements))]);
        Self { width, words, trained }
    }

    pub(super) fn frozen(model: &mut Model, width: u64, words: u64) -> Self {
        for elements in [width * words, width, width * words] {
            model.resident(half(elements));
        }
        Self { width, words, trained: [const { Vec::new() }; 3] }
    }

    /// From token numbers to vectors; the tape starts empty.
    pub(super) fn embed(&self, model: &mut Model, tape: &mut Tape, batch: Batch) {
        let vectors = [half(batch.tokens() * self.width)];
        let numbers = [long(batch.tokens())];
        tape.run(model, Kernel::to(&vectors).saves(&numbers).weights(&self.trained[0]));
    }

    /// From vectors to one number: the logits are widened to 32 bits before the loss.
    pub(super) fn loss(&self, model: &mut Model, tape: &mut Tape, batch: Batch) {
        let (tokens, [_, norm, words]) = (batch.tokens(), &self.trained);
        rms_norm(model, tape, tokens, self.width, norm);
        let logits = tokens * self.words;
        let projected = [half(logits)];
        let project = Kernel::to(&projected).weights(words);
        // A frozen projection sends gradients back without its input.
        let project = if words.is_empty() { project } else { project.keeps_inputs() };
        tape.run(model, project);
        tape.run(model, Kernel::to(&[float(logits)]));
        tape.run(model, Kernel::to(&[float(logits)]).keeps_outputs());
        tape.run(model, Kernel::to(&[float(1)]).saves(&[long(tokens)]));
    }
}
