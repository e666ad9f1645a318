//! A driver that fails at any call: the scaler tells, and goes on as if nothing had been.

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_buffer::DeviceBuffer;
use freeboard_device_cuda::CudaDevice;
use freeboard_fake_cuda::Fake;
use freeboard_grad_scaler::{GradScaler, ScalerConfig, ScalerStats, StepError, Tensors};
use freeboard_units::StreamId;

use crate::bench::{Allocator, Counter, fake, scaler};

/// The driver's code for a failed launch.
const LAUNCH_FAILED: u32 = 719;

/// Repeats a call until it succeeds; tells how often it failed.
fn insist<T, E: std::fmt::Debug>(mut call: impl FnMut() -> Result<T, E>) -> (T, u32) {
    for failures in 0..3 {
        if let Ok(value) = call() {
            return (value, failures);
        }
    }
    panic!("it fails for good: {:?}", call().err());
}

/// Three iterations; the second one has an infinity. Returns what came of it, and the failures.
fn train(allocator: &Allocator<CudaDevice>) -> (ScalerStats, Vec<f32>, usize, u32) {
    let config = ScalerConfig { growth_interval: 2, ..ScalerConfig::default() };
    let mut failed = 0;
    let mut note = |failures: u32| failed += failures;
    let first = || DeviceBuffer::from_slice(allocator, &[1.0_f32, 2.0], StreamId::DEFAULT);
    let (first, failures) = insist(first);
    note(failures);
    let mut counter = Counter { gradients: vec![("a".to_owned(), first)], runs: 0 };
    let new = || GradScaler::new(allocator, StreamId::DEFAULT, config.clone());
    let (mut scaler, failures) = insist(new);
    note(failures);
    let id = scaler.add_optimizer("sgd");
    for gradient in [65_536.0, f32::INFINITY, 32_768.0, 65_536.0] {
        note(insist(|| scaler.scale(Tensors::new())).1);
        note(insist(|| set(&mut counter, gradient)).1);
        if gradient.to_bits() == 32_768.0_f32.to_bits() {
            note(insist(|| scaler.unscale(id, &mut counter)).1);
        }
        let step = || match scaler.step(id, &mut counter) {
            Err(StepError::Scaler(error)) => Err(error),
            Err(StepError::Optimizer(never)) => match never {},
            Ok(outcome) => Ok(outcome),
        };
        note(insist(step).1);
        note(insist(|| scaler.update()).1);
    }
    let (stats, failures) = insist(|| scaler.stats());
    note(failures);
    let (values, failures) = insist(|| counter.gradients[0].1.to_vec());
    note(failures);
    (stats, values, counter.runs, failed)
}

fn set(
    counter: &mut Counter<f32, CudaDevice>,
    gradient: f32,
) -> Result<(), freeboard_buffer::BufferError> {
    counter.gradients[0].1.copy_from_slice(&[gradient, 1.0])
}

#[test]
fn a_driver_call_that_fails_is_told_and_can_be_repeated() {
    let (driver, allocator) = fake();
    let (wanted, values, runs, failures) = train(&allocator);
    assert_eq!((failures, runs), (0, 3));
    assert_eq!((wanted.updates, wanted.skipped, wanted.grew), (4, 1, 1));
    driver.reset_counters();
    train(&allocator);
    let calls = driver.total_calls();
    assert!(calls > 50);
    let mut told = 0;
    for nth in 1..=calls {
        let (driver, allocator) = fresh();
        driver.fail_any(nth, LAUNCH_FAILED, 1);
        let (stats, ours, ran, failures) = train(&allocator);
        assert_eq!(stats, wanted, "call {nth} failed");
        assert_eq!((ours == values, ran), (true, runs), "call {nth} failed");
        told += failures;
        drop(allocator);
        driver.clear_failures();
        assert_eq!(driver.live().used, 0, "call {nth} failed");
    }
    assert!(told > 20, "only {told} failures were told");
}

/// A driver and an allocator whose cache is warm, so that the calls to fail are the scaler's.
fn fresh() -> (Fake, Allocator<CudaDevice>) {
    let (driver, allocator) = fake();
    let warm: Allocator<CudaDevice> =
        CachingAllocator::new(allocator.device().clone(), Config::pytorch()).unwrap().into();
    drop(allocator);
    drop(scaler(&warm, ScalerConfig::default()));
    (driver, warm)
}
