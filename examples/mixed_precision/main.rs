//! A network trained three times on real text: in f32, in f16 with a gradient scaler, and in f16
//! without.
//!
//! It learns which character comes next in the first pages of *Alice's Adventures in Wonderland*
//! (Lewis Carroll, 1865), from the eight before it. Activations, gradients and the weights that the
//! network computes with are f16; sums are made in f32, as on a GPU's tensor cores. The optimizer
//! keeps f32 masters and writes their f16 copies. All buffers are on the host device.
//!
//! The loss is the mean over a batch of two million characters, as language models are trained; this
//! process has a small share of it. So its gradients are small, which f32 does not mind.

#![allow(clippy::print_stdout, reason = "it is there to be read")]

mod network;
mod text;
mod train;

use std::error::Error;

use freeboard::grad_scaler::ScalerConfig;
use half::f16;

use train::{Curve, Plan, train};

/// How far apart the curves of f32 and of f16 with a scaler may be, in nats: means over 20 steps.
const TOLERANCE: f32 = 0.03;
const STEPS: usize = 200;
/// The step before which the scale is set far too high, on purpose.
const SABOTAGE: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let off = ScalerConfig { enabled: false, ..ScalerConfig::default() };
    let on = ScalerConfig::default();
    let plan = |scaler, sabotage| Plan { steps: STEPS, scaler, sabotage };

    let single = train::<f32>("f32", plan(off.clone(), None))?;
    let scaled = train::<f16>("f16, scaled", plan(on, Some(SABOTAGE)))?;
    let bare = train::<f16>("f16, no scaler", plan(off, None))?;

    println!("\nloss, in nats a character (means over 20 steps)\n");
    println!("{:>6} {:>10} {:>12} {:>15}", "step", "f32", "f16, scaled", "f16, no scaler");
    let means = [&single, &scaled, &bare].map(Curve::means);
    for (row, ((a, b), c)) in means[0].iter().zip(&means[1]).zip(&means[2]).enumerate() {
        println!("{:>6} {a:>10.3} {b:>12.3} {c:>15.3}", row * 20);
    }
    println!();
    for (name, curve) in [("f32", &single), ("f16, scaled", &scaled), ("f16, no scaler", &bare)] {
        let flushed = 100.0 * curve.flushed;
        println!("{name:<15} {flushed:5.1} % of the activations' gradients became zero");
    }
    println!("\n{}", scaled.stats.ok_or("the scaler has statistics")?);

    let apart = means[0].iter().zip(&means[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("f16 with the scaler is at most {apart:.6} from f32 (allowed: {TOLERANCE})");
    let last = |row: &Vec<f32>| row.last().copied().unwrap_or(f32::NAN);
    let behind = last(&means[2]) - last(&means[0]);
    println!("f16 without it ends {behind:.2} above f32: its gradients are lost, it hardly learns");
    if apart > TOLERANCE {
        return Err("f16 with the scaler should have gone as f32".into());
    }
    if scaled.skips == 0 {
        return Err("the scale that was too high should have cost steps".into());
    }
    if behind.is_finite() && behind < 0.5 {
        return Err("f16 without a scaler should have failed".into());
    }
    Ok(())
}
