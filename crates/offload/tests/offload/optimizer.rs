//! The optimizer on the host, against the one on the device.

use freeboard_buffer::DeviceBuffer;
use freeboard_device::{Compute, Grid, Kernel, Module, Result};
use freeboard_device_host::HostDevice;
use freeboard_grad_scaler::fused::{FloatBuffer, Parameter, ParameterId, Settings};
use freeboard_grad_scaler::{
    AdamWConfig, Float, Fused, GradScaler, Optimizer, ScalerConfig, SgdConfig,
};
use freeboard_offload::{HostAdamW, HostOptimizer, HostOptimizerConfig, HostSgd, OffloadError};
use freeboard_units::{Bytes, StreamId};
use half::{bf16, f16};

use crate::common::{Allocator, HOME, allocated, hold, host};
use crate::faults::with_every_call_failing;
use crate::faulty::Faulty;

#[expect(unsafe_code, reason = "forwards a launch")]
impl Compute for Faulty {
    fn sees_process_memory(&self) -> bool {
        self.host.sees_process_memory()
    }
    fn load(&self, module: &'static Module) -> Result<()> {
        self.host.load(module)
    }
    unsafe fn launch(
        &self,
        kernel: &'static Kernel,
        grid: Grid,
        parameter: &[u64],
        stream: StreamId,
    ) -> Result<()> {
        // SAFETY: the caller promises what the same method wants.
        unsafe { Compute::launch(&self.host, kernel, grid, parameter, stream) }
    }
}

/// Numbers of many magnitudes.
pub(crate) fn numbers(len: usize, salt: u32) -> Vec<f32> {
    let number = |at: u32| {
        let x = (at + 1).wrapping_mul(0x9e37_79b9).wrapping_add(salt.wrapping_mul(0x85eb_ca6b));
        let x = (x ^ x >> 15).wrapping_mul(0x2c1b_3c6d);
        f32::from_bits(x & 0x80ff_ffff | (110 + x % 20) << 23)
    };
    (0..u32::try_from(len).unwrap()).map(number).collect()
}

pub(crate) const LENS: [usize; 4] = [7, 40_000, 1, 1000];

fn bits<T: bytemuck::Pod>(numbers: &[T]) -> Vec<u8> {
    bytemuck::cast_slice(numbers).to_vec()
}

/// Steps on the host: all values of the model and all masters, as bytes.
macro_rules! steps_on_the_host {
    ($allocator:expr, $settings:expr, $model:ty, $gradient:ty, $from:expr, $gradient_from:expr) => {{
        let config = HostOptimizerConfig { host_capacity: Bytes::mib(64), ..Default::default() };
        let mut optimizer = HostOptimizer::new($allocator, $settings, config).unwrap();
        let stream = freeboard_device::Order::create_stream($allocator.device()).unwrap();
        let ids = LENS.map(|len| {
            let values: Vec<$model> = numbers(len, 1).into_iter().map($from).collect();
            let values = DeviceBuffer::from_slice($allocator, &values, stream).unwrap();
            optimizer.add(format!("weight {len}"), values).unwrap()
        });
        let mut all = Vec::new();
        for step in 0..3 {
            for (&id, len) in ids.iter().zip(LENS).rev() {
                if step == 1 && len == 1000 {
                    continue; // this one has no gradient in this step
                }
                let gradient: Vec<$gradient> =
                    numbers(len, 10 + step).into_iter().map($gradient_from).collect();
                let gradient = DeviceBuffer::from_slice($allocator, &gradient, stream).unwrap();
                optimizer.gradient_ready(id, &gradient).unwrap();
            }
            optimizer.step().unwrap();
            for id in ids {
                all.extend(bits(&optimizer.values::<$model>(id).unwrap().to_vec().unwrap()));
                let (fused, own) = optimizer.on_host(id).unwrap();
                all.extend(bits(&fused.values(own).unwrap().to_vec().unwrap()));
                for moment in fused.moments_mut(own).unwrap() {
                    all.extend(bits(&moment.to_vec().unwrap()));
                }
            }
        }
        all
    }};
}
pub(crate) use steps_on_the_host;

/// What a model computes with, on the device.
trait Model: Sized {
    fn round(value: f32) -> f32;
    fn copy_for(
        allocator: &Allocator,
        parameter: Parameter<HostDevice>,
        len: usize,
    ) -> Parameter<HostDevice>;
    fn read<S: Settings>(optimizer: &Fused<S, HostDevice>, id: ParameterId) -> Vec<u8>;
}

impl Model for f32 {
    fn round(value: f32) -> f32 {
        value
    }
    fn copy_for(
        _: &Allocator,
        parameter: Parameter<HostDevice>,
        _: usize,
    ) -> Parameter<HostDevice> {
        parameter
    }
    fn read<S: Settings>(optimizer: &Fused<S, HostDevice>, id: ParameterId) -> Vec<u8> {
        bits(&optimizer.values(id).unwrap().to_vec().unwrap())
    }
}

macro_rules! half_models {
    ($($half:ty),*) => {
        $(impl Model for $half {
            fn round(value: f32) -> f32 {
                Self::from_f32(value).to_f32()
            }
            fn copy_for(
                allocator: &Allocator,
                parameter: Parameter<HostDevice>,
                len: usize,
            ) -> Parameter<HostDevice> {
                parameter.with_copy(DeviceBuffer::<$half, _>::zeroed(allocator, len, HOME).unwrap())
            }
            fn read<S: Settings>(optimizer: &Fused<S, HostDevice>, id: ParameterId) -> Vec<u8> {
                bits(&optimizer.copy::<$half>(id).unwrap().to_vec().unwrap())
            }
        })*
    };
}
half_models!(f16, bf16);

/// The same steps on the device.
fn steps_on_the_device<M: Model, S: Settings, G: Float>(
    allocator: &Allocator,
    settings: S,
    gradient_from: impl Fn(f32) -> G,
) -> Vec<u8>
where
    FloatBuffer<HostDevice>: From<DeviceBuffer<G, HostDevice>>,
{
    // The third is alone, as it has no gradient in the second step.
    let mut two = [(); 2].map(|()| Fused::new(allocator, HOME, settings).unwrap());
    let which = |len: usize| usize::from(len == 1000);
    let ids = LENS.map(|len| {
        let values: Vec<f32> = numbers(len, 1).into_iter().map(M::round).collect();
        let values = DeviceBuffer::from_slice(allocator, &values, HOME).unwrap();
        let parameter = M::copy_for(allocator, Parameter::new("weight", values), len);
        let own = &mut two[which(len)];
        own.add(own.first_group(), parameter).unwrap()
    });
    let mut all = Vec::new();
    for step in 0..3 {
        for (&id, len) in ids.iter().zip(LENS) {
            let gradient: Vec<G> =
                numbers(len, 10 + step).into_iter().map(&gradient_from).collect();
            let gradient = DeviceBuffer::from_slice(allocator, &gradient, HOME).unwrap();
            two[which(len)].set_gradient(id, Some(gradient.into())).unwrap();
        }
        two[0].step().unwrap();
        if step != 1 {
            two[1].step().unwrap();
        }
        for (&id, len) in ids.iter().zip(LENS) {
            let own = &mut two[which(len)];
            all.extend(M::read(own, id));
            all.extend(bits(&own.values(id).unwrap().to_vec().unwrap()));
            for moment in own.moments_mut(id).unwrap() {
                all.extend(bits(&moment.to_vec().unwrap()));
            }
        }
    }
    all
}

fn sgd() -> SgdConfig {
    SgdConfig { lr: 0.1, momentum: 0.9, weight_decay: 0.01, nesterov: true, ..SgdConfig::default() }
}

#[test]
fn steps_on_the_host_are_those_on_the_device_bit_by_bit() {
    let (_device, allocator) = host(Bytes::mib(64));
    let adamw = AdamWConfig { lr: 0.1, ..AdamWConfig::default() };
    let plain = |value: f32| value;
    let on_host = steps_on_the_host!(&allocator, adamw, f32, f32, plain, plain);
    assert!(on_host == steps_on_the_device::<f32, _, _>(&allocator, adamw, plain));
    let on_host = steps_on_the_host!(&allocator, sgd(), f32, f16, plain, f16::from_f32);
    assert!(on_host == steps_on_the_device::<f32, _, _>(&allocator, sgd(), f16::from_f32));
    let on_host = steps_on_the_host!(&allocator, adamw, f16, f16, f16::from_f32, f16::from_f32);
    assert!(on_host == steps_on_the_device::<f16, _, _>(&allocator, adamw, f16::from_f32));
    let on_host = steps_on_the_host!(&allocator, adamw, bf16, f32, bf16::from_f32, plain);
    assert!(on_host == steps_on_the_device::<bf16, _, _>(&allocator, adamw, plain));
    assert_eq!(allocated(&allocator), 0);
}

#[test]
fn a_scaler_on_the_host_unscales_and_skips() {
    let (_device, allocator) = host(Bytes::mib(64));
    let config = HostOptimizerConfig { host_capacity: Bytes::mib(64), ..Default::default() };
    let settings = SgdConfig { lr: 1.0, ..SgdConfig::default() };
    let mut sgd = HostSgd::new(&allocator, settings, config).unwrap();
    let values = DeviceBuffer::from_slice(&allocator, &[1.0_f32, 2.0], HOME).unwrap();
    let weight = sgd.add("weight", values).unwrap();
    let (memory, stream) = (sgd.host_allocator().clone(), sgd.host_stream());
    let config = ScalerConfig { initial_scale: 4.0, ..ScalerConfig::default() };
    let mut scaler = GradScaler::new(&memory, stream, config).unwrap();
    let id = scaler.add_optimizer("sgd");
    for gradients in [[2.0_f32, 4.0], [f32::INFINITY, 1.0], [2.0, 2.0]] {
        scaler.start().unwrap();
        let gradients = DeviceBuffer::from_slice(&allocator, &gradients, HOME).unwrap();
        sgd.gradient_ready(weight, &gradients).unwrap();
        drop(scaler.step(id, &mut sgd).unwrap());
        scaler.update().unwrap();
    }
    // A quarter of the first, nothing of the second, and half of the third.
    let values = sgd.values::<f32>(weight).unwrap().to_vec().unwrap();
    assert_eq!(values, [1.0 - 0.5 - 1.0, 2.0 - 1.0 - 1.0]);
}

#[test]
fn a_gradient_may_be_dropped_and_overwritten_while_it_is_copied() {
    let (device, allocator) = host(Bytes::mib(16));
    let config =
        HostOptimizerConfig { host_capacity: Bytes::mib(64), timed: false, ..Default::default() };
    let settings = SgdConfig { lr: 1.0, ..SgdConfig::default() };
    let mut sgd = HostSgd::new(&allocator, settings, config).unwrap();
    let values = DeviceBuffer::<f32, _>::zeroed(&allocator, 500_000, HOME).unwrap();
    let weight = sgd.add("weight", values).unwrap();
    let slow = hold(&device, HOME);
    let mut gradient = DeviceBuffer::<f32, _>::uninit(&allocator, 500_000, HOME).unwrap();
    gradient.fill(-3.0).unwrap(); // late
    sgd.gradient_ready(weight, &gradient).unwrap();
    gradient.fill(5.0).unwrap();
    drop(gradient);
    let mut other = DeviceBuffer::<f32, _>::uninit(&allocator, 500_000, HOME).unwrap();
    other.fill(7.0).unwrap();
    drop(slow);
    sgd.step().unwrap();
    assert!(sgd.values::<f32>(weight).unwrap().to_vec().unwrap() == vec![3.0; 500_000]);
    sgd.synchronize().unwrap();
    let stats = sgd.stats();
    assert_eq!((stats.bytes_out, stats.bytes_back), (Bytes::new(2_000_000), Bytes::new(2_000_000)));
}

#[test]
fn errors_name_the_parameter_and_what_is_wrong() {
    let (_device, allocator) = host(Bytes::mib(16));
    let config = HostOptimizerConfig { host_capacity: Bytes::mib(4), ..Default::default() };
    let no_depth = HostOptimizerConfig { depth: 0, ..config };
    let error = HostSgd::new(&allocator, SgdConfig::default(), no_depth).unwrap_err();
    assert_eq!(error.to_string(), "depth of 0: it must be 1 or more");
    let bad = AdamWConfig { lr: -1.0, ..AdamWConfig::default() };
    let error = HostAdamW::new(&allocator, bad, config).unwrap_err().to_string();
    assert!(error.contains("lr of -1"), "{error}");
    let mut adamw = HostAdamW::new(&allocator, AdamWConfig::default(), config).unwrap();
    let buffer = |len| DeviceBuffer::<f32, _>::zeroed(&allocator, len, HOME).unwrap();
    let error = adamw.add("large", buffer(1 << 20)).unwrap_err();
    assert!(error.to_string().starts_with("`large`: making room for it on the host: "), "{error}");
    assert!(error.out_of_memory().is_some());
    let id = adamw.add("small", buffer(10)).unwrap();
    let error = adamw.gradient_ready(id, &buffer(11)).unwrap_err();
    assert_eq!(error.to_string(), "`small`: the gradient has 11 elements, the parameter 10");
    let error = adamw.values::<f16>(id).unwrap_err();
    assert_eq!(error.to_string(), "`small`: the values on the device are float32, not float16");
    let mut other = HostAdamW::new(&allocator, AdamWConfig::default(), config).unwrap();
    assert!(matches!(other.gradient_ready(id, &buffer(10)), Err(OffloadError::Unknown)));
    assert!(adamw.set_learning_rate(f64::NAN).unwrap_err().to_string().contains("`small`"));
    adamw.set_learning_rate(0.5).unwrap();
}

#[test]
fn a_step_is_done_once_whatever_call_fails() {
    with_every_call_failing(|device, allocator, n| {
        let config = HostOptimizerConfig {
            host_capacity: Bytes::mib(64),
            timed: false,
            ..Default::default()
        };
        let settings = SgdConfig { lr: 1.0, momentum: 0.5, ..SgdConfig::default() };
        let mut sgd = HostSgd::new(allocator, settings, config).unwrap();
        let buffer = |value: f32| DeviceBuffer::filled(allocator, 3000, value, HOME).unwrap();
        let ids = ["a", "b", "c"].map(|name| sgd.add(name, buffer(1.0)).unwrap());
        let mut gradients = vec![buffer(1.0), buffer(2.0), buffer(3.0)];
        device.fail(n);
        let check = |error: &OffloadError| {
            let words = error.to_string();
            assert!(words.contains("on demand") && words.starts_with('`'), "call {n}: {words}");
        };
        for (&id, gradient) in ids.iter().zip(&gradients) {
            while let Err(error) = sgd.gradient_ready(id, gradient) {
                check(&error);
            }
        }
        gradients.clear();
        while let Err(error) = sgd.step() {
            check(&error);
        }
        let calls = device.calls();
        device.fail(0);
        for (id, expected) in ids.into_iter().zip([0.0, -1.0, -2.0]) {
            let values = sgd.values::<f32>(id).unwrap().to_vec().unwrap();
            assert!(values == vec![expected; 3000], "call {n}: {expected}");
        }
        calls
    });
}
