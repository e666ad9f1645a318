//! The network: layers of matmul, bias, activation and dropout, in plain loops.

use std::sync::Arc;

use freeboard::buffer::BufferError;
use freeboard::{CachingAllocator, DeviceBuffer, HostDevice, OutOfMemory, StreamId};
use freeboard_budget::{Shortage, Step};
use freeboard_checkpoint::{Random, Segment};
use freeboard_offload::{Buffers, BuffersMut, Movable, OffloadError};

pub(crate) type Allocator = Arc<CachingAllocator<HostDevice>>;
pub(crate) type Values = DeviceBuffer<f32, HostDevice>;

/// Rows of every activation.
const BATCH: usize = 512;
/// How wide the activations are, from the input to the output.
const WIDTHS: [usize; 21] = [
    64, 160, 96, 224, 128, 128, 192, 64, 160, 256, 96, 128, 224, 64, 128, 192, 160, 96, 192, 128,
    32,
];
/// How much of an activation is dropped.
const DROPPED: f32 = 0.1;
const LEARNING_RATE: f32 = 0.05;

/// What can go wrong in a step.
#[derive(Debug)]
pub(crate) enum Failure {
    Buffer(BufferError),
    Offload(OffloadError),
}

impl From<BufferError> for Failure {
    fn from(error: BufferError) -> Self {
        Self::Buffer(error)
    }
}

impl From<OffloadError> for Failure {
    fn from(error: OffloadError) -> Self {
        Self::Offload(error)
    }
}

impl Shortage for Failure {
    fn out_of_memory(&self) -> Option<&OutOfMemory> {
        match self {
            Self::Buffer(error) => Shortage::out_of_memory(error),
            Self::Offload(error) => Shortage::out_of_memory(error),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Buffer(error) => error.fmt(f),
            Self::Offload(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

/// y = dropout(activation(x w + b)).
pub(crate) struct Layer {
    name: String,
    inputs: usize,
    outputs: usize,
    /// GELU in every other layer, otherwise `ReLU`.
    is_gelu: bool,
    weights: Values,
    biases: Values,
    /// Of the weights, and behind them of the biases.
    gradients: Vec<f32>,
}

/// The output, what the activation was given, and which numbers were kept.
pub(crate) struct Saved {
    output: Values,
    linear: Values,
    kept: DeviceBuffer<u8, HostDevice>,
}

impl Movable<HostDevice> for Saved {
    fn buffers<'a>(&'a self, list: &mut Buffers<'a, HostDevice>) {
        list.push("output", &self.output);
        list.push("linear", &self.linear);
        list.push("kept", &self.kept);
    }
    fn buffers_mut<'a>(&'a mut self, list: &mut BuffersMut<'a, HostDevice>) {
        list.push("output", &mut self.output);
        list.push("linear", &mut self.linear);
        list.push("kept", &mut self.kept);
    }
}

/// The layers, the same ones every time.
pub(crate) fn layers(allocator: &Allocator) -> Result<Vec<Layer>, Failure> {
    let layer = |number: usize| {
        let (inputs, outputs) = (WIDTHS[number], WIDTHS[number + 1]);
        let mut weights = vec![0.0; inputs * outputs];
        Random::new(17).fork(number as u64).fill(&mut weights);
        let scale = (6.0 / narrow(inputs)).sqrt();
        for weight in &mut weights {
            *weight = scale * (2.0 * *weight - 1.0);
        }
        Ok(Layer {
            name: format!("{inputs}x{outputs}"),
            inputs,
            outputs,
            is_gelu: number.is_multiple_of(2),
            weights: DeviceBuffer::from_slice(allocator, &weights, StreamId::DEFAULT)?,
            biases: DeviceBuffer::zeroed(allocator, outputs, StreamId::DEFAULT)?,
            gradients: vec![0.0; (inputs + 1) * outputs],
        })
    };
    (0..WIDTHS.len() - 1).map(layer).collect()
}

#[expect(clippy::cast_precision_loss, reason = "widths are small")]
fn narrow(number: usize) -> f32 {
    number as f32
}

impl Layer {
    /// What the activation is given, and which of its outputs are kept.
    fn run(&self, input: &Values, random: Random) -> Result<(Vec<f32>, Vec<u8>), Failure> {
        let (x, w, b) = (input.to_vec()?, self.weights.to_vec()?, self.biases.to_vec()?);
        let mut linear = b.repeat(BATCH);
        multiply(&x, &w, self.inputs, &mut linear, self.outputs);
        let mut draws = vec![0.0; linear.len()];
        random.fill(&mut draws);
        Ok((linear, draws.iter().map(|&draw| u8::from(draw >= DROPPED)).collect()))
    }

    fn output_of(&self, input: &Values, linear: &[f32], kept: &[u8]) -> Result<Values, Failure> {
        let output = linear.iter().zip(kept);
        let output: Vec<f32> = output.map(|(&x, &kept)| scale(kept) * self.activate(x).0).collect();
        Ok(DeviceBuffer::from_slice(input.allocator(), &output, input.stream())?)
    }

    /// The activation and its slope.
    fn activate(&self, x: f32) -> (f32, f32) {
        if !self.is_gelu {
            return if x > 0.0 { (x, 1.0) } else { (0.0, 0.0) };
        }
        let root = 0.797_884_6_f32;
        let tanh = (root * (x + 0.044_715 * x * x * x)).tanh();
        let inner = root * (1.0 + 3.0 * 0.044_715 * x * x);
        (0.5 * x * (1.0 + tanh), 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner)
    }

    fn forget_gradients(&mut self) {
        self.gradients.fill(0.0);
    }

    /// Plain gradient descent.
    pub(crate) fn descend(&mut self) -> Result<(), Failure> {
        let (of_weights, of_biases) = self.gradients.split_at(self.inputs * self.outputs);
        for (values, gradients) in [(&mut self.weights, of_weights), (&mut self.biases, of_biases)]
        {
            let new = values.to_vec()?;
            let new = new.iter().zip(gradients).map(|(value, slope)| value - LEARNING_RATE * slope);
            values.copy_from_slice(&new.collect::<Vec<_>>())?;
        }
        self.forget_gradients();
        Ok(())
    }
}

fn scale(kept: u8) -> f32 {
    f32::from(kept) / (1.0 - DROPPED)
}

/// Adds x w to what is in `sums`; rows of `inputs` and of `outputs` numbers.
fn multiply(x: &[f32], w: &[f32], inputs: usize, sums: &mut [f32], outputs: usize) {
    for (x, sums) in x.chunks_exact(inputs).zip(sums.chunks_exact_mut(outputs)) {
        for (&x, w) in x.iter().zip(w.chunks_exact(outputs)) {
            sums.iter_mut().zip(w).for_each(|(sum, w)| *sum += x * w);
        }
    }
}

impl Segment for Layer {
    type Value = Values;
    type Saved = Saved;
    type Error = Failure;

    fn name(&self) -> &str {
        &self.name
    }

    fn forward(&self, input: &Values, random: Random) -> Result<Values, Failure> {
        let (linear, kept) = self.run(input, random)?;
        self.output_of(input, &linear, &kept)
    }

    fn forward_saving(&self, input: &Values, random: Random) -> Result<Saved, Failure> {
        let (linear, kept) = self.run(input, random)?;
        let (allocator, stream) = (input.allocator(), input.stream());
        Ok(Saved {
            output: self.output_of(input, &linear, &kept)?,
            linear: DeviceBuffer::from_slice(allocator, &linear, stream)?,
            kept: DeviceBuffer::from_slice(allocator, &kept, stream)?,
        })
    }

    fn output<'saved>(&self, saved: &'saved Saved) -> Option<&'saved Values> {
        Some(&saved.output)
    }

    fn backward(
        &mut self,
        input: &Values,
        saved: &Saved,
        gradient: &Values,
        _: Random,
    ) -> Result<Values, Failure> {
        let (x, w) = (input.to_vec()?, self.weights.to_vec()?);
        let (linear, kept) = (saved.linear.to_vec()?, saved.kept.to_vec()?);
        let mut slopes = gradient.to_vec()?;
        for ((slope, &linear), &kept) in slopes.iter_mut().zip(&linear).zip(&kept) {
            *slope *= scale(kept) * self.activate(linear).1;
        }
        let (of_weights, of_biases) = self.gradients.split_at_mut(self.inputs * self.outputs);
        let mut sums = vec![0.0; x.len()];
        let rows = x.chunks_exact(self.inputs).zip(slopes.chunks_exact(self.outputs));
        for ((x, slopes), sums) in rows.zip(sums.chunks_exact_mut(self.inputs)) {
            of_biases.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
            let columns = x.iter().zip(w.chunks_exact(self.outputs));
            let columns = columns.zip(of_weights.chunks_exact_mut(self.outputs));
            for (((&x, w), of_weights), sum) in columns.zip(sums) {
                of_weights.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += x * slope);
                *sum = w.iter().zip(slopes).map(|(w, slope)| w * slope).sum();
            }
        }
        Ok(DeviceBuffer::from_slice(input.allocator(), &sums, input.stream())?)
    }
}

/// One batch: its input and its targets, and the loss that it came to.
pub(crate) struct Batch<'a> {
    pub(crate) allocator: &'a Allocator,
    pub(crate) number: u64,
    pub(crate) loss: f32,
}

impl Step<Layer> for Batch<'_> {
    fn input(&mut self) -> Result<Values, Failure> {
        let mut numbers = vec![0.0; BATCH * WIDTHS[0]];
        Random::new(self.number).fill(&mut numbers);
        Ok(DeviceBuffer::from_slice(self.allocator, &numbers, StreamId::DEFAULT)?)
    }

    /// The mean of the squares of what the outputs are off from a half.
    fn loss_gradient(&mut self, output: &Values) -> Result<Values, Failure> {
        let off: Vec<f32> = output.to_vec()?.iter().map(|value| value - 0.5).collect();
        let share = 1.0 / narrow(off.len());
        self.loss = share * off.iter().map(|off| off * off).sum::<f32>();
        let slopes: Vec<f32> = off.iter().map(|off| 2.0 * share * off).collect();
        Ok(DeviceBuffer::from_slice(output.allocator(), &slopes, output.stream())?)
    }

    fn undo(&mut self, layers: &mut [Layer]) -> Result<(), Failure> {
        layers.iter_mut().for_each(Layer::forget_gradients);
        Ok(())
    }
}
