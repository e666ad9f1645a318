//! The rule against runs recorded from the real code of other projects, and against the rule of a
//! kernel that cannot run here.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::io::Read as _;

use flate2::read::GzDecoder;
use freeboard_grad_scaler::{Change, Hysteresis, Numbers, Refill, Rule, ScalerConfig};
use proptest::prelude::*;
use serde::{Deserialize, Deserializer};

/// A recorded run; `data/peers/README.md` says what is in it.
#[derive(Debug, Deserialize)]
struct Run {
    peer: String,
    initial_scale: Bits,
    growth_factor: Bits,
    backoff_factor: Bits,
    growth_interval: u32,
    floor: Bits,
    hysteresis: u32,
    on_clean_step: bool,
    refuse: bool,
    flags: String,
    raised: bool,
    scales: Vec<Bits>,
    trackers: Option<Vec<i32>>,
    left: Option<Vec<i32>>,
}

/// A number recorded to the bit.
#[derive(Clone, Copy, Debug)]
struct Bits(f64);

impl<'de> Deserialize<'de> for Bits {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bits = u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Self(f64::from_bits(bits)))
    }
}

impl Run {
    #[expect(clippy::cast_possible_truncation, reason = "the floors are f32")]
    fn config(&self) -> ScalerConfig {
        let refill = if self.on_clean_step { Refill::OnCleanStep } else { Refill::OnGrowth };
        ScalerConfig {
            initial_scale: self.initial_scale.0,
            growth_factor: self.growth_factor.0,
            backoff_factor: self.backoff_factor.0,
            growth_interval: self.growth_interval,
            floor: (self.floor.0 > 0.0).then_some(self.floor.0 as f32),
            hysteresis: Some(Hysteresis { count: self.hysteresis, refill }),
            ..ScalerConfig::default()
        }
    }
}

/// The runs of one project.
fn runs(peer: &str) -> Vec<Run> {
    let file = &include_bytes!("data/peers/peers.json.gz")[..];
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let mut runs: Vec<Run> = serde_json::from_str(&text).unwrap();
    runs.retain(|run| run.peer == peer);
    assert_eq!(runs.len(), 160);
    runs
}

/// How many steps were the same, and how many runs left what an `f32` can hold, or
/// ended in `DeepSpeed`'s error.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    steps: usize,
    left_f32: usize,
    raised: usize,
}

/// Follows a run while its scale can be held by an `f32`. `before` changes the numbers before each
/// step, given the flag of the step before; `left` makes our hysteresis the project's.
fn follow(
    run: &Run,
    config: &ScalerConfig,
    before: impl Fn(&mut Numbers, bool),
    left: impl Fn(i32) -> i32,
    tally: &mut Tally,
) {
    let rule = Rule::new(config).unwrap();
    let mut numbers = rule.start();
    let mut last = true;
    for (step, flag) in run.flags.chars().enumerate() {
        before(&mut numbers, last);
        last = flag == '!';
        let (next, change) = rule.next(numbers, last);
        numbers = next;
        let theirs = run.scales[step].0;
        if theirs > f32::MAX.into() {
            assert_eq!(change, Change::NotFinite, "{run:?} step {step}");
            tally.left_f32 += 1;
            return;
        }
        if theirs < f64::from(f32::from_bits(1)) {
            assert_eq!((numbers.scale, run.floor.0), (0.0, 0.0), "{run:?} step {step}");
            tally.left_f32 += 1;
            return;
        }
        assert_eq!(f64::from(numbers.scale).to_bits(), theirs.to_bits(), "{run:?} step {step}");
        if let Some(theirs) = &run.trackers {
            assert_eq!(numbers.growth_tracker, theirs[step], "{run:?} step {step}");
        }
        if let Some(theirs) = &run.left {
            assert_eq!(left(numbers.hysteresis), left(theirs[step]), "{run:?} step {step}");
        }
        let refused = change == Change::AtFloor && run.refuse;
        let raised = run.raised && step + 1 == run.flags.len();
        assert_eq!(refused, raised, "{run:?} step {step}");
        tally.raised += usize::from(raised);
        tally.steps += 1;
    }
}

#[test]
fn deepspeed_does_the_same_but_grows_a_step_later_after_a_skip_and_beyond_f32() {
    let mut tally = Tally::default();
    for run in runs("deepspeed") {
        // It counts from the step after the first clean one.
        let waits = |numbers: &mut Numbers, skipped| {
            if skipped {
                numbers.growth_tracker = -1;
            }
        };
        // It stops counting down at 1.
        follow(&run, &run.config(), waits, |left| left.max(1), &mut tally);
    }
    assert_eq!(tally, Tally { steps: 32_688, left_f32: 52, raised: 27 });
}

#[test]
fn megatron_does_the_same_but_grows_to_infinity() {
    let mut tally = Tally::default();
    for run in runs("megatron") {
        // It counts on below 0.
        follow(&run, &run.config(), |_, _| (), |left| left.max(0), &mut tally);
    }
    assert_eq!(tally, Tally { steps: 36_263, left_f32: 48, raised: 0 });
}

#[test]
fn flax_does_the_same_with_an_interval_of_one_step_more() {
    let mut tally = Tally::default();
    for run in runs("flax") {
        let ours = run.config();
        let config = ScalerConfig {
            growth_interval: ours.growth_interval + 1,
            cap: ScalerConfig::flax().cap,
            ..ours
        };
        follow(&run, &config, |_, _| (), |left| left, &mut tally);
    }
    assert_eq!(tally, Tally { steps: 48_000, left_f32: 0, raised: 0 });
}

/// What `update_scale_hysteresis` of apex keeps on the device, and its settings.
struct Fused {
    scale: f32,
    clean: i32,
    allowance: i32,
    config: ScalerConfig,
    full: i32,
}

impl Fused {
    /// The published rule in our words: a bad step uses up one of the allowance, and only where
    /// none is left is it one for the rule of PyTorch; a clean step makes the allowance full.
    #[expect(clippy::cast_possible_truncation, reason = "the kernel's rounding")]
    fn update(&mut self, found: bool) {
        self.allowance = if found { self.allowance - 1 } else { self.full };
        self.clean = if found { 0 } else { self.clean + 1 };
        if found && self.allowance <= 0 {
            self.scale = (f64::from(self.scale) * self.config.backoff_factor) as f32;
        }
        if u32::try_from(self.clean).unwrap() == self.config.growth_interval {
            self.clean = 0;
            let grown = (f64::from(self.scale) * self.config.growth_factor) as f32;
            if grown.is_finite() {
                self.scale = grown;
            }
        }
    }
}

proptest! {
    #[test]
    fn the_fused_kernel_of_apex_does_the_same(
        bits in 1..0x7f80_0000_u32,
        growth_factor in 1.000_1..8.0,
        backoff_factor in 0.000_1..0.999_9,
        growth_interval in 1..6_u32,
        full in 1..6_i32,
        flags in prop::collection::vec(any::<bool>(), 0..300),
    ) {
        let count = full.cast_unsigned();
        let config = ScalerConfig {
            initial_scale: f32::from_bits(bits).into(),
            growth_factor,
            backoff_factor,
            growth_interval,
            hysteresis: Some(Hysteresis { count, refill: Refill::OnCleanStep }),
            ..ScalerConfig::default()
        };
        let rule = Rule::new(&config).unwrap();
        let mut numbers = rule.start();
        let scale = numbers.scale;
        let mut fused = Fused { scale, clean: 0, allowance: full, config, full };
        for found in flags {
            numbers = rule.next(numbers, found).0;
            fused.update(found);
            prop_assert_eq!(numbers.scale.to_bits(), fused.scale.to_bits());
            prop_assert_eq!(numbers.growth_tracker, fused.clean);
            prop_assert_eq!(numbers.hysteresis, fused.allowance.max(0));
        }
    }
}
