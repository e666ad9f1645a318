//! A mixture of experts: 8 layers of width 2,048, two of 8 experts per token.
//!
//! How many tokens each expert gets is drawn anew for every layer and step, so the sizes inside
//! the experts never return, while everything around them does.

use crate::Trace;

use super::bytes::{float, half, long};
use super::layers::{Batch, Ends, Linear, Llama, Training, Widths};
use super::model::{Model, Optimizer, Tensor};
use super::random::Random;
use super::tape::{Kernel, Mode, Tape};

pub(super) const ABOUT: &str = "mixture of 8 experts in training, 8 layers, two experts per \
    token, 8 x 2048 tokens, tokens per expert drawn per layer and step, AdamW over lists";

const WIDTHS: Widths = Widths { model: 2048, keys: 512, hidden: 5632, heads: 16 };
const LAYERS: usize = 8;
const EXPERTS: u64 = 8;
const CHOSEN: u64 = 2;
const WORDS: u64 = 32_000;
const STEPS: u64 = 8;
const BATCH: Batch = Batch { sequences: 8, length: 2048 };

pub(super) fn make(seed: u64) -> Trace {
    let mut random = Random::new(seed);
    let mut model = Model::new(ABOUT);
    let layers: Vec<Layer> = (0..LAYERS).map(|_| Layer::new(&mut model)).collect();
    let ends = Ends::trained(&mut model, WIDTHS.model, WORDS);
    model.workspaces();
    for step in 0..STEPS {
        model.step(&step.to_string());
        train(&mut model, &layers, &ends, &mut random);
        model.clip_gradients();
        model.update(Optimizer::AdamList);
    }
    model.finish()
}

fn train(model: &mut Model, layers: &[Layer], ends: &Ends, random: &mut Random) {
    let inputs = model.get_all(&[long(BATCH.tokens()), long(BATCH.tokens())]);
    let mut first = Tape::new(Mode::Train, Vec::new());
    ends.embed(model, &mut first, BATCH);
    let mut value = first.take_value();
    let mut passes = Vec::with_capacity(layers.len());
    for layer in layers {
        let (pass, output) = layer.forward(model, value, random);
        passes.push(pass);
        value = output;
    }
    let mut last = Tape::new(Mode::Train, vec![value]);
    ends.loss(model, &mut last, BATCH);
    let gradient = model.get(float(1));
    let mut gradient = last.backward(model, gradient).expect("the loss has an input");
    while let Some(pass) = passes.pop() {
        gradient = pass.backward(model, gradient);
    }
    let none = first.backward(model, gradient);
    debug_assert!(none.is_none(), "token numbers have no gradient");
    model.drop_all(inputs);
}

#[derive(Debug)]
struct Layer {
    attention: Llama,
    router: Linear,
    /// Gate, up and down of each expert.
    experts: Vec<[Linear; 3]>,
}

/// A pass through a layer, with what its way back needs.
struct Pass {
    attention: Tape,
    norm: Tape,
    router: Tape,
    experts: Vec<ExpertPass>,
}

struct ExpertPass {
    tape: Tape,
    tokens: u64,
    /// Which tokens it took and which of its ranks they were.
    indices: Vec<Tensor>,
}

impl Layer {
    fn new(model: &mut Model) -> Self {
        let Widths { model: width, hidden, .. } = WIDTHS;
        let attention = Llama::attention_only(model, WIDTHS, Training::Full);
        let router = Linear::new(model, width, EXPERTS, Training::Full);
        let sizes = [(width, hidden), (width, hidden), (hidden, width)];
        let mut expert =
            || sizes.map(|(inputs, outputs)| Linear::new(model, inputs, outputs, Training::Full));
        let experts = (0..EXPERTS).map(|_| expert()).collect();
        Self { attention, router, experts }
    }

    fn forward(&self, model: &mut Model, input: Tensor, random: &mut Random) -> (Pass, Tensor) {
        let tokens = BATCH.tokens();
        let width = half(tokens * WIDTHS.model);
        let mut attention = Tape::new(Mode::Train, vec![input]);
        self.attention.attention(model, &mut attention, BATCH);
        let residual = attention.take_value();

        let mut norm = Tape::new(Mode::Train, vec![model.hold(residual)]);
        self.attention.second_norm(model, &mut norm, tokens);
        let normed = norm.take_value();

        let mut router = Tape::new(Mode::Train, vec![model.hold(normed)]);
        self.router.run(model, &mut router, tokens);
        router.run(model, Kernel::to(&[float(tokens * EXPERTS)]).keeps_outputs());
        let chosen = [long(tokens * CHOSEN)];
        router.run(model, Kernel::to(&[half(tokens * CHOSEN)]).saves(&chosen));
        let shares = router.take_value();

        let sum = model.get(width);
        let counts = draw_counts(random, tokens * CHOSEN);
        let experts = self.experts.iter().zip(counts);
        let experts = experts.map(|(expert, tokens)| run_expert(model, expert, tokens)).collect();
        model.drop(shares);
        model.drop(normed);
        let output = model.replace(sum, width);
        model.drop(residual);
        (Pass { attention, norm, router, experts }, output)
    }
}

/// Gathers the tokens of an expert, runs it, scales its result and adds it to the sum.
fn run_expert(model: &mut Model, [gate, up, down]: &[Linear; 3], tokens: u64) -> ExpertPass {
    let indices = model.get_all(&[long(tokens), long(tokens)]);
    let gathered = model.get(half(tokens * WIDTHS.model));
    let mut tape = Tape::new(Mode::Train, vec![gathered]);
    let hidden = half(tokens * WIDTHS.hidden);
    Linear::run_together([gate, up], model, &mut tape, tokens);
    tape.run(model, Kernel::to(&[hidden]).saves(&[hidden]).keeps_inputs());
    down.run(model, &mut tape, tokens);
    let scaled = [half(tokens * WIDTHS.model)];
    tape.run(model, Kernel::to(&scaled).saves(&[half(tokens)]).keeps_inputs());
    let added = tape.take_value();
    model.drop(added);
    ExpertPass { tape, tokens, indices }
}

impl Pass {
    fn backward(self, model: &mut Model, gradient: Tensor) -> Tensor {
        let width = gradient.size();
        let skipped = model.hold(gradient);
        let mut sum: Option<Tensor> = None;
        for expert in self.experts.into_iter().rev() {
            let gathered = model.get(half(expert.tokens * WIDTHS.model));
            let back = expert.tape.backward(model, gathered).expect("an expert has an input");
            // Put back to the places of its tokens, in a tensor of all tokens.
            let scattered = model.replace(back, width);
            model.drop_all(expert.indices);
            add_to(model, &mut sum, scattered);
        }
        model.drop(gradient);
        let shares = model.get(half(BATCH.tokens() * CHOSEN));
        let routed = self.router.backward(model, shares).expect("a router has an input");
        add_to(model, &mut sum, routed);
        let normed = sum.expect("the router gave a gradient");
        let back = self.norm.backward(model, normed).expect("a norm has an input");
        let total = model.replace(back, width);
        model.drop(skipped);
        self.attention.backward(model, total).expect("attention has an input")
    }
}

/// Adds a gradient to those before it, in place of the first.
fn add_to(model: &mut Model, sum: &mut Option<Tensor>, gradient: Tensor) {
    if sum.is_none() {
        *sum = Some(gradient);
    } else {
        model.drop(gradient);
    }
}

/// Shares `total` tokens among the experts, each at least one, unevenly as routers do.
fn draw_counts(random: &mut Random, total: u64) -> Vec<u64> {
    let weights: Vec<u64> = (0..EXPERTS).map(|_| random.between(40, 200)).collect();
    let sum: u64 = weights.iter().sum();
    let mut counts: Vec<u64> = weights.iter().map(|weight| total * weight / sum).collect();
    counts[0] += total - counts.iter().sum::<u64>(); // what rounding left over
    counts
}
