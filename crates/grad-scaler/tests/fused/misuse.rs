//! What makes no sense is an error that says so, and changes nothing.

use freeboard_device::{Memory, Order};
use freeboard_grad_scaler::fused::{FloatBuffer, Parameter, Settings};
use freeboard_grad_scaler::{
    AdamWConfig, Casts, Fused, FusedAdamW, FusedError, FusedOptimizer, FusedSgd, MasterWeights,
    Predicate, Rounding, SgdConfig,
};
use freeboard_units::Address;
use half::{bf16, f16};

use crate::common::caller;

fn refused<S: Settings>(settings: S) -> String {
    let world = caller();
    Fused::new(&world.allocator, world.stream, settings).unwrap_err().to_string()
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let adam = AdamWConfig::default();
    let sgd = SgdConfig::default();
    let lr = "it must be finite and not negative";
    assert_eq!(refused(AdamWConfig { lr: f64::NAN, ..adam }), format!("lr of NaN: {lr}"));
    assert_eq!(refused(SgdConfig { lr: -1.0, ..sgd }), format!("lr of -1: {lr}"));
    assert_eq!(refused(SgdConfig { lr: f64::INFINITY, ..sgd }), format!("lr of inf: {lr}"));
    let beta = "it must be 0 or more and below 1";
    for (betas, said) in [((1.0, 0.9), "betas.0 of 1"), ((0.9, -0.1), "betas.1 of -0.1")] {
        assert_eq!(refused(AdamWConfig { betas, ..adam }), format!("{said}: {beta}"));
    }
    let betas = (0.9, f64::NAN);
    assert_eq!(refused(AdamWConfig { betas, ..adam }), format!("betas.1 of NaN: {beta}"));
    assert!(refused(AdamWConfig { eps: -1e-8, ..adam }).starts_with("eps of"));
    assert!(refused(AdamWConfig { weight_decay: -1.0, ..adam }).starts_with("weight_decay of"));
    assert!(refused(SgdConfig { momentum: -0.9, ..sgd }).starts_with("momentum of"));
    assert!(refused(SgdConfig { dampening: f64::NAN, ..sgd }).starts_with("dampening of"));
    assert!(refused(SgdConfig { nesterov: true, ..sgd }).starts_with("momentum of 0"));
    let nesterov = SgdConfig { nesterov: true, momentum: 0.9, dampening: 0.1, ..sgd };
    assert!(refused(nesterov).starts_with("dampening of 0.1"));
}

#[test]
fn buffers_that_do_not_fit_are_refused() {
    let world = caller();
    let (allocator, stream) = (&world.allocator, world.stream);
    let mut sgd = FusedSgd::new(allocator, stream, SgdConfig::default()).unwrap();
    let group = sgd.first_group();
    let parameter = Parameter::new("w", world.buffer(&[1.0_f32; 4]));
    let error = sgd.add(group, parameter.with_gradient(world.buffer(&[f16::ONE; 3]))).unwrap_err();
    assert_eq!(error.to_string(), "w: the gradient has 3 elements, the parameter 4");
    let parameter = Parameter::new("w", world.buffer(&[1.0_f32; 4]));
    let error = sgd.add(group, parameter.with_copy(world.buffer(&[bf16::ONE; 5]))).unwrap_err();
    assert!(matches!(error, FusedError::Length { what: "copy", len: 5, expected: 4, .. }));

    let id = sgd.add_parameter("w", world.buffer(&[1.0_f32; 4])).unwrap();
    let short = FloatBuffer::from(world.buffer(&[1.0_f32; 2]));
    assert!(matches!(sgd.set_gradient(id, Some(short)), Err(FusedError::Length { len: 2, .. })));
    let error = sgd.gradient_mut::<f16>(id).unwrap_err().to_string();
    assert_eq!(error, "w: the gradient is float32, not float16");
    let error = sgd.copy::<bf16>(id).unwrap_err().to_string();
    assert_eq!(error, "w: the copy is none, not bfloat16");

    let elsewhere = allocator.device().create_stream().unwrap();
    let values = freeboard_buffer::DeviceBuffer::<f32, _>::zeroed(allocator, 1, elsewhere).unwrap();
    let error = sgd.add_parameter("v", values).unwrap_err();
    assert!(matches!(error, FusedError::WrongStream { what: "parameter", .. }), "{error}");
    assert_eq!(sgd.parameters().count(), 1, "what was refused is not there");
}

#[test]
fn names_of_another_optimizer_are_refused() {
    let world = caller();
    let (allocator, stream) = (&world.allocator, world.stream);
    let config = AdamWConfig::default();
    let mut one = FusedAdamW::new(allocator, stream, config).unwrap();
    let mut other = FusedAdamW::new(allocator, stream, config).unwrap();
    let id = one.add_parameter("w", world.buffer(&[1.0_f32])).unwrap();
    let group = one.first_group();
    assert!(matches!(other.values(id), Err(FusedError::Unknown { what: "parameter" })));
    assert!(matches!(other.steps(group), Err(FusedError::Unknown { what: "group" })));
    assert!(other.set_learning_rate(group, 1.0).is_err());
    assert!(one.set_learning_rate(group, f64::NAN).is_err());
    assert_eq!(one.settings(group).unwrap(), config);
    for _ in 1..64 {
        one.add_group(config).unwrap();
    }
    assert!(matches!(one.add_group(config), Err(FusedError::TooManyGroups { most: 64 })));
}

#[test]
fn a_scaler_elsewhere_is_refused() {
    let world = caller();
    let (allocator, stream) = (&world.allocator, world.stream);
    let mut sgd = FusedSgd::new(allocator, stream, SgdConfig::default()).unwrap();
    let (device, found) = (allocator.device().id(), Address::NULL);
    let stream = allocator.device().create_stream().unwrap();
    let predicate = Predicate { device, stream, found, inverse_scale: None };
    assert!(matches!(sgd.step_if(predicate), Err(FusedError::Scaler { .. })));
}

#[test]
fn casts_that_do_not_fit_are_refused() {
    let world = caller();
    let (from, mut to) = (world.buffer(&[1.0_f32; 2]), world.buffer(&[f16::ONE; 3]));
    let error = Casts::new().down("w", from.view(), to.view_mut()).unwrap_err();
    assert_eq!(error.to_string(), "w: the source has 2 elements, the parameter 3");
    let elsewhere = world.allocator.device().create_stream().unwrap();
    let other =
        freeboard_buffer::DeviceBuffer::<bf16, _>::zeroed(&world.allocator, 1, elsewhere).unwrap();
    let mut weights = MasterWeights::new(Rounding::Nearest);
    let id = weights.add("w", world.buffer(&[bf16::ONE])).unwrap();
    let error = weights.add("v", other).unwrap_err();
    assert!(matches!(error, FusedError::WrongStream { .. }), "{error}");
    let mut none = MasterWeights::<bf16, _>::new(Rounding::Nearest);
    assert!(matches!(none.master_mut(id), Err(FusedError::Unknown { .. })));
    none.add("v", world.buffer(&[bf16::ONE])).unwrap();
    Casts::<freeboard_device_host::HostDevice>::new().run(Rounding::Nearest, 0).unwrap();
}
