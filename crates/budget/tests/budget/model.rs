//! A small model whose layers differ in width, with dropout.

use std::sync::Arc;

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_budget::{Shortage, Step};
use freeboard_buffer::{BufferError, DeviceBuffer};
use freeboard_checkpoint::{Random, Segment};
use freeboard_device_host::HostDevice;
use freeboard_offload::{Buffers, BuffersMut, Movable, OffloadError};
use freeboard_units::{Bytes, StreamId};

pub(crate) type Allocator = Arc<CachingAllocator<HostDevice>>;
pub(crate) type Values = DeviceBuffer<f32, HostDevice>;

pub(crate) fn allocator(capacity: Bytes) -> Allocator {
    let device = HostDevice::new(capacity).unwrap();
    Arc::new(CachingAllocator::new(device, Config::default()).unwrap())
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Buffer(#[from] BufferError),
    #[error(transparent)]
    Offload(#[from] OffloadError),
    #[error("a layer without a reason")]
    Broken,
}

impl Shortage for Failure {
    fn out_of_memory(&self) -> Option<&freeboard_allocator::OutOfMemory> {
        match self {
            Self::Buffer(error) => Shortage::out_of_memory(error),
            Self::Offload(error) => Shortage::out_of_memory(error),
            Self::Broken => None,
        }
    }
}

/// y[j] = w x[j mod n] where a random number keeps it, and 0 elsewhere.
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) width: usize,
    pub(crate) weight: f32,
    pub(crate) gradient: f32,
    pub(crate) is_broken: bool,
}

/// The output, and which of it was kept.
pub(crate) struct Saved {
    output: Values,
    kept: DeviceBuffer<u8, HostDevice>,
}

impl Movable<HostDevice> for Saved {
    fn buffers<'a>(&'a self, list: &mut Buffers<'a, HostDevice>) {
        list.push("output", &self.output);
        list.push("kept", &self.kept);
    }
    fn buffers_mut<'a>(&'a mut self, list: &mut BuffersMut<'a, HostDevice>) {
        list.push("output", &mut self.output);
        list.push("kept", &mut self.kept);
    }
}

impl Layer {
    fn run(&self, input: &Values, random: Random) -> Result<(Values, Vec<u8>), Failure> {
        let numbers = input.to_vec()?;
        let mut draws = vec![0.0; self.width];
        random.fill(&mut draws);
        let kept: Vec<u8> = draws.into_iter().map(|draw| u8::from(draw < 0.9)).collect();
        let scaled = kept.iter().zip(numbers.iter().cycle());
        let scaled = scaled.map(|(&keep, number)| f32::from(keep) * self.weight * number);
        let scaled: Vec<f32> = scaled.collect();
        Ok((DeviceBuffer::from_slice(input.allocator(), &scaled, input.stream())?, kept))
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
        Ok(self.run(input, random)?.0)
    }

    fn forward_saving(&self, input: &Values, random: Random) -> Result<Saved, Failure> {
        let (output, kept) = self.run(input, random)?;
        let kept = DeviceBuffer::from_slice(input.allocator(), &kept, input.stream())?;
        Ok(Saved { output, kept })
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
        if self.is_broken {
            return Err(Failure::Broken);
        }
        let (numbers, kept, gradients) =
            (input.to_vec()?, saved.kept.to_vec()?, gradient.to_vec()?);
        let mut sums = vec![0.0; numbers.len()];
        for (at, (&keep, gradient)) in kept.iter().zip(gradients).enumerate() {
            let gradient = f32::from(keep) * gradient;
            let from = at % numbers.len();
            sums[from] += self.weight * gradient;
            self.gradient += numbers[from] * gradient;
        }
        Ok(DeviceBuffer::from_slice(input.allocator(), &sums, input.stream())?)
    }
}

/// Sixteen layers of several widths.
pub(crate) fn layers() -> Vec<Layer> {
    let widths = [320_000, 710_000, 160_000, 480_000, 480_000, 960_000, 266_667, 400_000];
    let layer = |number: usize| Layer {
        name: format!("layer {}", number + 1),
        width: widths[number % 8],
        weight: 0.9 + 0.02 * f32::from(u8::try_from(number).unwrap()),
        gradient: 0.0,
        is_broken: false,
    };
    (0..16).map(layer).collect()
}

/// A step: its input is the same every time, its loss half the sum of squares.
pub(crate) struct Batch<'a> {
    pub(crate) allocator: &'a Allocator,
    /// How often it was taken back.
    pub(crate) undone: usize,
}

impl Step<Layer> for Batch<'_> {
    fn input(&mut self) -> Result<Values, Failure> {
        let numbers: Vec<f32> = (0..60_000_u16).map(|at| f32::from(at % 77) / 77.0 - 0.4).collect();
        Ok(DeviceBuffer::from_slice(self.allocator, &numbers, StreamId::DEFAULT)?)
    }

    fn loss_gradient(&mut self, output: &Values) -> Result<Values, Failure> {
        Ok(output.try_clone()?)
    }

    fn undo(&mut self, segments: &mut [Layer]) -> Result<(), Failure> {
        for layer in segments {
            layer.gradient = 0.0;
        }
        self.undone += 1;
        Ok(())
    }
}

/// The bits of the input's gradient and of the layers' gradients, which are zero again.
pub(crate) fn bits(gradient: &Values, layers: &mut [Layer]) -> Vec<u32> {
    let mut all: Vec<u32> = gradient.to_vec().unwrap().iter().map(|v| v.to_bits()).collect();
    all.extend(layers.iter_mut().map(|layer| std::mem::take(&mut layer.gradient).to_bits()));
    all
}
