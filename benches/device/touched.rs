//! A recorded run over real memory: every block is written when it is made, and looked at before it
//! is freed.

use std::time::Instant;

use freeboard::allocator::Borrowed;
use freeboard::device::Transfer;
use freeboard::replay::Trace;
use freeboard::replay::trace::{Op, OpKind};
use freeboard::units::AddressRange;
use freeboard::{Bytes, CachingAllocator, Config, StreamId};
use serde::Serialize;

use crate::kernels::Kernels;

/// What came of it.
#[derive(Serialize)]
pub(crate) struct Touched {
    pub(crate) policy: String,
    pub(crate) trace: String,
    pub(crate) divisor: u64,
    pub(crate) blocks: u64,
    /// Written, and read as often.
    pub(crate) bytes: Bytes,
    pub(crate) wrong_words: u64,
    /// At the most.
    pub(crate) reserved: Bytes,
    pub(crate) seconds: f64,
}

/// A block and what was written to it.
struct Written<'a, D: Transfer> {
    memory: Borrowed<'a, D>,
    range: AddressRange,
    value: u32,
    stream: StreamId,
}

/// A recorded run, and where it runs.
pub(crate) struct Stage<'a, D, K> {
    pub(crate) device: &'a D,
    pub(crate) kernels: &'a K,
    pub(crate) streams: &'a [StreamId],
    pub(crate) trace: &'a Trace,
    /// The blocks of the run are divided by this to fit.
    pub(crate) divisor: u64,
}

pub(crate) fn replay<D: Transfer + Clone, K: Kernels>(
    stage: &Stage<'_, D, K>,
    policy: &str,
    config: Config,
) -> Result<Touched, Box<dyn std::error::Error>> {
    let Stage { device, kernels, streams, trace, divisor } = *stage;
    let allocator = CachingAllocator::new(device.clone(), config)?;
    let event = device.create_event()?;
    let start = Instant::now();
    let mut held: Vec<Option<Written<'_, D>>> = Vec::new();
    held.resize_with(trace.slots as usize, || None);
    let (mut value, mut bytes) = (0, Bytes::ZERO);
    let verify = |slot: &mut Option<Written<'_, D>>| match slot.take() {
        Some(Written { range, value, stream, .. }) => kernels.verify(range, value, stream),
        None => Ok(()),
    };
    for Op { kind, .. } in &trace.ops {
        match *kind {
            OpKind::Allocate { slot, size, stream } => {
                let stream = streams[usize::from(stream) % streams.len()];
                let size = Bytes::new(size.get().div_ceil(divisor));
                let memory = allocator.allocate(size, stream)?;
                let range = AddressRange::new(memory.address(), size.align_down(Bytes::new(4)));
                value += 1;
                bytes += range.size();
                kernels.touch(range, value, stream)?;
                held[slot as usize] = Some(Written { memory, range, value, stream });
            }
            OpKind::Free { slot } => verify(&mut held[slot as usize])?,
            OpKind::RecordUse { slot, stream } => {
                let stream = streams[usize::from(stream) % streams.len()];
                if let Some(written) = &held[slot as usize] {
                    device.record(event, written.stream)?;
                    device.stream_wait(stream, event)?;
                    written.memory.record_use(stream)?;
                    kernels.verify(written.range, written.value, stream)?;
                }
            }
            OpKind::EmptyCache => allocator.empty_cache()?,
        }
    }
    held.iter_mut().try_for_each(verify)?;
    let wrong_words = kernels.wrong_words()?;
    let seconds = start.elapsed().as_secs_f64();
    let reserved = allocator.stats().reserved_bytes.all.peak;
    drop(held);
    device.destroy_event(event)?;
    Ok(Touched {
        policy: policy.to_owned(),
        trace: trace.name.clone(),
        divisor,
        blocks: trace.allocs,
        bytes,
        wrong_words,
        reserved: Bytes::new(reserved.unsigned_abs()),
        seconds,
    })
}
