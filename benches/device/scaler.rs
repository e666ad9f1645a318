//! How fast gradients are unscaled and checked on a GPU, beside a copy of the same bytes.

use std::sync::Arc;

use freeboard::device::Order;
use freeboard::grad_scaler::{Float, OptimizerId, Tensors};
use freeboard::{
    Bytes, CachingAllocator, Config, CudaDevice, DeviceBuffer, GradScaler, ScalerConfig, StreamId,
};
use half::{bf16, f16};
use serde::Serialize;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// How many tensors, and how long: a large one, as many as fit into a launch, small ones.
/// `tests/gpu/torch_scaler.py` has the same.
const SHAPES: [(usize, Length); 3] = [
    (1, Length::Bytes(Bytes::gib(1))),
    (248, Length::Bytes(Bytes::mib(1))),
    (1000, Length::Elements(1000)),
];
/// How often each is timed; even, so that with the one before them, which is not timed, the last
/// call leaves every number halved.
const REPEATS: usize = 20;
/// The scales by turns: gradients are halved and doubled, and lose nothing.
const SCALES: [f32; 2] = [2.0, 0.5];

/// How long a tensor is.
#[derive(Clone, Copy)]
enum Length {
    Bytes(Bytes),
    Elements(usize),
}

/// Gradients of one type and shape.
#[derive(Serialize)]
pub(crate) struct Unscaled {
    pub(crate) dtype: String,
    pub(crate) tensors: usize,
    /// Of each tensor.
    pub(crate) elements: usize,
    /// Of all tensors.
    pub(crate) bytes: Bytes,
    /// `GradScaler::unscale_tensors`, with what the host takes to launch its kernels.
    pub(crate) unscale: Times,
    /// One copy of all the bytes, on the device.
    pub(crate) copy: Times,
}

/// Milliseconds, by the device's clock.
#[derive(Serialize)]
pub(crate) struct Times {
    pub(crate) median_ms: f32,
    pub(crate) least_ms: f32,
}

impl Times {
    fn new(mut times: Vec<f32>) -> Self {
        times.sort_unstable_by(f32::total_cmp);
        Self { median_ms: times[times.len() / 2], least_ms: times[0] }
    }
}

/// Where gradients are unscaled.
struct Bench<'a> {
    device: &'a CudaDevice,
    allocator: Arc<CachingAllocator<CudaDevice>>,
    stream: StreamId,
    scaler: GradScaler<CudaDevice>,
    id: OptimizerId,
    /// Tensors are this many times shorter.
    divisor: usize,
}

/// Every shape of every type, in tensors `divisor` times shorter.
pub(crate) fn unscale(device: &CudaDevice, divisor: usize) -> Outcome<Vec<Unscaled>> {
    let stream = device.create_stream()?;
    let allocator = Arc::new(CachingAllocator::new(device.clone(), Config::default())?);
    let config = ScalerConfig { f16_gradients: true, ..ScalerConfig::default() };
    let mut scaler = GradScaler::new(&allocator, stream, config)?;
    let id = scaler.add_optimizer("gradients");
    scaler.start()?;
    let mut bench = Bench { device, allocator, stream, scaler, id, divisor };
    let mut all = Vec::new();
    for (tensors, length) in SHAPES {
        all.push(bench.shape(tensors, length, [1.0_f32, 0.5])?);
        all.push(bench.shape(tensors, length, [f16::ONE, f16::from_f32(0.5)])?);
        all.push(bench.shape(tensors, length, [bf16::ONE, bf16::from_f32(0.5)])?);
    }
    Ok(all)
}

impl Bench<'_> {
    /// The tensors are parts of one buffer; they begin as `one` and must end as `half`.
    fn shape<N: Float + PartialEq>(
        &mut self,
        tensors: usize,
        length: Length,
        [one, half]: [N; 2],
    ) -> Outcome<Unscaled> {
        // Each takes a block of threads, which is slow where tensors have to be short.
        let tensors = if self.divisor > 1 { tensors.div_ceil(10) } else { tensors };
        let elements = match length {
            Length::Bytes(size) => usize::try_from(size.get())? / size_of::<N>(),
            Length::Elements(elements) => elements,
        };
        let elements = (elements / self.divisor).max(1);
        let len = tensors * elements;
        let mut memory = DeviceBuffer::filled(&self.allocator, len, one, self.stream)?;
        let mut target = DeviceBuffer::<N, _>::uninit(&self.allocator, len, self.stream)?;
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=REPEATS {
            self.scaler.update_to(SCALES[round % 2])?;
            let mut list = Tensors::new();
            for part in memory.chunks_mut(elements)? {
                list.push("part", part)?;
            }
            let start = self.device.mark(self.stream)?;
            self.scaler.unscale_tensors(self.id, list)?;
            let middle = self.device.mark(self.stream)?;
            target.copy_from(&memory)?;
            let end = self.device.mark(self.stream)?;
            if round > 0 {
                times[0].push(middle.milliseconds_since(&start)?);
                times[1].push(end.milliseconds_since(&middle)?);
            }
        }
        // What was timed has happened, up to the last element.
        let last = target.slice(len - 1..)?.to_vec()?;
        if last != [half] {
            return Err(format!("{} was not unscaled", N::DTYPE).into());
        }
        let [unscale, copy] = times.map(Times::new);
        Ok(Unscaled {
            dtype: N::DTYPE.to_string(),
            tensors,
            elements,
            bytes: memory.size(),
            unscale,
            copy,
        })
    }
}
