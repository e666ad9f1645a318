//! Freeboard's buffers in cudarc's functions: copies, and a kernel's arguments.
//!
//! `cargo run --example 02_cudarc_launch`; without a GPU it says why there is none.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]
#![allow(clippy::float_cmp, reason = "halves of whole numbers are exact")]
#![allow(
    unsafe_code,
    reason = "only the caller knows a kernel's arguments, so launching is unsafe"
)]

use std::error::Error;
use std::sync::Arc;

use cudarc::driver::{LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use freeboard::{CachingAllocator, Config, CudaDevice, DeviceBuffer};

/// `freeboard_scale(float *numbers, unsigned long long count, float factor)` and two more; made by
/// tests/gpu/make-ptx.
const PTX: &str = include_str!("../tests/gpu/kernels.ptx");

fn main() -> Result<(), Box<dyn Error>> {
    match CudaDevice::new(0) {
        Ok(device) => launch(&device),
        Err(reason) => {
            println!("nothing to launch on: {reason}");
            Ok(())
        }
    }
}

fn launch(device: &CudaDevice) -> Result<(), Box<dyn Error>> {
    // cudarc's context is the device's own, and the device knows cudarc's stream by a number.
    let context = device.cudarc()?;
    let stream = context.new_stream()?;
    let home = device.stream_of(&stream)?;
    let scale = context.load_module(Ptx::from_src(PTX))?.load_function("freeboard_scale")?;

    let allocator = Arc::new(CachingAllocator::new(device.clone(), Config::default())?);
    let numbers: Vec<f32> = (0..=u8::MAX).map(f32::from).cycle().take(1 << 20).collect();
    let mut buffer = DeviceBuffer::<f32, _>::uninit(&allocator, numbers.len(), home)?;

    // cudarc's own functions take the buffer as they take a CudaSlice.
    stream.memcpy_htod(&numbers, &mut buffer)?;
    let (count, factor) = (numbers.len() as u64, 0.5_f32);
    let mut arguments = stream.launch_builder(&scale);
    arguments.arg(&mut buffer).arg(&count).arg(&factor);
    // SAFETY: these are the kernel's arguments, in order, and the buffer has `count` numbers.
    unsafe { arguments.launch(LaunchConfig::for_num_elems(1 << 16)) }?;
    let halves = stream.clone_dtoh(&buffer)?;

    assert!(halves.iter().zip(&numbers).all(|(half, number)| half + half == *number));
    println!("{} numbers halved on {}: {:?} …", halves.len(), context.name()?, &halves[..5]);
    Ok(())
}
