//! The same on devices of every kind.
#![expect(unsafe_code, reason = "the fake driver stands in for the real one")]

use std::sync::Arc;

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_buffer::DeviceBuffer;
use freeboard_checkpoint::Offload;
use freeboard_device::Compute;
use freeboard_device_cuda::{CudaDevice, CudaOptions, Driver};
use freeboard_device_host::{HostConfig, HostDevice, Streams};
use freeboard_fake_cuda::Fake;
use freeboard_grad_scaler::AdamWConfig;
use freeboard_offload::{HostOptimizer, HostOptimizerConfig, Mover, OffloadError, Shelf};
use freeboard_units::Bytes;

use crate::common::{Allocator, Saved, allocated, mover};
use crate::optimizer::{LENS, numbers, steps_on_the_host};

fn bits<T: bytemuck::Pod>(numbers: &[T]) -> Vec<u8> {
    bytemuck::cast_slice(numbers).to_vec()
}

/// What a checkpointed step does with a mover.
fn offload<M: Offload<V, OffloadError>, V>(mut mover: M, value: V) -> V {
    let leaving = mover.begin_out(&value).unwrap();
    let away = mover.finish_out(value, leaving).unwrap();
    let arriving = mover.begin_back(away).unwrap();
    mover.finish_back(arriving).unwrap()
}

/// Everything once; the numbers of the optimizer.
fn run<D: Compute + Send + Sync + 'static>(allocator: &Allocator<D>) -> Vec<u8> {
    let stream = allocator.device().create_stream().unwrap();
    for wait_on_host in [true, false] {
        let mover = Arc::new(mover(allocator, wait_on_host));
        let saved = offload(&*mover, Saved::new(allocator, stream));
        saved.check();
        let one: DeviceBuffer<u8, D> = offload::<&Mover<D>, _>(&mover, saved.mask);
        assert_eq!(one.len(), 300_000);
        drop((one, saved.numbers, saved.nothing, saved.seeds));
        let mut shelf = Shelf::new(&mover);
        for number in 0..4_u16 {
            let value = DeviceBuffer::filled(allocator, 10_000, number, stream).unwrap();
            shelf.push(value).unwrap();
        }
        let check = |index: usize, value: &mut DeviceBuffer<u16, D>| {
            let number = u16::try_from(index).unwrap();
            assert!(value.to_vec().unwrap() == vec![number; 10_000]);
            Ok::<_, OffloadError>(())
        };
        shelf.update([0, 1, 2, 3, 0, 1], check).unwrap();
        mover.synchronize().unwrap();
    }
    assert_eq!(allocated(allocator), 0);
    let settings = AdamWConfig { lr: 0.1, ..AdamWConfig::default() };
    let plain = |value: f32| value;
    steps_on_the_host!(allocator, settings, f32, f32, plain, plain)
}

fn allocator<D: Compute>(device: D) -> Allocator<D> {
    Arc::new(CachingAllocator::new(device, Config::default()).unwrap())
}

#[test]
fn threads_callers_and_cuda_do_the_same() {
    let on_threads = run(&allocator(HostDevice::new(Bytes::mib(64)).unwrap()));
    let config = HostConfig { streams: Streams::Caller, ..HostConfig::new(Bytes::mib(64)) };
    let on_caller = run(&allocator(HostDevice::with_config(config).unwrap()));
    assert!(on_threads == on_caller);
    let fake = Fake::load().unwrap();
    // SAFETY: the fake driver stands in for the driver, and stays loaded.
    let driver = unsafe { Driver::open(fake.path()) }.unwrap();
    let options = CudaOptions { driver: Some(driver), ..CudaOptions::default() };
    let on_gpu = run(&allocator(CudaDevice::with_options(0, options).unwrap()));
    assert!(on_threads == on_gpu);
    for call in ["cuMemcpyDtoHAsync_v2", "cuMemcpyHtoDAsync_v2", "cuMemHostAlloc"] {
        assert!(fake.calls(call) > 5, "{call}");
    }
}
