//! The devices of these tests.

use std::sync::Arc;

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_buffer::DeviceBuffer;
use freeboard_device::Compute;
use freeboard_device_cuda::{CudaDevice, CudaOptions, Driver};
use freeboard_device_host::{HostConfig, HostDevice, Streams};
use freeboard_fake_cuda::Fake;
use freeboard_units::{Bytes, StreamId};

/// A device's memory, and a stream to work on.
pub(crate) struct World<D: Compute> {
    pub(crate) allocator: Arc<CachingAllocator<D>>,
    pub(crate) stream: StreamId,
}

impl<D: Compute> World<D> {
    fn new(device: D) -> Self {
        let stream = device.create_stream().unwrap();
        let allocator = Arc::new(CachingAllocator::new(device, Config::pytorch()).unwrap());
        Self { allocator, stream }
    }

    pub(crate) fn buffer<T: bytemuck::Pod + Send + Sync>(&self, of: &[T]) -> DeviceBuffer<T, D> {
        DeviceBuffer::from_slice(&self.allocator, of, self.stream).unwrap()
    }
}

/// Everything is done when a call returns.
pub(crate) fn caller() -> World<HostDevice> {
    let config = HostConfig { streams: Streams::Caller, ..HostConfig::new(Bytes::mib(64)) };
    World::new(HostDevice::with_config(config).unwrap())
}

/// Streams are threads.
pub(crate) fn threads() -> World<HostDevice> {
    World::new(HostDevice::new(Bytes::mib(64)).unwrap())
}

/// The sources that GPUs run, on the host.
pub(crate) fn fake() -> (Fake, World<CudaDevice>) {
    let fake = Fake::load().unwrap();
    // SAFETY: the fake driver stands in for the driver, and stays loaded.
    let driver = unsafe { Driver::open(fake.path()) }.unwrap();
    let options = CudaOptions { driver: Some(driver), ..CudaOptions::default() };
    let world = World::new(CudaDevice::with_options(0, options).unwrap());
    (fake, world)
}

/// Bits that tell all floats apart, where `==` would not.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
