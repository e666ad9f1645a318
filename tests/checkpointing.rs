//! Checkpointed and offloaded steps on every device: the numbers that keeping everything gives, and
//! the peaks that the plans predict.
//!
//! The layers compute on the host; their values live on the device. With `REQUIRE_GPU=1` in the
//! environment a GPU that is not there is a failure; otherwise the fake driver takes its place.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "says what was hidden")]
#![allow(unsafe_code, reason = "names a driver library")]

use std::marker::PhantomData;
use std::sync::Arc;

use freeboard::budget::{AllocatorMeter, ClosedLoop, Planning, Shortage, Step};
use freeboard::buffer::BufferError;
use freeboard::checkpoint::{Chain, Moves, Profiler, Random, Segment, keep_all, least_bytes};
use freeboard::device::Compute;
use freeboard::device_cuda::{CudaOptions, Driver};
use freeboard::device_host::{HostConfig, Streams};
use freeboard::offload::{Mover, MoverConfig, OffloadError, measure_link};
use freeboard::{
    Bytes, CachingAllocator, Config, CudaDevice, DeviceBuffer, HostDevice, OutOfMemory, StreamId,
};
use freeboard_fake_cuda::Fake;

const LAYERS: usize = 16;
const WIDTH: usize = 250_000;

type Values<D> = DeviceBuffer<f32, D>;
type Allocator<D> = Arc<CachingAllocator<D>>;

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Buffer(#[from] BufferError),
    #[error(transparent)]
    Offload(#[from] OffloadError),
}

impl Shortage for Failure {
    fn out_of_memory(&self) -> Option<&OutOfMemory> {
        match self {
            Self::Buffer(error) => Shortage::out_of_memory(error),
            Self::Offload(error) => Shortage::out_of_memory(error),
        }
    }
}

/// y = w x^2, with dropout. It saves y and which numbers were kept.
struct Layer<D> {
    weight: f32,
    gradient: f32,
    device: PhantomData<D>,
}

impl<D: Compute + Send + Sync + 'static> Layer<D> {
    fn run(&self, input: &Values<D>, random: Random) -> Result<[Values<D>; 2], Failure> {
        let mut kept = vec![0.0; input.len()];
        random.fill(&mut kept);
        for draw in &mut kept {
            *draw = f32::from(u8::from(*draw < 0.9));
        }
        let numbers = input.to_vec()?.into_iter().zip(&kept);
        let output: Vec<f32> = numbers.map(|(x, keep)| keep * self.weight * x * x).collect();
        let to_device =
            |values: &[f32]| DeviceBuffer::from_slice(input.allocator(), values, input.stream());
        Ok([to_device(&output)?, to_device(&kept)?])
    }
}

impl<D: Compute + Send + Sync + 'static> Segment for Layer<D> {
    type Value = Values<D>;
    type Saved = Vec<Values<D>>;
    type Error = Failure;

    fn name(&self) -> &'static str {
        "square"
    }

    fn forward(&self, input: &Values<D>, random: Random) -> Result<Values<D>, Failure> {
        Ok(self.run(input, random)?.into_iter().next().unwrap())
    }

    fn forward_saving(&self, input: &Values<D>, random: Random) -> Result<Self::Saved, Failure> {
        Ok(self.run(input, random)?.into())
    }

    fn output<'saved>(&self, saved: &'saved Self::Saved) -> Option<&'saved Values<D>> {
        saved.first()
    }

    fn backward(
        &mut self,
        input: &Values<D>,
        saved: &Self::Saved,
        gradient: &Values<D>,
        _: Random,
    ) -> Result<Values<D>, Failure> {
        let numbers = input.to_vec()?.into_iter().zip(saved[1].to_vec()?).zip(gradient.to_vec()?);
        let below = numbers.map(|((x, keep), above)| {
            self.gradient += keep * x * x * above;
            keep * 2.0 * self.weight * x * above
        });
        let below: Vec<f32> = below.collect();
        Ok(DeviceBuffer::from_slice(input.allocator(), &below, input.stream())?)
    }
}

fn layers<D>() -> Vec<Layer<D>> {
    let weights = (0..LAYERS).map(|layer| 0.8 + 0.03 * f32::from(u8::try_from(layer).unwrap()));
    weights.map(|weight| Layer { weight, gradient: 0.0, device: PhantomData }).collect()
}

struct Batch<D: Compute + Send + Sync + 'static> {
    allocator: Allocator<D>,
    stream: StreamId,
}

impl<D: Compute + Send + Sync + 'static> Step<Layer<D>> for Batch<D> {
    fn input(&mut self) -> Result<Values<D>, Failure> {
        let numbers = (0..WIDTH).map(|at| f32::from(u8::try_from(at % 97).unwrap()) / 97.0 + 0.5);
        let numbers: Vec<f32> = numbers.collect();
        Ok(DeviceBuffer::from_slice(&self.allocator, &numbers, self.stream)?)
    }

    fn loss_gradient(&mut self, output: &Values<D>) -> Result<Values<D>, Failure> {
        Ok(output.try_clone()?)
    }

    fn undo(&mut self, segments: &mut [Layer<D>]) -> Result<(), Failure> {
        for layer in segments {
            layer.gradient = 0.0;
        }
        Ok(())
    }
}

/// The bits of all gradients of one step, whose peak is the predicted one.
fn step<D: Compute + Send + Sync + 'static, O: Moves<Layer<D>> + Clone>(
    batch: &mut Batch<D>,
    chain: &Chain,
    budget: Bytes,
    planning: Planning<O>,
) -> Vec<u32> {
    let meter = AllocatorMeter::new(&batch.allocator);
    let mut layers = layers();
    let mut training =
        ClosedLoop::with_planning(&layers, chain.clone(), budget, meter, planning).unwrap();
    let outcome = training.step(&mut layers, batch, Random::new(7)).unwrap();
    assert_eq!(outcome.report.measured, outcome.report.predicted, "in {budget}");
    assert!(outcome.report.measured <= budget && outcome.replans.is_empty());
    let mut bits: Vec<u32> =
        outcome.gradient.to_vec().unwrap().iter().map(|v| v.to_bits()).collect();
    bits.extend(layers.iter().map(|layer| layer.gradient.to_bits()));
    bits
}

/// Every budget with recomputation, then with offloading; the bits are the same in all.
fn run<D: Compute + Send + Sync + 'static>(device: D) -> Vec<u32> {
    let allocator = Arc::new(CachingAllocator::new(device, Config::default()).unwrap());
    let stream = allocator.device().create_stream().unwrap();
    let mut batch = Batch { allocator: Arc::clone(&allocator), stream };
    let meter = AllocatorMeter::new(&allocator);
    let chain =
        Profiler::new(&meter).profile(&mut layers(), Random::new(0), || batch.input()).unwrap();
    let (all, least) = (keep_all(&chain).peak_bytes, least_bytes(&chain).unwrap());
    let truth = step(&mut batch, &chain, all, Planning::optimal());
    for percent in [70, 40, 0] {
        let budget = least.max(Bytes::new(all.get() * percent / 100));
        assert!(step(&mut batch, &chain, budget, Planning::optimal()) == truth, "{percent} %");
    }
    let link = measure_link(&allocator, stream, Bytes::mib(8)).unwrap();
    let mover = Mover::new(&allocator, MoverConfig::default()).unwrap();
    for percent in [70, 40] {
        let budget = least.max(Bytes::new(all.get() * percent / 100));
        let planning = Planning::three_way(&mover, link);
        assert!(step(&mut batch, &chain, budget, planning) == truth, "{percent} %, offloading");
    }
    mover.synchronize().unwrap();
    let stats = mover.stats();
    println!(
        "link {:.1} and {:.1} GB/s; {} moves, {:.0} % of the copying hidden",
        link.to_host / 1e9,
        link.to_device / 1e9,
        stats.moves,
        100.0 * stats.hidden()
    );
    allocator.check().unwrap();
    truth
}

#[test]
fn steps_within_budgets_are_the_same_on_threads_on_the_calling_thread_and_on_a_gpu() {
    let config = HostConfig { streams: Streams::Caller, ..HostConfig::new(Bytes::mib(128)) };
    let truth = run(HostDevice::with_config(config).unwrap());
    assert!(run(HostDevice::new(Bytes::mib(128)).unwrap()) == truth);
    match CudaDevice::new(0) {
        Ok(device) => return assert!(run(device) == truth),
        Err(reason) => {
            let required = std::env::var_os("REQUIRE_GPU").is_some_and(|value| value == "1");
            assert!(!required, "REQUIRE_GPU=1, and there is no GPU: {reason}");
        }
    }
    let fake = Fake::load().unwrap();
    // SAFETY: the fake driver stands in for the driver, and stays loaded.
    let driver = unsafe { Driver::open(fake.path()) }.unwrap();
    let options = CudaOptions { driver: Some(driver), ..CudaOptions::default() };
    assert!(run(CudaDevice::with_options(0, options).unwrap()) == truth);
}
