//! Training, in any precision, with a scaler or without.

use std::error::Error;
use std::sync::Arc;

use freeboard::device::Order;
use freeboard::grad_scaler::fused::Parameter;
use freeboard::grad_scaler::{
    AdamWConfig, FusedAdamW, GradScaler, Outcome, ScalerConfig, ScalerStats,
};
use freeboard::{Bytes, CachingAllocator, Config, DeviceBuffer, HostDevice, StreamId};
use half::f16;

use crate::network::{Precision, first_weights, pass, shapes};
use crate::text::Text;

/// A scale at which gradients overflow.
const TOO_HIGH: f32 = 17_179_869_184.0; // 2^34

/// How to train.
pub(crate) struct Plan {
    pub(crate) steps: usize,
    pub(crate) scaler: ScalerConfig,
    /// The step before which the scale is set far too high.
    pub(crate) sabotage: Option<usize>,
}

/// What came of it.
pub(crate) struct Curve {
    losses: Vec<f32>,
    pub(crate) flushed: f64,
    pub(crate) skips: usize,
    pub(crate) stats: Option<ScalerStats>,
}

impl Curve {
    /// The means over 20 steps.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    pub(crate) fn means(&self) -> Vec<f32> {
        let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
        self.losses.chunks(20).map(mean).collect()
    }
}

/// A precision that a network can be trained in.
pub(crate) trait Trained: Precision {
    /// The weights that the network computes with.
    ///
    /// # Errors
    /// When the device fails.
    fn weights(adam: &FusedAdamW<HostDevice>) -> Result<Vec<Vec<Self>>, Box<dyn Error>>;
}

impl Trained for f32 {
    fn weights(adam: &FusedAdamW<HostDevice>) -> Result<Vec<Vec<Self>>, Box<dyn Error>> {
        adam.parameters().map(|id| Ok(adam.values(id)?.to_vec()?)).collect()
    }
}

impl Trained for f16 {
    fn weights(adam: &FusedAdamW<HostDevice>) -> Result<Vec<Vec<Self>>, Box<dyn Error>> {
        adam.parameters().map(|id| Ok(adam.copy::<f16>(id)?.to_vec()?)).collect()
    }
}

/// An optimizer with f32 masters of the network's weights and their f16 copies.
fn optimizer(
    allocator: &Arc<CachingAllocator<HostDevice>>,
    stream: StreamId,
    vocabulary: usize,
) -> Result<FusedAdamW<HostDevice>, Box<dyn Error>> {
    // Gradients are tiny here, and Adam divides by their size: so its epsilon must be, too.
    let config = AdamWConfig {
        lr: 0.003,
        betas: (0.9, 0.99),
        eps: 1e-15,
        weight_decay: 0.0,
        ..AdamWConfig::default()
    };
    let mut adam = FusedAdamW::new(allocator, stream, config)?;
    let group = adam.first_group();
    for (number, shape) in shapes(vocabulary).into_iter().enumerate() {
        let values = first_weights(shape, number as u64 + 1);
        let copy = DeviceBuffer::from_slice(allocator, &f16::narrow(&values), stream)?;
        let gradient = DeviceBuffer::<f32, _>::zeroed(allocator, values.len(), stream)?;
        let values = DeviceBuffer::from_slice(allocator, &values, stream)?;
        let parameter = Parameter::new(format!("weight {number}"), values);
        adam.add(group, parameter.with_gradient(gradient).with_copy(copy))?;
    }
    Ok(adam)
}

/// Trains a network from the start.
///
/// # Errors
/// When the device or the scaler fails.
#[expect(clippy::cast_precision_loss, reason = "counts, for a share")]
pub(crate) fn train<T: Trained>(name: &str, plan: Plan) -> Result<Curve, Box<dyn Error>> {
    let device = HostDevice::new(Bytes::mib(64))?;
    let stream = device.create_stream()?;
    let allocator = Arc::new(CachingAllocator::new(device, Config::default())?);
    let mut text = Text::new();
    let mut adam = optimizer(&allocator, stream, text.vocabulary)?;
    let mut scaler = GradScaler::new(&allocator, stream, plan.scaler)?;
    let id = scaler.add_optimizer("adam");
    let (mut losses, mut skips, mut flushed) = (Vec::new(), 0, (0, 0));
    println!("{name}: {} steps", plan.steps);
    for step in 0..plan.steps {
        let batch = text.batch();
        let mut sabotage = plan.sabotage == Some(step);
        loop {
            let weights = T::weights(&adam)?;
            let scale = scaler.start()?;
            let pass = pass::<T>(&weights, text.vocabulary, &batch, scale);
            for (parameter, gradient) in adam.parameters().zip(&pass.gradients) {
                adam.gradient_mut::<f32>(parameter)?.copy_from_slice(gradient)?;
            }
            let outcome = scaler.step(id, &mut adam)?;
            if std::mem::take(&mut sabotage) {
                scaler.update_to(TOO_HIGH)?;
                println!("  after step {step} the scale is set to {TOO_HIGH}, on purpose");
            } else {
                scaler.update()?;
            }
            if let Outcome::Skipped(skip) | Outcome::AtFloor(skip) = outcome {
                skips += 1;
                println!("  step {step} skipped: {skip}; scale {}", scaler.scale_factor()?);
                continue; // the same batch again, so that the curves can be compared
            }
            losses.push(pass.loss);
            flushed = (flushed.0 + pass.flushed.0, flushed.1 + pass.flushed.1);
            break;
        }
    }
    let stats = scaler.config().enabled.then(|| scaler.stats()).transpose()?;
    let flushed = flushed.0 as f64 / flushed.1 as f64;
    Ok(Curve { losses, flushed, skips, stats })
}
