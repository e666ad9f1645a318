//! Scratch: times of planning.
#![allow(clippy::all, clippy::pedantic, clippy::print_stdout)]
use freeboard_checkpoint::*;
use freeboard_units::Bytes;
use std::time::Instant;
fn main() {
    let mut x = 12345u64;
    let mut rnd = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    for layers in std::env::args().skip(1).map(|a| a.parse::<usize>().unwrap()) {
        for kind in ["periodic"] {
            let ls: Vec<Layer> = (0..layers)
                .map(|i| {
                    let (f, o, s) = match kind {
                        "equal" => (1.0, 1_000_000, 12_000_000),
                        "periodic" => [
                            (1.0, 3_000_007, 9_000_011),
                            (2.5, 1_000_003, 12_000_001),
                            (0.7, 4_000_037, 8_123_456),
                        ][i % 3],
                        _ => {
                            (0.1 + (rnd() % 1000) as f64 / 500.0, 1_000_000 + rnd() % 5_000_000, 0)
                        }
                    };
                    let s = if s == 0 { o + rnd() % 20_000_000 } else { s };
                    Layer {
                        output_bytes: Bytes::new(o),
                        saved_bytes: Bytes::new(s),
                        forward_extra_bytes: Bytes::new(o / 3),
                        backward_extra_bytes: Bytes::new(o / 2),
                        ..Layer::new("x", f, 2.0 * f)
                    }
                })
                .collect();
            let chain = Chain::new(Bytes::new(1_000_000), ls).unwrap();
            let t = Instant::now();
            let least = least_bytes(&chain).unwrap();
            let tl = t.elapsed();
            let all = keep_all(&chain).peak_bytes;
            for part in [0.05] {
                let budget =
                    Bytes::new(least.get() + ((all.get() - least.get()) as f64 * part) as u64);
                let t = Instant::now();
                let a =
                    optimal_with(&chain, budget, Effort { slots: 500, exact_layers: 0 }).unwrap();
                let ta = t.elapsed();
                let t = Instant::now();
                let b =
                    optimal_with(&chain, budget, Effort { slots: 500, exact_layers: 100 }).unwrap();
                let tb = t.elapsed();
                println!(
                    "{layers} {kind} {part}: least {:.1?} grid {:.1?} {:.6} | all {:.1?} {:.6} {:?}",
                    tl,
                    ta,
                    a.plan.total_time / a.plan.ideal_time,
                    tb,
                    b.plan.total_time / b.plan.ideal_time,
                    b.proof == Proof::Exact
                );
            }
        }
    }
}
