//! Wrong calls and bad input: each a typed error, and nothing changed.

use freeboard_device::Order;
use freeboard_device_host::HostDevice;
use freeboard_grad_scaler::{
    ConfigError, GradScaler, Layout, RawTensor, ScalerConfig, ScalerError, StepError, Tensors,
};
use freeboard_units::{Address, DeviceId, Dtype, StreamId};

use crate::bench::{Counter, fake, host, host_number, scaler};

fn error<T: std::fmt::Debug>(
    result: Result<T, StepError<std::convert::Infallible>>,
) -> ScalerError {
    match result.unwrap_err() {
        StepError::Scaler(error) => error,
        StepError::Optimizer(never) => match never {},
    }
}

#[test]
fn calls_in_the_wrong_order_are_refused_in_pytorchs_words_and_change_nothing() {
    let allocator = host();
    let mut scaler = scaler(&allocator, ScalerConfig::default());
    let id = scaler.add_optimizer("adam");
    let mut counter = Counter::new(&allocator, &[&[65_536.0_f32]]);
    let not_started = |error: &ScalerError| matches!(error, ScalerError::NotStarted { .. });
    assert!(not_started(&scaler.unscale(id, &mut counter).unwrap_err()));
    assert!(not_started(&error(scaler.step(id, &mut counter))));
    assert!(not_started(&scaler.update().unwrap_err()));
    assert!(not_started(&scaler.update_to(2.0).unwrap_err()));

    scaler.start().unwrap();
    let early = scaler.update().unwrap_err();
    assert!(matches!(early, ScalerError::NoInfChecks { call: "update", .. }), "{early}");
    scaler.unscale(id, &mut counter).unwrap();
    let twice = scaler.unscale(id, &mut counter).unwrap_err();
    assert!(twice.to_string().starts_with("adam: `unscale` was already called"), "{twice}");
    assert_eq!(counter.get(0), [1.0]);
    assert!(scaler.step(id, &mut counter).unwrap().stepped().is_some());
    let late = scaler.unscale(id, &mut counter).unwrap_err();
    assert!(matches!(late, ScalerError::UnscaleAfterStep { .. }), "{late}");
    let again = error(scaler.step(id, &mut counter));
    assert!(matches!(again, ScalerError::AlreadyStepped { .. }), "{again}");
    assert_eq!(counter.runs, 1);
    scaler.update().unwrap();
    assert_eq!(scaler.stats().unwrap().growth_tracker, 1);
}

#[test]
fn a_step_without_gradients_says_so() {
    let allocator = host();
    let mut scaler = scaler(&allocator, ScalerConfig::default());
    let id = scaler.add_optimizer("adam");
    let mut counter = Counter::<f32, HostDevice>::new(&allocator, &[]);
    scaler.start().unwrap();
    let empty = error(scaler.step(id, &mut counter));
    assert!(matches!(empty, ScalerError::NoInfChecks { call: "step", .. }), "{empty}");
    assert_eq!(counter.runs, 0);
}

#[test]
fn an_optimizer_of_another_scaler_is_unknown() {
    let allocator = host();
    let mut ours = scaler(&allocator, ScalerConfig::default());
    let theirs = scaler(&allocator, ScalerConfig::default()).add_optimizer("adam");
    ours.add_optimizer("adam");
    ours.start().unwrap();
    let mut counter = Counter::new(&allocator, &[&[1.0_f32]]);
    let unknown = ours.unscale(theirs, &mut counter).unwrap_err();
    assert!(matches!(unknown, ScalerError::UnknownOptimizer), "{unknown}");
    assert!(matches!(error(ours.step(theirs, &mut counter)), ScalerError::UnknownOptimizer));
    assert_eq!((counter.runs, counter.get(0)[0]), (0, 1.0));
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    let allocator = host();
    let good = ScalerConfig::default;
    let configs = [
        ScalerConfig { initial_scale: 0.0, ..good() },
        ScalerConfig { initial_scale: f64::NAN, ..good() },
        ScalerConfig { initial_scale: f64::INFINITY, ..good() },
        ScalerConfig { growth_factor: 1.0, ..good() },
        ScalerConfig { backoff_factor: 1.0, ..good() },
        ScalerConfig { backoff_factor: 0.0, ..good() },
        ScalerConfig { growth_interval: 0, ..good() },
        ScalerConfig { floor: Some(2.0), cap: Some(1.0), ..good() },
    ];
    for config in configs {
        let error = GradScaler::new(&allocator, StreamId::DEFAULT, config).unwrap_err();
        let ScalerError::Config(error) = error else { panic!("{error}") };
        assert!(matches!(error, ConfigError::Value { .. } | ConfigError::Order { .. }), "{error}");
    }
}

#[test]
fn a_scale_that_is_none_is_not_set() {
    let allocator = host();
    let mut scaler = scaler(&allocator, ScalerConfig::default());
    scaler.start().unwrap();
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let error = scaler.update_to(scale).unwrap_err();
        assert!(matches!(error, ScalerError::NewScale { .. }), "{error}");
    }
    assert_eq!(scaler.scale_factor().unwrap(), 65_536.0);
}

#[test]
fn tensors_that_cannot_be_scaled_are_refused() {
    let raw = RawTensor {
        address: Address::new(4096),
        len: 4,
        dtype: Dtype::F32,
        layout: Layout::Dense,
        device: DeviceId::new(0),
        stream: StreamId::DEFAULT,
    };
    let push = |raw| {
        let mut list = Tensors::new();
        // SAFETY: the list is given to nobody.
        unsafe { list.push_raw("embedding", raw) }.map(|()| list.len())
    };
    assert_eq!(push(raw).unwrap(), 1);
    let sparse = push(RawTensor { layout: Layout::Sparse, ..raw }).unwrap_err();
    assert!(matches!(sparse, ScalerError::Sparse { .. }), "{sparse}");
    let others = Dtype::ALL.iter().copied();
    let scalable = [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16];
    for dtype in others.filter(|dtype| !scalable.contains(dtype)) {
        let error = push(RawTensor { dtype, ..raw }).unwrap_err();
        assert!(matches!(error, ScalerError::NotScalable { .. }), "{error}");
    }
    let crooked = push(RawTensor { address: Address::new(4098), ..raw }).unwrap_err();
    assert!(matches!(crooked, ScalerError::Device(_)), "{crooked}");
}

#[test]
fn a_tensor_that_the_scaler_cannot_reach_is_refused_before_any_is_touched() {
    let (_fake, gpu) = fake();
    let mut on_gpu = scaler(&gpu, ScalerConfig::default());
    let id = on_gpu.add_optimizer("sgd");
    on_gpu.start().unwrap();
    let mut values = [1.0_f32];
    let mut list = Tensors::new();
    list.push_slice("p", &mut values);
    let error = on_gpu.unscale_tensors(id, list).unwrap_err();
    assert!(matches!(error, ScalerError::ProcessMemory { .. }), "{error}");

    let (here, elsewhere) = (host(), host_number(1));
    let mut on_host = scaler(&here, ScalerConfig::default());
    let id = on_host.add_optimizer("sgd");
    on_host.start().unwrap();
    let mut counter = Counter::new(&elsewhere, &[&[1.0_f32]]);
    let error = on_host.unscale(id, &mut counter).unwrap_err();
    assert!(matches!(error, ScalerError::UnknownDevice { .. }), "{error}");

    let stream = here.device().create_stream().unwrap();
    let mut counter = Counter::new(&here, &[&[1.0_f32], &[2.0]]);
    let mut list = Tensors::new();
    let [(first, a), (second, b)] = &mut counter.gradients[..] else { panic!() };
    list.push(first, a.view_mut()).unwrap();
    let mut lent = b.on_mut(stream).unwrap();
    list.push(second, lent.view_mut()).unwrap();
    let error = on_host.unscale_tensors(id, list).unwrap_err();
    assert!(matches!(error, ScalerError::WrongStream { .. }), "{error}");
    drop(lent);
    assert_eq!((counter.get(0), counter.get(1)), (vec![1.0], vec![2.0]));
}
