//! The scaler and autocast on candle's tensors: as the crates behind them, used directly.

#![allow(clippy::unwrap_used, reason = "a test that cannot run candle has failed")]

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, Var, WithDType};
use candle_nn::{AdamW, Linear, Module, Optimizer, SGD, VarBuilder, VarMap};
use freeboard_candle::autocast::{self, Dtype, Scope};
use freeboard_candle::{Error, Outcome, Random, Scaler, ScalerConfig, named_variables};
use freeboard_grad_scaler::{Float, GradScaler, ScalerError, Tensors};
use half::{bf16, f16};
use proptest::prelude::*;

fn config() -> ScalerConfig {
    ScalerConfig { growth_interval: 2, f16_gradients: true, ..ScalerConfig::default() }
}

/// A store with this gradient for the variable.
fn store(variable: &Var, gradient: &Tensor) -> GradStore {
    let mut store = variable.sum_all().unwrap().backward().unwrap();
    store.insert(variable, gradient.clone());
    store
}

/// What the scaler's gradients are set to.
#[derive(Clone, Copy, Debug)]
enum Step {
    Clean,
    Infinite(usize),
    NotANumber(usize),
    UnscaledFirst,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Clean),
        Just(Step::Clean),
        (0..5_usize).prop_map(Step::Infinite),
        (0..5_usize).prop_map(Step::NotANumber),
        Just(Step::UnscaledFirst),
    ]
}

/// Any optimizer: it remembers the gradients it was given.
struct Recorder(Vec<Vec<f64>>, Var);

impl Optimizer for Recorder {
    type Config = Var;

    fn new(_: Vec<Var>, variable: Var) -> Result<Self> {
        Ok(Self(Vec::new(), variable))
    }

    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        let gradient = gradients.get(&self.1).unwrap().to_dtype(DType::F64)?;
        self.0.push(gradient.flatten_all()?.to_vec1()?);
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        0.0
    }

    fn set_learning_rate(&mut self, _: f64) {}
}

/// A step of the scaler behind it, on a slice.
struct Slice<'a, T>(&'a mut Vec<T>, bool);

impl<T: Float> freeboard_grad_scaler::Optimizer for Slice<'_, T> {
    type Output = ();
    type Error = std::convert::Infallible;

    fn gradients<'a>(&'a mut self, list: &mut Tensors<'a>) -> std::result::Result<(), ScalerError> {
        list.push_slice("w", &mut self.0[..]);
        Ok(())
    }

    fn step(&mut self) -> std::result::Result<(), Self::Error> {
        self.1 = true;
        Ok(())
    }
}

/// The same steps by the scaler and by that behind it.
fn side_by_side<T: Float + WithDType>(
    steps: &[Step],
    seed: u64,
) -> std::result::Result<(), TestCaseError> {
    let device = Device::Cpu;
    let variable = Var::zeros((1, 5), <T as WithDType>::DTYPE, &device).unwrap();
    let mut ours = Scaler::new(config()).unwrap();
    let id = ours.add_optimizer("o", named(&variable));
    let mut direct = GradScaler::on_host(config()).unwrap();
    let direct_id = direct.add_optimizer("o");
    let mut recorder = Recorder::new(Vec::new(), variable.clone()).unwrap();
    for (number, step) in steps.iter().enumerate() {
        let loss = Tensor::new(1.5_f32, &device).unwrap();
        let scaled = ours.scale(&loss).unwrap().to_scalar::<f32>().unwrap();
        prop_assert_eq!(scaled.to_bits(), (direct.start().unwrap() * 1.5).to_bits());

        let place = Random::new(seed).fork(number as u64);
        let mut numbers: Vec<T> =
            (0..5).map(|it| T::from_f64(f64::from(place.uniform(it) * 900.0))).collect();
        match *step {
            Step::Infinite(place) => numbers[place] = T::from_f64(f64::INFINITY),
            Step::NotANumber(place) => numbers[place] = T::from_f64(f64::NAN),
            Step::Clean | Step::UnscaledFirst => {}
        }
        let gradient = Tensor::from_slice(&numbers, (1, 5), &device).unwrap();
        let mut gradients = store(&variable, &gradient);
        if matches!(step, Step::UnscaledFirst) {
            ours.unscale(id, &mut gradients).unwrap();
        }
        let outcome = ours.step(id, &mut recorder, &mut gradients).unwrap();
        let mut slice = Slice(&mut numbers, false);
        prop_assert_eq!(outcome, direct.step(direct_id, &mut slice).unwrap());
        if slice.1 {
            let bits = |number: f64| number.to_bits();
            let expected: Vec<u64> = numbers.iter().map(|number| bits(number.to_f64())).collect();
            let given = recorder.0.last().unwrap().iter().map(|&number| bits(number));
            prop_assert_eq!(given.collect::<Vec<u64>>(), expected);
        }
        prop_assert_eq!(ours.update().unwrap(), direct.update().unwrap());
        prop_assert_eq!(ours.inner().save().unwrap(), direct.save().unwrap());
    }
    Ok(())
}

proptest! {
    #[test]
    fn scale_gradients_and_skips_are_those_of_the_scaler_behind_it(
        steps in prop::collection::vec(step(), 1..12),
        seed in any::<u64>(),
    ) {
        side_by_side::<f64>(&steps, seed)?;
        side_by_side::<f32>(&steps, seed)?;
        side_by_side::<f16>(&steps, seed)?;
        side_by_side::<bf16>(&steps, seed)?;
    }
}

fn named(variable: &Var) -> Vec<(String, Var)> {
    vec![("w".into(), variable.clone())]
}

#[test]
fn a_skip_leaves_the_optimizer_and_the_variables_untouched() {
    let map = VarMap::new();
    let builder = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let layer = candle_nn::linear(3, 2, builder.pp("layer")).unwrap();
    let mut adam = AdamW::new_lr(map.all_vars(), 0.1).unwrap();
    let mut scaler = Scaler::new(config()).unwrap();
    let names = named_variables(&map);
    assert_eq!(
        names.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(),
        ["layer.bias", "layer.weight"]
    );
    let id = scaler.add_optimizer("adam", names);
    let before = layer.weight().to_vec2::<f32>().unwrap();
    let mut pass = |factor: f64| {
        let x = (Tensor::ones((1, 3), DType::F32, &Device::Cpu).unwrap() * factor).unwrap();
        let loss = layer.forward(&x).unwrap().sum_all().unwrap();
        let mut gradients = scaler.scale(&loss).unwrap().backward().unwrap();
        let outcome = scaler.step(id, &mut adam, &mut gradients).unwrap();
        scaler.update().unwrap();
        outcome
    };
    let outcome = pass(f64::INFINITY);
    assert_eq!(outcome.skip().unwrap().to_string(), "layer.weight[0] on device 0 is infinite");
    assert_eq!(layer.weight().to_vec2::<f32>().unwrap(), before);
    assert_eq!(pass(1.0), Outcome::Stepped(()));
    assert_ne!(layer.weight().to_vec2::<f32>().unwrap(), before);
}

#[test]
fn calls_in_the_wrong_order_are_refused_and_change_nothing() {
    let variable = Var::new(&[1.0_f32, 2.0], &Device::Cpu).unwrap();
    let mut sgd = SGD::new(vec![variable.clone()], 1.0).unwrap();
    let mut scaler = Scaler::new(ScalerConfig::default()).unwrap();
    let mut other = Scaler::new(ScalerConfig::default()).unwrap();
    let foreign = other.add_optimizer("other", named(&variable));
    let id = scaler.add_optimizer("sgd", named(&variable));
    let mut gradients = store(&variable, &Tensor::new(&[65536.0_f32, 0.0], &Device::Cpu).unwrap());
    let error = scaler.step(id, &mut sgd, &mut gradients).unwrap_err();
    assert!(matches!(error, Error::Scaler(ScalerError::NotStarted { .. })));
    scaler.scale(&variable.sum_all().unwrap()).unwrap();
    let error = scaler.step(foreign, &mut sgd, &mut gradients).unwrap_err();
    assert!(matches!(error, Error::Scaler(ScalerError::UnknownOptimizer)));
    scaler.unscale(id, &mut gradients).unwrap();
    let error = scaler.unscale(id, &mut gradients).unwrap_err();
    assert!(matches!(error, Error::Scaler(ScalerError::AlreadyUnscaled { .. })));
    assert_eq!(gradients.get(&variable).unwrap().to_vec1::<f32>().unwrap(), [1.0, 0.0]);
    assert_eq!(scaler.step(id, &mut sgd, &mut gradients).unwrap(), Outcome::Stepped(()));
    assert_eq!(variable.to_vec1::<f32>().unwrap(), [0.0, 2.0]);
}

#[test]
fn types_that_cannot_be_scaled_are_refused() {
    let variable = Var::zeros(2, DType::F16, &Device::Cpu).unwrap();
    let mut scaler = Scaler::new(ScalerConfig::default()).unwrap();
    let id = scaler.add_optimizer("o", named(&variable));
    let ids = Tensor::zeros((), DType::U32, &Device::Cpu).unwrap();
    assert!(matches!(scaler.scale(&ids), Err(Error::Type { .. })));
    let half = Tensor::new(f16::ONE, &Device::Cpu).unwrap();
    assert_eq!(
        scaler.scale(&half).unwrap().to_scalar::<f32>().unwrap().to_bits(),
        65536_f32.to_bits()
    );
    let mut gradients = store(&variable, &variable.ones_like().unwrap());
    let error = scaler.unscale(id, &mut gradients).unwrap_err();
    assert!(matches!(error, Error::Scaler(ScalerError::F16Gradients { .. })));
    let mut gradients = store(&variable, &Tensor::zeros(2, DType::U32, &Device::Cpu).unwrap());
    let error = scaler.unscale(id, &mut gradients).unwrap_err();
    assert_eq!(
        error.to_string(),
        "w: elements of U32 are not supported; f64, f32, f16 and bf16 are"
    );
}

#[test]
fn autocast_casts_as_the_rules_say_and_gradients_come_back() {
    let x = Var::new(&[[1.0_f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
    let ids = Tensor::zeros((2, 2), DType::U32, &Device::Cpu).unwrap();
    let layer = Linear::new(x.as_tensor().clone(), Some(x.get(0).unwrap()));
    for (lower, dtype) in [(Dtype::BF16, DType::BF16), (Dtype::F16, DType::F16)] {
        Scope::new(lower).unwrap().run(|| {
            let y = autocast::matmul(&x, &x).unwrap();
            assert_eq!(y.dtype(), dtype);
            assert_eq!(autocast::linear(&layer, &x).unwrap().dtype(), dtype);
            // PyTorch's list for the CPU does not have it; that of CUDA says f32.
            assert_eq!(autocast::softmax(&y, 1).unwrap().dtype(), dtype);
            let cast = autocast::cast_args("matmul", &[&x, &ids]).unwrap();
            assert_eq!((cast[0].dtype(), cast[1].dtype()), (dtype, DType::U32));
            let double = x.to_dtype(DType::F64).unwrap();
            assert_eq!(autocast::cast_args("matmul", &[&double]).unwrap()[0].dtype(), DType::F64);
            let gradients = y.sum_all().unwrap().backward().unwrap();
            assert_eq!(gradients.get(&x).unwrap().dtype(), DType::F32);
        });
    }
    assert_eq!(autocast::matmul(&x, &x).unwrap().dtype(), DType::F32);
}
