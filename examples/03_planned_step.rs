//! A training step that repeats is served by table; one that does not ends that, and nothing else.
//!
//! `cargo run --example 03_planned_step`; on a simulated device, which counts the driver's calls.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use freeboard::{Bytes, CachingAllocator, Config, SimDevice, StreamId};

const LAYERS: u64 = 24;
/// A sequence of this many tokens is the one that comes in no other step.
const EVALUATION: u64 = 3000;

fn main() -> Result<(), Box<dyn Error>> {
    let device = SimDevice::new(Bytes::gib(80));
    let allocator = CachingAllocator::new(&device, Config::default())?;
    let weights = (0..LAYERS)
        .map(|_| allocator.allocate(Bytes::mib(200), StreamId::DEFAULT))
        .collect::<Result<Vec<_>, _>>()?;

    println!("step  tokens  driver calls  from the plan  set aside for it");
    for (step, tokens) in [2048, 2048, 2048, 2048, EVALUATION, 2048, 2048, 2048].iter().enumerate()
    {
        let (calls, hits) = (driver_calls(&device), allocator.planning().hits);
        train(&allocator, *tokens)?;
        let planning = allocator.planning();
        println!(
            "{step:>4}  {tokens:>6}  {:>12}  {:>13}  {:>16}",
            driver_calls(&device) - calls,
            planning.hits - hits,
            planning.region_bytes.to_string(),
        );
        // Steps are found without marks, too, only later.
        allocator.step();
    }

    let (planning, stitching) = (allocator.planning(), allocator.stitching());
    println!(
        "\n{} requests in a step, {} of them for blocks that outlive it; {} served from the plan, {} \
         not as planned, {} deviation",
        planning.requests, planning.elsewhere, planning.hits, planning.misses, planning.deviations,
    );
    println!(
        "{} handles at {} places; {} stitched instead of taken from the device; {} windows",
        stitching.handles, stitching.mappings, stitching.stitched_bytes, stitching.windows,
    );
    drop(weights);
    Ok(())
}

/// Forward: each layer keeps one block and uses two others. Backward: in reverse.
fn train(allocator: &CachingAllocator<&SimDevice>, tokens: u64) -> Result<(), freeboard::Error> {
    let stream = StreamId::DEFAULT;
    let activation = Bytes::kib(32) * tokens;
    let mut kept = Vec::new();
    for _ in 0..LAYERS {
        let scores = allocator.allocate(Bytes::new(64 * tokens * tokens), stream)?;
        let hidden = allocator.allocate(activation * 4, stream)?;
        kept.push(allocator.allocate(activation, stream)?);
        drop((scores, hidden));
    }
    while let Some(activation) = kept.pop() {
        let gradient = allocator.allocate(activation.size() * 4, stream)?;
        let update = allocator.allocate(Bytes::mib(200), stream)?;
        drop((activation, gradient, update));
    }
    Ok(())
}

fn driver_calls(device: &SimDevice) -> u64 {
    device.calls().values().sum()
}
