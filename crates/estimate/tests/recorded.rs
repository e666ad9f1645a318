//! Estimates against recorded runs: what the programs asked of their allocator, byte by byte.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use freeboard_estimate::{
    Attention, Biases, Category, Checkpoint, Estimate, Experts, Mlp, Model, Norm, Positions,
    Precision, Step, Trainable, Training, Transformer, When, estimate, presets,
};
use freeboard_units::Bytes;

/// Settings without what recordings do not show.
fn bare(batch: u32, sequence: u32) -> Training {
    let none = Bytes::ZERO;
    Training { batch, sequence, workspace: none, context: none, ..Training::default() }
}

#[test]
fn show() {
    let run = |name: &str, t: Training| {
        let e = estimate(&Model::Transformer(presets::find(name).unwrap()), &t).unwrap();
        println!("{name} {} {}", t.batch, t.sequence);
        for m in &e.moments {
            println!("   {:?} {} ", m.when, m.total.get());
            for p in &m.parts {
                println!("       {:?} {} {}", p.category, p.bytes.get(), p.formula);
            }
        }
    };
    run("gpt2-xl", bare(8, 974));
}
