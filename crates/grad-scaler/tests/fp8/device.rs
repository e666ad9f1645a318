//! The same on devices: the host's kernels on this machine, and those of GPUs on the fake driver.
#![allow(unsafe_code, reason = "the fake driver is opened as a driver")]

use std::sync::Arc;

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_buffer::DeviceBuffer;
use freeboard_device::Compute;
use freeboard_device_cuda::{CudaDevice, CudaOptions, Driver};
use freeboard_device_host::{HostConfig, HostDevice, Streams};
use freeboard_fake_cuda::Fake;
use freeboard_grad_scaler::fp8::{
    Direction, Fp8, Fp8E4M3, Fp8E5M2, Fp8Error, Fp8Recipe, Fp8Scaling, Wide,
};
use freeboard_units::{Bytes, StreamId};
use half::{bf16, f16};

use crate::scaling::Program;
use crate::{meta, numbers};

type Allocator<D> = Arc<CachingAllocator<D>>;

fn allocator<D: Compute>(device: D) -> Allocator<D> {
    Arc::new(CachingAllocator::new(device, Config::default()).unwrap())
}

fn host(streams: Streams) -> Allocator<HostDevice> {
    allocator(
        HostDevice::with_config(HostConfig { streams, ..HostConfig::new(Bytes::mib(256)) })
            .unwrap(),
    )
}

fn fake() -> Allocator<CudaDevice> {
    // SAFETY: the fake driver has the real one's functions, with the same meanings.
    let driver = unsafe { Driver::open(Fake::shared().unwrap().path()) }.unwrap();
    let options = CudaOptions { driver: Some(driver), ..CudaOptions::default() };
    allocator(CudaDevice::with_options(0, options).unwrap())
}

macro_rules! on_every_device {
    ($($name:ident: $check:ident;)*) => {
        $(
            #[test]
            fn $name() {
                $check(&host(Streams::Caller));
                $check(&host(Streams::Threads));
                $check(&fake());
            }
        )*
    };
}

on_every_device! {
    devices_cast_and_update_as_the_host: casts_and_updates;
    devices_give_the_scales_of_transformer_engine: programs;
    views_that_do_not_fit_are_refused: refusals;
    a_tensor_is_cast_back_by_a_kept_scale_after_an_update: kept_scale;
}

/// Casts parts of a tensor, so that they begin at any address, and compares with the host.
fn cast_all<T: Wide, F: Fp8, D: Compute>(allocator: &Allocator<D>, direction: Direction) {
    let stream = StreamId::DEFAULT;
    let recipe = Fp8Recipe { amax_history_len: 5, ..Fp8Recipe::default() };
    let mut on_host = meta(recipe, direction, 2);
    let mut scaling = Fp8Scaling::new(allocator, &on_host, stream).unwrap();
    let input: Vec<T> = numbers(70_000, 3).into_iter().map(T::from_f32).collect();
    let wide = DeviceBuffer::from_slice(allocator, &input, stream).unwrap();
    let mut narrow = DeviceBuffer::<F, _>::zeroed(allocator, input.len() + 8, stream).unwrap();
    let mut back = DeviceBuffer::<T, _>::zeroed(allocator, input.len() + 8, stream).unwrap();
    let parts = [(0, 0), (0, 1), (3, 2), (0, 32_768), (1, 32_768), (7, 32_769), (5, 66_000)];
    for (number, (start, len)) in parts.into_iter().enumerate() {
        let index = number % 2;
        let part = start..start + len;
        let to = number..number + len;
        let view = wide.slice(part.clone()).unwrap();
        scaling.quantize(index, view, narrow.slice_mut(to.clone()).unwrap()).unwrap();
        let codes = narrow.slice(to.clone()).unwrap();
        scaling.dequantize(index, codes, back.slice_mut(to).unwrap()).unwrap();

        let mut expected = vec![F::zeroed(); len];
        on_host.quantize(index, &input[part], &mut expected).unwrap();
        let bytes = |codes: &[F]| bytemuck::cast_slice::<F, u8>(codes).to_vec();
        assert!(bytes(&codes.to_vec().unwrap()) == bytes(&expected), "{start}..+{len}");
        let mut wide_again = vec![T::zeroed(); len];
        on_host.dequantize(index, &expected, &mut wide_again).unwrap();
        let found = back.slice(number..number + len).unwrap().to_vec().unwrap();
        let bytes = |numbers: &[T]| bytemuck::cast_slice::<T, u8>(numbers).to_vec();
        assert!(bytes(&found) == bytes(&wide_again), "{start}..+{len} back");

        if number % 3 == 2 {
            scaling.update().unwrap();
            on_host.update();
        }
        assert_eq!(scaling.meta().unwrap(), on_host);
    }
}

fn casts_and_updates<D: Compute>(allocator: &Allocator<D>) {
    cast_all::<f32, Fp8E4M3, D>(allocator, Direction::Forward);
    cast_all::<f16, Fp8E4M3, D>(allocator, Direction::Forward);
    cast_all::<bf16, Fp8E4M3, D>(allocator, Direction::Forward);
    cast_all::<f32, Fp8E5M2, D>(allocator, Direction::Backward);
    cast_all::<f16, Fp8E5M2, D>(allocator, Direction::Backward);
    cast_all::<bf16, Fp8E5M2, D>(allocator, Direction::Backward);
}

fn programs<D: Compute>(allocator: &Allocator<D>) {
    for program in Program::all() {
        let mut scaling = Fp8Scaling::new(allocator, &program.meta(), StreamId::DEFAULT).unwrap();
        for step in &program.steps {
            scaling
                .update_reduced(|mut newest| {
                    newest.copy_from_slice(&step.amax()).map_err(Fp8Error::from)
                })
                .unwrap();
            step.check(&scaling.meta().unwrap());
        }
        program.check_history(&scaling.meta().unwrap());
    }
}

fn kept_scale<D: Compute>(allocator: &Allocator<D>) {
    let stream = StreamId::DEFAULT;
    let start = meta(Fp8Recipe::default(), Direction::Forward, 1);
    let mut scaling = Fp8Scaling::new(allocator, &start, stream).unwrap();
    let wide = DeviceBuffer::from_slice(allocator, &[1.5_f32, -3.5], stream).unwrap();
    let mut narrow = DeviceBuffer::<Fp8E4M3, _>::zeroed(allocator, 2, stream).unwrap();
    scaling.quantize(0, wide.view(), narrow.view_mut()).unwrap();
    scaling.update().unwrap();
    scaling.quantize(0, wide.view(), narrow.view_mut()).unwrap();
    let kept = scaling.scale_invs().unwrap().clone_on(stream).unwrap();
    let smaller = DeviceBuffer::from_slice(allocator, &[100.0_f32, 1.0], stream).unwrap();
    let mut other = DeviceBuffer::<Fp8E4M3, _>::zeroed(allocator, 2, stream).unwrap();
    scaling.quantize(0, smaller.view(), other.view_mut()).unwrap();
    scaling.update().unwrap();
    assert_eq!(scaling.scales().unwrap().to_vec().unwrap(), [4.48]);
    let mut back = DeviceBuffer::<f32, _>::zeroed(allocator, 2, stream).unwrap();
    scaling.dequantize_by(kept.view(), narrow.view(), back.view_mut()).unwrap();
    assert_eq!(back.to_vec().unwrap(), [1.5, -3.5]);
}

fn refusals<D: Compute>(allocator: &Allocator<D>) {
    let stream = StreamId::DEFAULT;
    let other = allocator.device().create_stream().unwrap();
    let start = meta(Fp8Recipe::default(), Direction::Forward, 2);
    let mut scaling = Fp8Scaling::new(allocator, &start, stream).unwrap();
    let wide = DeviceBuffer::from_slice(allocator, &[1.0_f32, 2.0], stream).unwrap();
    let elsewhere = DeviceBuffer::from_slice(allocator, &[1.0_f32, 2.0], other).unwrap();
    let mut narrow = DeviceBuffer::<Fp8E4M3, _>::zeroed(allocator, 2, stream).unwrap();
    let mut gradient = DeviceBuffer::<Fp8E5M2, _>::zeroed(allocator, 2, stream).unwrap();
    let mut back = DeviceBuffer::<f32, _>::zeroed(allocator, 3, other).unwrap();

    let error = scaling.quantize(2, wide.view(), narrow.view_mut()).unwrap_err();
    assert!(matches!(error, Fp8Error::Index { index: 2, tensors: 2 }), "{error}");
    let error = scaling.quantize(0, wide.view(), gradient.view_mut()).unwrap_err();
    assert!(matches!(error, Fp8Error::OtherType { .. }), "{error}");
    let error = scaling.quantize(0, elsewhere.view(), narrow.view_mut()).unwrap_err();
    assert!(matches!(error, Fp8Error::OtherStream { stream, .. } if stream == other), "{error}");
    let part = wide.slice(..1).unwrap();
    let error = scaling.quantize(0, part, narrow.view_mut()).unwrap_err();
    assert!(matches!(error, Fp8Error::LengthMismatch { input: 1, output: 2 }), "{error}");
    let error = scaling.dequantize(0, narrow.view(), back.view_mut()).unwrap_err();
    assert!(matches!(error, Fp8Error::OtherStream { .. }), "{error}");
    let mut lent = back.on_mut(stream).unwrap();
    let error = scaling.dequantize(0, narrow.view(), lent.view_mut()).unwrap_err();
    assert!(matches!(error, Fp8Error::LengthMismatch { input: 2, output: 3 }), "{error}");
    let scales = scaling.scales().unwrap();
    let error = scaling.dequantize_by(scales, narrow.view(), lent.view_mut()).unwrap_err();
    assert!(matches!(error, Fp8Error::LengthMismatch { input: 2, output: 1 }), "{error}");
    assert_eq!(scaling.meta().unwrap(), start);
    // Lent to the stream of the scales, a tensor of another stream is fine.
    scaling.quantize(0, elsewhere.on(stream).unwrap().view(), narrow.view_mut()).unwrap();
    scaling.dequantize(0, narrow.view(), lent.slice_mut(..2).unwrap()).unwrap();
    drop(lent);
    assert_eq!(back.to_vec().unwrap(), [1.0, 2.0, 0.0]);
}

#[test]
fn a_tensor_of_another_device_is_refused() {
    let config =
        HostConfig { id: freeboard_units::DeviceId::new(1), ..HostConfig::new(Bytes::mib(64)) };
    let far = allocator(HostDevice::with_config(config).unwrap());
    let near = host(Streams::Caller);
    let stream = StreamId::DEFAULT;
    let start = meta(Fp8Recipe::default(), Direction::Forward, 1);
    let mut scaling = Fp8Scaling::new(&near, &start, stream).unwrap();
    let wide = DeviceBuffer::from_slice(&far, &[1.0_f32], stream).unwrap();
    let mut narrow = DeviceBuffer::<Fp8E4M3, _>::zeroed(&near, 1, stream).unwrap();
    let error = scaling.quantize(0, wide.view(), narrow.view_mut()).unwrap_err();
    assert!(matches!(error, Fp8Error::OtherDevice { .. }), "{error}");
}
