//! What PyTorch does not have: floor, cap, hysteresis, a look at the product, decisions left to the
//! device.

use std::convert::Infallible;

use freeboard_device::Compute;
use freeboard_device_cuda::CudaDevice;
use freeboard_grad_scaler::{
    Bad, Change, FusedOptimizer, GradScaler, Hysteresis, Optimizer, Outcome, Predicate, Refill,
    ScalerConfig, ScalerError, StepError, Tensors,
};
use freeboard_grad_scaler::{Numbers, Rule};
use proptest::prelude::*;

use crate::bench::{Allocator, Counter, fake, host, iterate, scaler};

const INF: f32 = f32::INFINITY;

#[test]
fn the_scale_stays_at_its_floor_and_the_step_says_so() {
    let allocator = host();
    let config = ScalerConfig { initial_scale: 4.0, floor: Some(1.5), ..ScalerConfig::default() };
    let mut scaler = scaler(&allocator, config);
    let id = scaler.add_optimizer("sgd");
    let mut counter = Counter::new(&allocator, &[&[INF]]);
    let mut step = |wanted: f32, change| {
        scaler.start().unwrap();
        counter.set(0, &[INF]);
        let outcome = scaler.step(id, &mut counter).unwrap();
        assert_eq!(scaler.update().unwrap(), Some(change));
        assert_eq!(scaler.scale_factor().unwrap(), wanted);
        outcome
    };
    assert!(matches!(step(2.0, Change::BackedOff), Outcome::Skipped(_)));
    assert!(matches!(step(1.5, Change::BackedOff), Outcome::Skipped(_)));
    let Outcome::AtFloor(skip) = step(1.5, Change::AtFloor) else { panic!() };
    assert_eq!(skip.first.unwrap().what, Bad::Infinite);
    assert_eq!(scaler.stats().unwrap().at_floor, 1);
}

#[test]
fn a_product_that_overflows_is_found_if_that_is_asked_for() {
    for (check_after, scale) in [(false, 0.5), (true, 0.5)] {
        let allocator = host();
        let config = ScalerConfig { initial_scale: scale, check_after, ..ScalerConfig::default() };
        let mut scaler = scaler(&allocator, config);
        let id = scaler.add_optimizer("sgd");
        let mut counter = Counter::new(&allocator, &[&[1.0, 3e38_f32]]);
        scaler.start().unwrap();
        let outcome = scaler.step(id, &mut counter).unwrap();
        let what = outcome.skip().map(|skip| skip.first.clone().unwrap());
        let overflow = what.map(|first| (first.index, first.what));
        assert_eq!(overflow, check_after.then_some((1, Bad::Overflow)));
    }
}

/// An optimizer whose kernels are left out: it notes the predicate.
struct Noting<D: Compute> {
    counter: Counter<f32, D>,
    seen: Option<Predicate>,
}

impl<D: Compute> Optimizer for Noting<D> {
    type Output = ();
    type Error = Infallible;

    fn gradients<'a>(&'a mut self, list: &mut Tensors<'a>) -> Result<(), ScalerError> {
        self.counter.gradients(list)
    }

    fn is_fused(&self) -> bool {
        true
    }

    fn step(&mut self) -> Result<(), Infallible> {
        self.counter.step()
    }
}

impl<D: Compute> FusedOptimizer for Noting<D> {
    fn step_if(&mut self, predicate: Predicate) -> Result<(), Infallible> {
        self.seen = Some(predicate);
        self.counter.step()
    }
}

fn leave_to_device<D: Compute + Send + Sync + 'static>(
    scaler: &mut GradScaler<D>,
    allocator: &Allocator<D>,
) {
    let id = scaler.add_optimizer("adam");
    let counter = Counter::new(allocator, &[&[1.0_f32, 2.0]]);
    let mut noting = Noting { counter, seen: None };
    scaler.start().unwrap();

    scaler.step_fused(id, &mut noting).unwrap();
    assert!(noting.seen.unwrap().inverse_scale.is_some());
    assert_eq!(noting.counter.get(0), [1.0, 2.0], "they are unscaled by the optimizer");
    let again = scaler.step_fused(id, &mut noting).unwrap_err();
    assert!(matches!(again, StepError::Scaler(ScalerError::AlreadyStepped { .. })), "{again}");
    assert_eq!(scaler.update().unwrap(), None, "what was found is the device's to know");

    noting.counter.set(0, &[1.0, f32::NAN]);
    scaler.step_fused(id, &mut noting).unwrap();
    assert_eq!(scaler.update().unwrap(), None);
    let stats = scaler.stats().unwrap();
    assert_eq!((stats.scale, stats.updates, stats.skipped), (32_768.0, 2, 1));
    let history: Vec<_> = scaler.history().map(|change| (change.from, change.to)).collect();
    assert_eq!(history, [(65_536.0, 32_768.0)]);

    noting.counter.set(0, &[32_768.0, 0.0]);
    scaler.unscale(id, &mut noting).unwrap();
    assert_eq!(noting.counter.get(0), [1.0, 0.0]);
    scaler.step_fused(id, &mut noting).unwrap();
    assert_eq!(noting.seen.unwrap().inverse_scale, None);
    scaler.update().unwrap();
    assert_eq!(scaler.stats().unwrap().growth_tracker, 1);
}

#[test]
fn a_decision_may_be_left_to_the_host_device() {
    let allocator = host();
    leave_to_device(&mut scaler(&allocator, ScalerConfig::default()), &allocator);
}

#[test]
fn a_decision_may_be_left_to_a_gpu() {
    let (_fake, allocator) = fake();
    leave_to_device(&mut scaler(&allocator, ScalerConfig::default()), &allocator);
}

#[test]
fn an_iteration_left_to_a_gpu_makes_two_launches_and_no_other_call_for_work() {
    let (fake, allocator) = fake();
    let mut scaler: GradScaler<CudaDevice> = scaler(&allocator, ScalerConfig::default());
    let id = scaler.add_optimizer("adam");
    let mut noting = Noting { counter: Counter::new(&allocator, &[&[1.0_f32]]), seen: None };
    scaler.start().unwrap();
    for _ in 0..3 {
        fake.reset_counters();
        scaler.step_fused(id, &mut noting).unwrap();
        scaler.update().unwrap();
        let context = ["cuCtxGetCurrent", "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2"];
        let context: u64 = context.iter().map(|name| fake.calls(name)).sum();
        let found = ["cuModuleGetFunction", "cuModuleLoadData"];
        let found: u64 = found.iter().map(|name| fake.calls(name)).sum();
        assert_eq!(fake.calls("cuLaunchKernel"), 2);
        assert_eq!(fake.total_calls() - context - found, 2);
    }
}

fn rules() -> impl Strategy<Value = ScalerConfig> {
    let bounds = (
        prop::option::of(prop::sample::select(vec![0.5_f32, 1.0, 64.0])),
        prop::option::of(prop::sample::select(vec![65_536.0_f32, 1e6, f32::MAX])),
    );
    let refill = prop::sample::select(vec![Refill::OnGrowth, Refill::OnCleanStep]);
    let hysteresis = prop::option::of((1..4_u32, refill));
    (bounds, hysteresis, 1..5_u32, prop::sample::select(vec![2.0, 1.5, 1e20])).prop_map(
        |((floor, cap), hysteresis, growth_interval, growth_factor)| ScalerConfig {
            floor,
            cap,
            hysteresis: hysteresis.map(|(count, refill)| Hysteresis { count, refill }),
            growth_interval,
            growth_factor,
            ..ScalerConfig::default()
        },
    )
}

fn follows_the_rule<D: Compute + Send + Sync + 'static>(
    allocator: &Allocator<D>,
    config: &ScalerConfig,
    found: &[bool],
) {
    let rule = Rule::new(config).unwrap();
    let mut numbers: Numbers = rule.start();
    let mut known = scaler(allocator, config.clone());
    let mut left = scaler(allocator, config.clone());
    let ids = [known.add_optimizer("sgd"), left.add_optimizer("adam")];
    let mut counter = Counter::new(allocator, &[&[0.0]]);
    let mut noting = Noting { counter: Counter::new(allocator, &[&[0.0]]), seen: None };
    for &found in found {
        let gradient = if found { INF } else { 0.5 };
        assert_ne!(iterate(&mut known, ids[0], &mut counter, gradient), found);
        left.scale(Tensors::new()).unwrap();
        noting.counter.set(0, &[gradient]);
        left.step_fused(ids[1], &mut noting).unwrap();
        left.update().unwrap();
        numbers = rule.next(numbers, found).0;
        let stats = known.stats().unwrap();
        assert_eq!(stats.scale.to_bits(), numbers.scale.to_bits());
        assert_eq!(stats.growth_tracker, numbers.growth_tracker);
        assert_eq!(stats.hysteresis, numbers.hysteresis);
    }
    assert_eq!(left.stats().unwrap(), known.stats().unwrap(), "the device counted alike");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn host_and_devices_follow_the_same_rule(
        config in rules(),
        found in prop::collection::vec(prop::bool::weighted(0.3), 1..40),
    ) {
        follows_the_rule(&host(), &config, &found);
        follows_the_rule(&fake().1, &config, &found);
    }
}
