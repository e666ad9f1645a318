//! The GPU's side of the measurements: kernels that write and look, and the driver's own pool.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, LaunchConfig, PushKernelArg, result,
};
use cudarc::nvrtc::Ptx;
use freeboard::units::AddressRange;
use freeboard::{Bytes, CudaDevice, StreamId};
use serde::Serialize;

use crate::kernels::{Kernels, words};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Made by tests/gpu/make-ptx.
const PTX: &str = include_str!("../../tests/gpu/kernels.ptx");
const THREADS: u32 = 256;
const MOST_BLOCKS: u32 = 4096;

pub(crate) struct CudaKernels {
    touch: CudaFunction,
    verify: CudaFunction,
    /// One number: words that were wrong.
    wrong: CudaSlice<u32>,
    main: Arc<CudaStream>,
    streams: HashMap<StreamId, Arc<CudaStream>>,
    context: Arc<CudaContext>,
}

impl CudaKernels {
    /// The kernels, and streams of cudarc's that the device knows.
    pub(crate) fn new(device: &CudaDevice, streams: usize) -> Outcome<(Self, Vec<StreamId>)> {
        let context = device.cudarc()?;
        let module = context.load_module(Ptx::from_src(PTX))?;
        let main = context.default_stream();
        let (mut known, mut ids) = (HashMap::new(), Vec::new());
        for _ in 0..streams {
            let stream = context.new_stream()?;
            let id = device.stream_of(&stream)?;
            known.insert(id, stream);
            ids.push(id);
        }
        let wrong = main.alloc_zeros(1)?;
        main.synchronize()?;
        let kernels = Self {
            touch: module.load_function("freeboard_touch")?,
            verify: module.load_function("freeboard_verify")?,
            wrong,
            main,
            streams: known,
            context,
        };
        Ok((kernels, ids))
    }

    fn stream(&self, stream: StreamId) -> &CudaStream {
        self.streams.get(&stream).unwrap_or(&self.main)
    }
}

fn shape(words: usize) -> LaunchConfig {
    let blocks = u32::try_from(words.div_ceil(THREADS as usize)).unwrap_or(u32::MAX);
    LaunchConfig {
        grid_dim: (blocks.clamp(1, MOST_BLOCKS), 1, 1),
        block_dim: (THREADS, 1, 1),
        shared_mem_bytes: 0,
    }
}

impl Kernels for CudaKernels {
    fn touch(&self, range: AddressRange, value: u32, stream: StreamId) -> Outcome<()> {
        let (start, count) = (range.start().get(), words(range) as u64);
        let mut launch = self.stream(stream).launch_builder(&self.touch);
        launch.arg(&start).arg(&count).arg(&value);
        // SAFETY: the arguments are the kernel's; the range is a live block of the replay.
        unsafe { launch.launch(shape(words(range))) }?;
        Ok(())
    }

    fn verify(&self, range: AddressRange, value: u32, stream: StreamId) -> Outcome<()> {
        let (start, count) = (range.start().get(), words(range) as u64);
        let mut launch = self.stream(stream).launch_builder(&self.verify);
        launch.arg(&start).arg(&count).arg(&value).arg(&self.wrong);
        // SAFETY: as above; `wrong` is one word, which the kernel adds to atomically.
        unsafe { launch.launch(shape(words(range))) }?;
        Ok(())
    }

    fn wrong_words(&self) -> Outcome<u64> {
        self.context.synchronize()?;
        Ok(u64::from(self.main.clone_dtoh(&self.wrong)?[0]))
    }
}

/// An allocation and its free, by the driver.
#[derive(Serialize)]
pub(crate) struct DriverPair {
    pub(crate) size: Bytes,
    /// From the driver's pool, in the order of a stream (`cuMemAllocAsync`).
    pub(crate) pool_ns: f64,
    /// By itself (`cuMemAlloc`).
    pub(crate) plain_ns: f64,
}

/// How long the driver's own allocations take, one size after the other.
pub(crate) fn driver_pairs(device: &CudaDevice, sizes: &[Bytes]) -> Outcome<Vec<DriverPair>> {
    let context = device.cudarc()?;
    let stream = context.new_stream()?;
    let each = |&size: &Bytes| {
        let bytes = usize::try_from(size.get())?;
        let pool = least(2000, || {
            // SAFETY: the stream is alive, and the memory is not used.
            let start = unsafe { result::malloc_async(stream.cu_stream(), bytes) }?;
            // SAFETY: allocated just before.
            unsafe { result::free_async(start, stream.cu_stream()) }
        })?;
        stream.synchronize()?;
        let plain = least(20, || {
            // SAFETY: the context is current, and the memory is not used.
            let start = unsafe { result::malloc_sync(bytes) }?;
            // SAFETY: allocated just before.
            unsafe { result::free_sync(start) }
        })?;
        Ok(DriverPair { size, pool_ns: pool, plain_ns: plain })
    };
    sizes.iter().map(each).collect()
}

/// Nanoseconds for one round, the least of seven repeats.
fn least(rounds: u32, mut act: impl FnMut() -> Result<(), result::DriverError>) -> Outcome<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..7 {
        let start = Instant::now();
        for _ in 0..rounds {
            act()?;
        }
        least = least.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds));
    }
    Ok(least)
}
