//! ResNet-50 in 32 bits whose batch and image size change per step, as in detection and in
//! progressive resizing.

use freeboard_units::Bytes;

use crate::Trace;

use super::bytes::{float, long};
use super::model::{Model, Optimizer, Weight};
use super::random::Random;
use super::tape::{Kernel, Mode, Tape};

pub(super) const ABOUT: &str = "ResNet-50 in training, 32 bits, batch 16..64 and image side \
    160..320 drawn per step, momentum over lists";

const STEPS: u64 = 16;
const CLASSES: u64 = 1000;
/// Blocks per stage and their narrow width; a block is four times as wide outside.
const STAGES: [(usize, u64); 4] = [(3, 64), (4, 128), (6, 256), (3, 512)];

pub(super) fn make(seed: u64) -> Trace {
    let mut random = Random::new(seed);
    let mut model = Model::new(ABOUT);
    let network = ResNet::new(&mut model);
    model.workspaces();
    for step in 0..STEPS {
        let (images, side) = (random.between(16, 64), 32 * random.between(5, 10));
        model.step(&format!("{step} batch {images} side {side}"));
        network.train(&mut model, images, side);
        model.update(Optimizer::Momentum);
    }
    model.finish()
}

/// A convolution and the batch norm after it.
#[derive(Clone, Copy, Debug)]
struct Convolution {
    channels: u64,
    kernel: u64,
    stride: u64,
    weight: Weight,
    norm: [Weight; 2],
}

/// Images on their way: how many, and how large they are now.
#[derive(Clone, Copy, Debug)]
struct Images {
    count: u64,
    side: u64,
}

impl Images {
    const fn of_channels(self, channels: u64) -> Bytes {
        float(self.count * channels * self.side * self.side)
    }
}

impl Convolution {
    fn new(model: &mut Model, inputs: u64, channels: u64, kernel: u64, stride: u64) -> Self {
        let weight = model.weight(float(inputs * channels * kernel * kernel));
        let norm = [model.weight(float(channels)), model.weight(float(channels))];
        // Running mean and variance, and the count of batches.
        model.resident(float(channels));
        model.resident(float(channels));
        model.resident(long(1));
        Self { channels, kernel, stride, weight, norm }
    }

    /// Convolves and norms; returns what the images are afterwards.
    fn run(&self, model: &mut Model, tape: &mut Tape, images: Images) -> Images {
        let images = Images { side: images.side.div_ceil(self.stride), ..images };
        let output = [images.of_channels(self.channels)];
        // A window wider than a point is computed in a transformed copy.
        let copy = if self.kernel > 1 { output[0] } else { Bytes::ZERO };
        let convolve = Kernel::to(&output).weights(std::slice::from_ref(&self.weight));
        tape.run(model, convolve.workspace(copy).keeps_inputs());
        let statistics = [float(self.channels), float(self.channels)];
        let norm = Kernel::to(&output).weights(&self.norm).saves(&statistics);
        tape.run(model, norm.keeps_inputs());
        images
    }
}

/// Sets negative numbers to zero; keeps its result.
fn rectify(model: &mut Model, tape: &mut Tape) {
    let output = [tape.value().size()];
    tape.run(model, Kernel::to(&output).keeps_outputs());
}

/// Narrow, convolve, widen; the input is added at the end, after a convolution where sizes change.
#[derive(Debug)]
struct Bottleneck {
    path: [Convolution; 3],
    shortcut: Option<Convolution>,
}

impl Bottleneck {
    fn new(model: &mut Model, inputs: u64, narrow: u64, stride: u64) -> Self {
        let path = [
            Convolution::new(model, inputs, narrow, 1, 1),
            Convolution::new(model, narrow, narrow, 3, stride),
            Convolution::new(model, narrow, 4 * narrow, 1, 1),
        ];
        let changes = inputs != 4 * narrow;
        let shortcut = changes.then(|| Convolution::new(model, inputs, 4 * narrow, 1, stride));
        Self { path, shortcut }
    }

    fn run(&self, model: &mut Model, tape: &mut Tape, mut images: Images) -> Images {
        let before = images;
        tape.fork(model);
        for (index, convolution) in self.path.iter().enumerate() {
            images = convolution.run(model, tape, images);
            if index < 2 {
                rectify(model, tape);
            }
        }
        if let Some(shortcut) = &self.shortcut {
            tape.swap();
            shortcut.run(model, tape, before);
        }
        tape.join(model);
        rectify(model, tape);
        images
    }
}

#[derive(Debug)]
struct ResNet {
    stem: Convolution,
    blocks: Vec<Bottleneck>,
    classify: [Weight; 2],
}

impl ResNet {
    fn new(model: &mut Model) -> Self {
        let stem = Convolution::new(model, 3, 64, 7, 2);
        let (mut blocks, mut inputs) = (Vec::new(), 64);
        for (stage, &(count, narrow)) in STAGES.iter().enumerate() {
            for index in 0..count {
                let stride = if index == 0 && stage > 0 { 2 } else { 1 };
                blocks.push(Bottleneck::new(model, inputs, narrow, stride));
                inputs = 4 * narrow;
            }
        }
        let classify = [model.weight(float(inputs * CLASSES)), model.weight(float(CLASSES))];
        Self { stem, blocks, classify }
    }

    fn train(&self, model: &mut Model, count: u64, side: u64) {
        let labels = model.get(long(count));
        let mut images = Images { count, side };
        let pixels = model.get(images.of_channels(3));
        let mut tape = Tape::new(Mode::Train, vec![pixels]);
        images = self.stem.run(model, &mut tape, images);
        rectify(model, &mut tape);
        images.side = images.side.div_ceil(2); // the largest of each window, and where it was
        let pooled = images.count * 64 * images.side * images.side;
        tape.run(model, Kernel::to(&[float(pooled)]).saves(&[long(pooled)]).keeps_inputs());
        for block in &self.blocks {
            images = block.run(model, &mut tape, images);
        }
        tape.run(model, Kernel::to(&[float(count * 2048)])); // the mean over each image
        let classes = [float(count * CLASSES)];
        let classify = Kernel::to(&classes).weights(&self.classify);
        tape.run(model, classify.keeps_inputs());
        tape.run(model, Kernel::to(&classes).keeps_outputs());
        tape.run(model, Kernel::to(&[float(1)]).saves(&[float(1)]));
        let gradient = model.get(float(1));
        let pixel_gradient = tape.backward(model, gradient);
        model.drop_all(pixel_gradient);
        model.drop(labels);
    }
}
