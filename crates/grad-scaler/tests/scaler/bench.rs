//! A place to test on: devices, and an optimizer that only counts.

use std::convert::Infallible;
use std::sync::Arc;

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_buffer::DeviceBuffer;
use freeboard_device::Compute;
use freeboard_device_cuda::{CudaDevice, CudaOptions, Driver};
use freeboard_device_host::{HostConfig, HostDevice, Streams};
use freeboard_fake_cuda::Fake;
use freeboard_grad_scaler::{
    Float, GradScaler, Optimizer, OptimizerId, ScalerConfig, ScalerError, Tensors,
};
use freeboard_units::{Bytes, DeviceId, StreamId};

pub(crate) type Allocator<D> = Arc<CachingAllocator<D>>;

/// This machine's memory, worked on by the caller.
pub(crate) fn host() -> Allocator<HostDevice> {
    host_number(0)
}

pub(crate) fn host_number(id: u32) -> Allocator<HostDevice> {
    let config = HostConfig {
        streams: Streams::Caller,
        id: DeviceId::new(id),
        ..HostConfig::new(Bytes::mib(64))
    };
    let device = HostDevice::with_config(config).unwrap();
    Arc::new(CachingAllocator::new(device, Config::pytorch()).unwrap())
}

/// A GPU's kernels, run by a driver that is none.
pub(crate) fn fake() -> (Fake, Allocator<CudaDevice>) {
    let fake = Fake::load().unwrap();
    let allocator = fake_number(&fake, 0);
    (fake, allocator)
}

pub(crate) fn fake_number(fake: &Fake, ordinal: u32) -> Allocator<CudaDevice> {
    // SAFETY: the fake driver stands in for the driver, and stays loaded.
    let driver = unsafe { Driver::open(fake.path()) }.unwrap();
    let options = CudaOptions { driver: Some(driver), ..CudaOptions::default() };
    let device = CudaDevice::with_options(ordinal, options).unwrap();
    Arc::new(CachingAllocator::new(device, Config::pytorch()).unwrap())
}

/// A scaler on the default stream.
pub(crate) fn scaler<D: Compute + Send + Sync + 'static>(
    allocator: &Allocator<D>,
    config: ScalerConfig,
) -> GradScaler<D> {
    GradScaler::new(allocator, StreamId::DEFAULT, config).unwrap()
}

/// An optimizer that counts its steps.
pub(crate) struct Counter<T: Float, D: Compute> {
    pub(crate) gradients: Vec<(String, DeviceBuffer<T, D>)>,
    pub(crate) runs: usize,
}

impl<T: Float, D: Compute> Counter<T, D> {
    /// With these gradients, named `a`, `b` and so on.
    pub(crate) fn new(allocator: &Allocator<D>, gradients: &[&[T]]) -> Self {
        let gradients = ('a'..).zip(gradients).map(|(name, values)| {
            let buffer = DeviceBuffer::from_slice(allocator, values, StreamId::DEFAULT);
            (name.to_string(), buffer.unwrap())
        });
        Self { gradients: gradients.collect(), runs: 0 }
    }

    /// Replaces the values of a gradient.
    pub(crate) fn set(&mut self, number: usize, values: &[T]) {
        self.gradients[number].1.copy_from_slice(values).unwrap();
    }

    pub(crate) fn get(&self, number: usize) -> Vec<T> {
        self.gradients[number].1.to_vec().unwrap()
    }
}

impl<T: Float, D: Compute> Optimizer for Counter<T, D> {
    type Output = ();
    type Error = Infallible;

    fn gradients<'a>(&'a mut self, list: &mut Tensors<'a>) -> Result<(), ScalerError> {
        let mut gradients = self.gradients.iter_mut();
        gradients.try_for_each(|(name, buffer)| list.push(name, buffer.view_mut()))
    }

    fn step(&mut self) -> Result<(), Infallible> {
        self.runs += 1;
        Ok(())
    }
}

/// A whole iteration with this gradient; whether the step was done.
pub(crate) fn iterate<D: Compute + Send + Sync + 'static>(
    scaler: &mut GradScaler<D>,
    id: OptimizerId,
    counter: &mut Counter<f32, D>,
    gradient: f32,
) -> bool {
    scaler.start().unwrap();
    counter.set(0, &[gradient]);
    let stepped = scaler.step(id, counter).unwrap().stepped().is_some();
    scaler.update().unwrap();
    stepped
}
