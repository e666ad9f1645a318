//! Several optimizers, several devices.

use freeboard_buffer::DeviceBuffer;
use freeboard_device::Compute;
use freeboard_grad_scaler::{
    Change, FusedOptimizer, GradScaler, Optimizer, Outcome, Predicate, ScalerConfig, ScalerError,
    StepError, Tensors,
};
use freeboard_units::{DeviceId, StreamId};

use crate::bench::{Allocator, Counter, fake, fake_number, host, host_number, scaler};

const NAN: f32 = f32::NAN;

#[test]
fn every_optimizer_has_a_stage_and_a_verdict_of_its_own() {
    let allocator = host();
    let mut scaler = scaler(&allocator, ScalerConfig::default());
    let mut optimizers: Vec<_> = (0..40)
        .map(|n| (scaler.add_optimizer(n.to_string()), Counter::new(&allocator, &[&[65_536.0]])))
        .collect();
    scaler.start().unwrap();
    // Added once the others have their records on the device.
    let late = scaler.add_optimizer("late");
    let mut counter = Counter::new(&allocator, &[&[1.0]]);
    for (n, (id, counter)) in optimizers.iter_mut().enumerate() {
        if n % 2 == 0 {
            scaler.unscale(*id, counter).unwrap();
        }
    }
    optimizers[7].1.set(0, &[NAN]);
    assert!(scaler.step(late, &mut counter).unwrap().stepped().is_some());
    for (n, (id, counter)) in optimizers.iter_mut().enumerate() {
        let stepped = scaler.step(*id, counter).unwrap().stepped().is_some();
        assert_eq!(stepped, n != 7, "optimizer {n}");
        assert_eq!(counter.get(0)[0].to_bits() == 1.0_f32.to_bits(), n != 7);
    }
    assert_eq!(scaler.update().unwrap(), Some(Change::BackedOff));
}

/// An optimizer with gradients on two devices.
struct Both<D: Compute>(Counter<f32, D>, Counter<f32, D>);

impl<D: Compute> Optimizer for Both<D> {
    type Output = ();
    type Error = std::convert::Infallible;

    fn gradients<'a>(&'a mut self, list: &mut Tensors<'a>) -> Result<(), ScalerError> {
        let gradients = self.0.gradients.iter_mut().chain(&mut self.1.gradients);
        let push = |list: &mut Tensors<'a>,
                    (name, buffer): &'a mut (String, DeviceBuffer<f32, D>)| {
            list.push(name, buffer.view_mut())
        };
        let mut gradients = gradients;
        gradients.try_for_each(|gradient| push(list, gradient))
    }

    fn step(&mut self) -> Result<(), Self::Error> {
        self.0.step()
    }
}

impl<D: Compute> FusedOptimizer for Both<D> {
    fn step_if(&mut self, _: Predicate) -> Result<(), Self::Error> {
        self.0.step()
    }
}

fn goes_over_devices<D: Compute + Send + Sync + 'static>(one: &Allocator<D>, two: &Allocator<D>) {
    let mut scaler: GradScaler<D> = scaler(one, ScalerConfig::default());
    scaler.add_device(two, StreamId::DEFAULT).unwrap();
    let known = scaler.add_device(two, StreamId::DEFAULT).unwrap_err();
    assert!(matches!(known, ScalerError::KnownDevice { .. }), "{known}");
    let id = scaler.add_optimizer("sgd");
    let other = scaler.add_optimizer("unscaled only");
    let mut both = Both(Counter::new(one, &[&[1.0]]), Counter::new(two, &[&[65_536.0], &[2.0]]));
    let mut lone = Counter::new(two, &[&[1.0]]);
    scaler.start().unwrap();

    both.1.set(1, &[NAN]);
    let outcome = scaler.step(id, &mut both).unwrap();
    let Outcome::Skipped(skip) = outcome else { panic!("{outcome:?}") };
    assert_eq!((skip.device, skip.first.unwrap().tensor.as_str()), (DeviceId::new(1), "b"));
    assert_eq!((both.0.get(0)[0], both.1.get(0)[0]), (1.0 / 65_536.0, 1.0));
    assert_eq!(scaler.update().unwrap(), Some(Change::BackedOff));

    // Found only on the second device, by an optimizer that does not step.
    lone.set(0, &[NAN]);
    both.1.set(1, &[1.0]);
    scaler.unscale(other, &mut lone).unwrap();
    assert!(scaler.step(id, &mut both).unwrap().stepped().is_some());
    assert_eq!(scaler.update().unwrap(), Some(Change::BackedOff));

    // Both devices have the same scale.
    both.0.set(0, &[16_384.0]);
    both.1.set(0, &[16_384.0]);
    scaler.unscale(id, &mut both).unwrap();
    assert_eq!((both.0.get(0), both.1.get(0)), (vec![1.0], vec![1.0]));
    scaler.update().unwrap();

    let error = scaler.step_fused(id, &mut both).unwrap_err();
    let several = matches!(error, StepError::Scaler(ScalerError::SeveralDevices { .. }));
    assert!(several, "{error}");
    let mut list = Tensors::new();
    list.push("b", both.1.gradients[1].1.view_mut()).unwrap();
    scaler.scale(list).unwrap();
}

#[test]
fn gradients_may_be_on_several_host_devices() {
    goes_over_devices(&host(), &host_number(1));
}

#[test]
fn gradients_may_be_on_several_gpus() {
    let (driver, one) = fake();
    driver.set_devices(2);
    goes_over_devices(&one, &fake_number(&driver, 1));
}
