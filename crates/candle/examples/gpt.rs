//! A small GPT trained twice on real text: plainly, and with every block checkpointed. The losses
//! and weights are the same to the bit; the memory is not.
//!
//! It learns which character comes next in the first pages of *Alice's Adventures in Wonderland*
//! (Lewis Carroll, 1865), with dropout. `cargo run --release -p freeboard-candle --example gpt`

#![allow(clippy::print_stdout, reason = "it is there to be read")]

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::{D, DType, Device, Module, Result, Tensor, Var};
use candle_nn::{AdamW, Embedding, Linear, Optimizer, loss, ops};
use freeboard_candle::{Checkpoint, Random, dropout};
use freeboard_counting::Counting;
use freeboard_units::Bytes;
use indicatif::{ProgressBar, ProgressStyle};

const LAYERS: usize = 6;
const WIDTH: usize = 64;
const HEADS: usize = 4;
const CONTEXT: usize = 64;
const BATCH: usize = 8;
const STEPS: usize = 60;
const DROPOUT: f32 = 0.1;
const SEED: u64 = 1865;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Makes variables, the same in every run.
struct Builder {
    made: u64,
    variables: Vec<Var>,
}

impl Builder {
    fn uniform(&mut self, shape: (usize, usize), bound: f32) -> Result<Tensor> {
        self.made += 1;
        let mut numbers = vec![0.0_f32; shape.0 * shape.1];
        Random::new(SEED).fork(self.made).fill(&mut numbers);
        let numbers = numbers.iter().map(|number| (number * 2.0 - 1.0) * bound).collect();
        Ok(self.keep(Var::from_vec(numbers, shape, &Device::Cpu)?))
    }

    fn keep(&mut self, variable: Var) -> Tensor {
        self.variables.push(variable.clone());
        variable.into_inner()
    }

    fn linear(&mut self, from: usize, to: usize) -> Result<Linear> {
        let weight = self.uniform((to, from), 0.1)?;
        let bias = self.keep(Var::zeros(to, DType::F32, &Device::Cpu)?);
        Ok(Linear::new(weight, Some(bias)))
    }

    fn norm(&mut self) -> Result<Norm> {
        let weight = self.keep(Var::ones(WIDTH, DType::F32, &Device::Cpu)?);
        let bias = self.keep(Var::zeros(WIDTH, DType::F32, &Device::Cpu)?);
        Ok(Norm { weight, bias })
    }
}

struct Norm {
    weight: Tensor,
    bias: Tensor,
}

impl Module for Norm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // candle-nn's fused one has no gradient.
        ops::layer_norm_slow(x, &self.weight, &self.bias, 1e-5)
    }
}

struct Block {
    norms: [Norm; 2],
    attention: Linear,
    projection: Linear,
    up: Linear,
    down: Linear,
    mask: Tensor,
}

impl Block {
    fn new(builder: &mut Builder) -> Result<Self> {
        let ahead = |row: usize| (0..CONTEXT).map(move |column| column > row);
        let mask = (0..CONTEXT).flat_map(ahead).map(|is| if is { f32::NEG_INFINITY } else { 0.0 });
        Ok(Self {
            norms: [builder.norm()?, builder.norm()?],
            attention: builder.linear(WIDTH, 3 * WIDTH)?,
            projection: builder.linear(WIDTH, WIDTH)?,
            up: builder.linear(WIDTH, 4 * WIDTH)?,
            down: builder.linear(4 * WIDTH, WIDTH)?,
            mask: Tensor::from_iter(mask, &Device::Cpu)?.reshape((CONTEXT, CONTEXT))?,
        })
    }

    fn forward(&self, x: &Tensor, random: Random) -> Result<Tensor> {
        let x = (x + self.attend(&self.norms[0].forward(x)?, random)?)?;
        let h = self.up.forward(&self.norms[1].forward(&x)?)?.gelu()?;
        x + dropout(&self.down.forward(&h)?, DROPOUT, random.fork(2))?
    }

    fn attend(&self, x: &Tensor, random: Random) -> Result<Tensor> {
        let (batch, length, width) = x.dims3()?;
        let heads = self.attention.forward(x)?.reshape((batch, length, 3, HEADS, width / HEADS))?;
        let part = |number| heads.narrow(2, number, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
        let scores = (part(0)?.matmul(&part(1)?.t()?)? / 4.0)?.broadcast_add(&self.mask)?;
        let weights = dropout(&ops::softmax(&scores, D::Minus1)?, DROPOUT, random.fork(0))?;
        let mixed = weights.matmul(&part(2)?)?.transpose(1, 2)?.reshape((batch, length, width))?;
        Ok(dropout(&self.projection.forward(&mixed)?, DROPOUT, random.fork(1))?)
    }
}

struct Gpt {
    characters: Embedding,
    places: Tensor,
    blocks: Vec<Arc<Block>>,
    norm: Norm,
    head: Linear,
}

impl Gpt {
    fn new(builder: &mut Builder, vocabulary: usize) -> Result<Self> {
        Ok(Self {
            characters: Embedding::new(builder.uniform((vocabulary, WIDTH), 0.1)?, WIDTH),
            places: builder.uniform((CONTEXT, WIDTH), 0.1)?,
            blocks: (0..LAYERS)
                .map(|_| Block::new(builder).map(Arc::new))
                .collect::<Result<Vec<_>>>()?,
            norm: builder.norm()?,
            head: builder.linear(WIDTH, vocabulary)?,
        })
    }

    fn forward(&self, ids: &Tensor, random: Random, checkpoints: bool) -> Result<Tensor> {
        let mut x = self.characters.forward(ids)?.broadcast_add(&self.places)?;
        for (number, block) in self.blocks.iter().enumerate() {
            let random = random.fork(number as u64);
            x = if checkpoints {
                let block = Arc::clone(block);
                let checkpoint = Checkpoint::new(format!("blocks.{number}"));
                checkpoint.run(move |x| block.forward(&x[0], random), &[&x])?
            } else {
                block.forward(&x, random)?
            };
        }
        self.head.forward(&self.norm.forward(&x)?)
    }
}

/// A text in characters numbered from 0.
struct Text {
    ids: Vec<u32>,
    vocabulary: usize,
}

impl Text {
    fn new() -> Self {
        let text = include_str!("../../../examples/data/alice.txt").to_lowercase();
        let vocabulary: Vec<char> = text.chars().collect::<BTreeSet<_>>().into_iter().collect();
        let number = |c| u32::try_from(vocabulary.binary_search(&c).ok()?).ok();
        Self { ids: text.chars().filter_map(number).collect(), vocabulary: vocabulary.len() }
    }

    /// Lines of characters, and those that follow each.
    fn batch(&self, random: Random) -> Result<(Tensor, Tensor)> {
        let (mut before, mut next) = (Vec::<u32>::new(), Vec::<u32>::new());
        for line in 0..BATCH as u64 {
            let place = random.bits(line)[0] as usize % (self.ids.len() - CONTEXT);
            before.extend(&self.ids[place..place + CONTEXT]);
            next.extend(&self.ids[place + 1..=place + CONTEXT]);
        }
        let before = Tensor::from_vec(before, (BATCH, CONTEXT), &Device::Cpu)?;
        Ok((before, Tensor::from_vec(next, BATCH * CONTEXT, &Device::Cpu)?))
    }
}

/// What came of a run.
struct Run {
    losses: Vec<f32>,
    weights: Vec<u32>,
    /// Above weights and the optimizer's state.
    peak: Bytes,
    time: Duration,
}

fn train(name: &str, text: &Text, checkpoints: bool) -> Result<Run> {
    let mut builder = Builder { made: 0, variables: Vec::new() };
    let model = Gpt::new(&mut builder, text.vocabulary)?;
    let mut optimizer = AdamW::new_lr(builder.variables.clone(), 2e-3)?;
    let style = ProgressStyle::with_template("{prefix:<13} {bar:40} {pos}/{len} {msg}");
    let bar = ProgressBar::new(STEPS as u64).with_prefix(name.to_owned());
    let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let (mut losses, mut base, mut start) = (Vec::new(), Bytes::ZERO, Instant::now());
    for step in 0..STEPS as u64 {
        if step == 1 {
            // The first step makes what lives on: threads and their buffers.
            (base, start) = (Counting::reset_peak(), Instant::now());
        }
        let random = Random::new(SEED).fork(0).fork(step);
        let (ids, next) = text.batch(random)?;
        let logits = model.forward(&ids, random, checkpoints)?;
        let loss = loss::cross_entropy(&logits.flatten(0, 1)?, &next)?;
        drop(logits);
        optimizer.backward_step(&loss)?;
        let loss = loss.to_scalar::<f32>()?;
        losses.push(loss);
        bar.set_message(format!("loss {loss:.3}"));
        bar.inc(1);
    }
    let time = start.elapsed();
    bar.finish();
    let peak = Counting::peak().saturating_sub(base);
    let mut weights = Vec::new();
    for variable in &builder.variables {
        weights.extend(variable.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits));
    }
    Ok(Run { losses, weights, peak, time })
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let text = Text::new();
    let plain = train("plain", &text, false)?;
    let saved = train("checkpointed", &text, true)?;

    println!("\n{:>6} {:>12} {:>14}", "step", "plain", "checkpointed");
    for (step, (a, b)) in plain.losses.iter().zip(&saved.losses).enumerate() {
        if step % 10 == 0 || step == STEPS - 1 {
            println!("{step:>6} {a:>12.6} {b:>14.6}");
        }
    }
    let is_same = |(a, b): &(&f32, &f32)| a.to_bits() == b.to_bits();
    let losses = plain.losses.iter().zip(&saved.losses).filter(is_same).count();
    let weights = plain.weights.iter().zip(&saved.weights).filter(|(a, b)| a == b).count();
    let all = plain.weights.len();
    println!("\nequal to the bit: {losses} of {STEPS} losses, {weights} of {all} weights\n");

    println!("{:<13} {:>12} {:>12} {:>9}", "", "peak", "per layer", "time");
    for (name, run) in [("plain", &plain), ("checkpointed", &saved)] {
        let layer = Bytes::new(run.peak.get() / LAYERS as u64);
        let (peak, layer) = (run.peak.to_string(), layer.to_string());
        println!("{name:<13} {peak:>12} {layer:>12} {:>7.2} s", run.time.as_secs_f64());
    }
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
    let less = plain.peak.get() as f64 / saved.peak.get() as f64;
    let longer = 100.0 * (saved.time.as_secs_f64() / plain.time.as_secs_f64() - 1.0);
    println!("\n{less:.1} times less memory above weights and optimizer, {longer:.0} % more time");
    if losses != STEPS || weights != all {
        return Err("the checkpointed run should have been the plain one".into());
    }
    Ok(())
}
