//! The same on devices: the host's kernel on this machine, and that of GPUs on the fake driver.
#![allow(unsafe_code, reason = "the fake driver is opened as a driver")]

use std::sync::Arc;

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_buffer::DeviceBuffer;
use freeboard_device::Compute;
use freeboard_device_cuda::{CudaDevice, CudaOptions, Driver};
use freeboard_device_host::{HostConfig, HostDevice, Streams};
use freeboard_fake_cuda::Fake;
use freeboard_grad_scaler::fp8::Wide;
use freeboard_grad_scaler::range::{
    DeviceTensor, HostTensor, RangeError, RangeTarget, Ranges, measure,
};
use freeboard_units::{Bytes, DeviceId, Dtype, StreamId};
use half::{bf16, f16};

type Allocator<D> = Arc<CachingAllocator<D>>;

const STREAM: StreamId = StreamId::DEFAULT;

fn allocator<D: Compute>(device: D) -> Allocator<D> {
    Arc::new(CachingAllocator::new(device, Config::default()).unwrap())
}

fn host(config: HostConfig) -> Allocator<HostDevice> {
    allocator(HostDevice::with_config(config).unwrap())
}

fn fake() -> (&'static Fake, Allocator<CudaDevice>) {
    let fake = Fake::shared().unwrap();
    // SAFETY: the fake driver has the real one's functions, with the same meanings.
    let driver = unsafe { Driver::open(fake.path()) }.unwrap();
    let options = CudaOptions { driver: Some(driver), ..CudaOptions::default() };
    (fake, allocator(CudaDevice::with_options(0, options).unwrap()))
}

/// Some numbers of every kind.
fn numbers<T: Wide>(count: usize) -> Vec<T> {
    let kind = |at: usize| {
        let bits = u32::try_from(at).unwrap().wrapping_mul(2_654_435_761);
        T::from_f32(f32::from_bits(if at.is_multiple_of(13) { bits << 31 } else { bits }))
    };
    (0..count).map(kind).collect()
}

fn counts<D: Compute>(allocator: &Allocator<D>) {
    fn buffer<T: Wide, D: Compute>(to: &Allocator<D>, count: usize) -> DeviceBuffer<T, D> {
        DeviceBuffer::from_slice(to, &numbers::<T>(count), STREAM).unwrap()
    }
    let singles = buffer::<f32, D>(allocator, 70_001);
    let halves = buffer::<f16, D>(allocator, 40_000);
    let brains = buffer::<bf16, D>(allocator, 33_333);
    let (all_singles, all_halves) = (singles.to_vec().unwrap(), halves.to_vec().unwrap());
    let all_brains = brains.to_vec().unwrap();
    let parts = [0..0, 0..1, 1..8, 3..32_771, 5..33_000, 2..33_333];
    for (dtype, factor) in
        [(Dtype::F16, 1.0), (Dtype::BF16, 1e-3), (Dtype::F8E4M3, 64.0), (Dtype::F8E5M2, 1e-20)]
    {
        let target = RangeTarget::new(dtype).unwrap().scaled(factor).unwrap();
        let (mut there, mut here) = (Vec::new(), Vec::new());
        // More than fit into one launch.
        for number in 0..300 {
            let part = parts[number % parts.len()].clone();
            there.push(match number % 7 % 3 {
                0 => DeviceTensor::of("singles", singles.slice(part.clone()).unwrap()),
                1 => DeviceTensor::of("halves", halves.slice(part.clone()).unwrap()),
                _ => DeviceTensor::of("brains", brains.slice(part.clone()).unwrap()),
            });
            here.push(match number % 7 % 3 {
                0 => HostTensor::of("singles", &all_singles[part]),
                1 => HostTensor::of("halves", &all_halves[part]),
                _ => HostTensor::of("brains", &all_brains[part]),
            });
        }
        let there: Vec<_> = there.into_iter().map(Result::unwrap).collect();
        let here: Vec<_> = here.into_iter().map(Result::unwrap).collect();
        let ranges = Ranges::start(allocator, &there, target, STREAM).unwrap();
        assert_eq!(ranges.reports().unwrap(), measure(&here, target).unwrap());
    }
}

fn refusals<D: Compute>(allocator: &Allocator<D>) {
    let target = RangeTarget::new(Dtype::F16).unwrap();
    let nothing = Ranges::start(allocator, &[], target, STREAM);
    assert!(matches!(nothing, Err(RangeError::NoTensors)));
    let words = DeviceBuffer::from_slice(allocator, &[0_u64; 2], STREAM).unwrap();
    let bytes = words.cast::<u8>().unwrap();
    for dtype in [Dtype::I32, Dtype::F64] {
        let error = DeviceTensor::from_bytes("ids", dtype, bytes).unwrap_err();
        assert!(matches!(error, RangeError::NotMeasured { .. }), "{error}");
    }
    for part in [0..7, 1..9] {
        let part = bytes.slice(part).unwrap();
        let error = DeviceTensor::from_bytes("x", Dtype::F32, part).unwrap_err();
        assert!(matches!(error, RangeError::Bytes { .. }), "{error}");
    }
    let tensor = DeviceTensor::from_bytes("x", Dtype::F32, bytes).unwrap();
    let other = allocator.device().create_stream().unwrap();
    let error = Ranges::start(allocator, &[tensor], target, other).unwrap_err();
    assert!(matches!(error, RangeError::OtherStream { .. }), "{error}");
    let ranges = Ranges::start(allocator, &[tensor], target, STREAM).unwrap();
    assert_eq!(ranges.reports().unwrap()[0].zeros, 4);
}

#[test]
fn the_host_device_counts_as_the_host() {
    let config = HostConfig::new(Bytes::mib(64));
    for streams in [Streams::Caller, Streams::Threads] {
        counts(&host(HostConfig { streams, ..config }));
        refusals(&host(HostConfig { streams, ..config }));
    }
}

#[test]
fn the_kernel_for_gpus_counts_as_the_host_in_one_launch_for_each_248_tensors() {
    let (fake, allocator) = fake();
    let before = fake.calls("cuLaunchKernel");
    counts(&allocator);
    assert_eq!(fake.calls("cuLaunchKernel") - before, 4 * 2);
    refusals(&allocator);
}

#[test]
fn a_tensor_of_another_device_is_refused() {
    let config = HostConfig::new(Bytes::mib(64));
    let near = host(config);
    let far = host(HostConfig { id: DeviceId::new(1), ..config });
    let there = DeviceBuffer::from_slice(&far, &[1.0_f32], STREAM).unwrap();
    let tensor = DeviceTensor::of("x", there.view()).unwrap();
    let target = RangeTarget::new(Dtype::F16).unwrap();
    let error = Ranges::start(&near, &[tensor], target, STREAM).unwrap_err();
    assert!(matches!(error, RangeError::OtherDevice { .. }), "{error}");
}
