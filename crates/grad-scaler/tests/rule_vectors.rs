//! The rule alone against every update of the programs that torch ran without an error.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use freeboard_grad_scaler::{Numbers, Rule, ScalerConfig};
use serde::Deserialize;

/// The file; its README.md says what is in it.
#[derive(Deserialize)]
struct Vectors {
    programs: Vec<Program>,
}

#[derive(Deserialize)]
struct Program {
    config: Config,
    optimizers: Vec<Vec<usize>>,
    ops: Vec<Op>,
}

#[derive(Deserialize)]
struct Config {
    init_scale: f64,
    growth_factor: f64,
    backoff_factor: f64,
    growth_interval: u32,
}

type Gradients = Vec<Option<Vec<String>>>;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Op {
    Scale {},
    Grads {
        optimizer: usize,
        grads: Gradients,
    },
    Unscale {
        optimizer: usize,
        error: Option<String>,
        grads: Gradients,
    },
    Step {
        optimizer: usize,
        error: Option<String>,
        stepped: bool,
        grads: Gradients,
    },
    Update {
        new_scale: Option<f64>,
        error: Option<String>,
        scale: Option<String>,
        growth_tracker: Option<i32>,
    },
}

fn number(bits: &str) -> f32 {
    f32::from_bits(u32::from_str_radix(bits.strip_prefix("0x").unwrap(), 16).unwrap())
}

fn any_not_finite(gradients: &Gradients) -> bool {
    gradients.iter().flatten().flatten().any(|bits| !number(bits).is_finite())
}

impl Op {
    fn failed(&self) -> bool {
        match self {
            Self::Scale {} | Self::Grads { .. } => false,
            Self::Unscale { error, .. } | Self::Step { error, .. } | Self::Update { error, .. } => {
                error.is_some()
            }
        }
    }
}

fn programs() -> Vec<Program> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/data/vectors/grad_scaler.pytorch-2.15.json.gz");
    let mut text = String::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    serde_json::from_str::<Vectors>(&text).unwrap().programs
}

/// What is known of one optimizer.
#[derive(Clone, Default)]
struct Optimizer {
    is_bad: bool,
    /// What its check found since the last update, once there was one.
    found: Option<bool>,
}

/// Follows a program; how many updates it made by the rule, and how many of them after a skip.
fn follow(program: &Program) -> (usize, usize) {
    let config = ScalerConfig {
        initial_scale: program.config.init_scale,
        growth_factor: program.config.growth_factor,
        backoff_factor: program.config.backoff_factor,
        growth_interval: program.config.growth_interval,
        ..ScalerConfig::default()
    };
    let rule = Rule::new(&config).unwrap();
    let mut numbers = rule.start();
    let mut optimizers = vec![Optimizer::default(); program.optimizers.len()];
    let mut counts = (0, 0);
    for op in &program.ops {
        match op {
            Op::Scale {} => {}
            Op::Grads { optimizer, grads } => optimizers[*optimizer].is_bad = any_not_finite(grads),
            Op::Unscale { optimizer, grads, .. } => {
                let optimizer = &mut optimizers[*optimizer];
                optimizer.found = Some(optimizer.is_bad);
                optimizer.is_bad = any_not_finite(grads);
            }
            Op::Step { optimizer, stepped, grads, .. } => {
                let optimizer = &mut optimizers[*optimizer];
                assert_eq!(*optimizer.found.get_or_insert(optimizer.is_bad), !stepped);
                optimizer.is_bad = any_not_finite(grads);
            }
            Op::Update { new_scale, scale, growth_tracker, .. } => {
                let found = optimizers.iter().any(|optimizer| optimizer.found == Some(true));
                numbers = match new_scale {
                    Some(new) => Numbers { scale: rounded(*new), ..numbers },
                    None => rule.next(numbers, found).0,
                };
                let scale = number(scale.as_ref().unwrap());
                assert_eq!(numbers.scale.to_bits(), scale.to_bits());
                assert_eq!(Some(numbers.growth_tracker), *growth_tracker);
                let is_counted = usize::from(new_scale.is_none());
                counts = (counts.0 + is_counted, counts.1 + is_counted * usize::from(found));
                for optimizer in &mut optimizers {
                    optimizer.found = None;
                }
            }
        }
    }
    counts
}

#[expect(clippy::cast_possible_truncation, reason = "torch fills an f32 with it")]
fn rounded(scale: f64) -> f32 {
    scale as f32
}

#[test]
fn every_update_of_a_program_without_errors_is_torchs() {
    let mut programs = programs();
    programs.retain(|program| !program.ops.iter().any(Op::failed));
    let counts = programs
        .iter()
        .map(follow)
        .fold((0, 0), |(updates, skips), (more, skipped)| (updates + more, skips + skipped));
    assert_eq!((programs.len(), counts), (180, (30_931, 5384)));
}
