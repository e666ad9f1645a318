//! Buffers on any device: a GPU where there is one, this machine's memory otherwise.
//!
//! `cargo run --example 01_allocate`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::Arc;

use freeboard::device::Transfer;
use freeboard::{
    Bytes, CachingAllocator, Config, CudaDevice, DeviceBuffer, HostDevice, PinnedAllocator,
};

fn main() -> Result<(), Box<dyn Error>> {
    match CudaDevice::new(0) {
        Ok(device) => {
            println!("on a GPU");
            tour(device)
        }
        Err(reason) => {
            println!("on this machine's memory ({reason})");
            tour(HostDevice::new(Bytes::gib(1))?)
        }
    }
}

fn tour<D: Transfer + Clone + Send + Sync + 'static>(device: D) -> Result<(), Box<dyn Error>> {
    let allocator = Arc::new(CachingAllocator::new(device.clone(), Config::default())?);
    let (home, side) = (device.create_stream()?, device.create_stream()?);

    // A buffer has a type, a length and a home stream; what its methods start is done there, in order.
    let mut weights = DeviceBuffer::filled(&allocator, 1 << 20, 0.5_f32, home)?;
    weights.slice_mut(..4)?.copy_from_slice(&[1.0, 2.0, 3.0, 4.0])?;
    println!("weights begin with {:?}", weights.slice(..6)?.to_vec()?);

    // Memory that is freed comes back without a driver call.
    for step in 0..3 {
        let activations = DeviceBuffer::<f32, D>::zeroed(&allocator, 8 << 20, home)?;
        println!("step {step}: activations at {}", activations.address());
    }

    // Another stream comes in by a guard: it waits for the home stream, and the home stream for it.
    let mut copy = DeviceBuffer::<f32, D>::zeroed(&allocator, weights.len(), side)?;
    copy.copy_from(&weights.view())?;
    println!("the copy begins with {:?}", copy.slice(..4)?.to_vec()?);

    // Transfers that run beside other work take pinned memory, and give it back when they are done.
    let pinned = PinnedAllocator::new(&allocator)?;
    let batch = weights.download(pinned.allocate(weights.len())?)?.wait()?;
    println!("the sum of all weights is {}", batch.iter().sum::<f32>());

    let stats = allocator.stats();
    println!(
        "allocated {}, reserved {}, asked of the device {} times",
        Bytes::new(stats.allocated_bytes.all.current.unsigned_abs()),
        Bytes::new(stats.reserved_bytes.all.current.unsigned_abs()),
        stats.num_device_alloc,
    );
    Ok(())
}
