//! Delayed scaling on the host, and its state.

use freeboard_grad_scaler::fp8::{
    AmaxCompute, Direction, Fp8E4M3, Fp8E5M2, Fp8Format, Fp8Meta, Fp8Recipe, Fp8State, UpdateRule,
};
use serde::Deserialize;

use crate::{meta, unpack};

const RECORDED: &[u8] = include_bytes!("data/fp8_scaling.json.gz");

/// What a program does, as recorded.
#[derive(Deserialize)]
pub(crate) struct Program {
    rule: UpdateRule,
    algorithm: AmaxCompute,
    margin: f32,
    fp8_max: f32,
    rows: usize,
    pub(crate) tensors: usize,
    pub(crate) steps: Vec<Step>,
    /// Bits of f32, row after row.
    history: Vec<u32>,
}

/// Bits of f32, one of each for each tensor.
#[derive(Deserialize)]
pub(crate) struct Step {
    amax: Vec<u32>,
    scale: Vec<u32>,
}

impl Program {
    pub(crate) fn all() -> Vec<Self> {
        serde_json::from_slice(&unpack(RECORDED)).unwrap()
    }

    pub(crate) fn meta(&self) -> Fp8Meta {
        let direction =
            if self.fp8_max == 448.0 { Direction::Forward } else { Direction::Backward };
        let recipe = Fp8Recipe {
            margin: self.margin,
            fp8_format: Fp8Format::Hybrid,
            amax_history_len: self.rows,
            amax_compute_algo: self.algorithm,
            update: self.rule,
        };
        meta(recipe, direction, self.tensors)
    }

    /// Panics unless the histories are those of the end.
    pub(crate) fn check_history(&self, meta: &Fp8Meta) {
        let rows: Vec<_> = meta.amax_history().collect();
        assert!(same(&rows.concat(), &self.history), "{rows:?}");
    }
}

impl Step {
    pub(crate) fn amax(&self) -> Vec<f32> {
        self.amax.iter().copied().map(f32::from_bits).collect()
    }

    /// Panics unless the scales are those after the step.
    pub(crate) fn check(&self, meta: &Fp8Meta) {
        assert!(same(meta.scales(), &self.scale), "{:?}", meta.scales());
        let inverses = meta.scales().iter().map(|scale| 1.0 / scale);
        assert!(inverses.eq(meta.scale_invs().iter().copied()));
    }
}

/// Equal bits, or both NaN.
fn same(ours: &[f32], recorded: &[u32]) -> bool {
    let equal = |(ours, recorded): (&f32, &u32)| {
        ours.to_bits() == *recorded || ours.is_nan() && f32::from_bits(*recorded).is_nan()
    };
    ours.len() == recorded.len() && ours.iter().zip(recorded).all(equal)
}

#[test]
fn scales_and_histories_are_those_of_transformer_engine() {
    let mut steps = 0;
    for program in Program::all() {
        let mut meta = program.meta();
        for step in &program.steps {
            let newest = |amaxes: &mut [f32]| {
                amaxes.copy_from_slice(&step.amax());
                Ok::<_, String>(())
            };
            meta.update_reduced(newest).unwrap();
            step.check(&meta);
            steps += 1;
        }
        program.check_history(&meta);
    }
    assert_eq!(steps, 3889);
}

#[test]
fn a_step_casts_with_the_scale_of_the_steps_before() {
    let mut meta = meta(Fp8Recipe::default(), Direction::Backward, 2);
    let mut codes = [Fp8E5M2::default(); 2];
    meta.quantize(1, &[2.0_f32, -7.0], &mut codes).unwrap();
    assert_eq!(codes.map(Fp8E5M2::to_f32), [2.0, -7.0]);
    meta.update();
    assert_eq!(meta.scales(), [1.0, 8192.0]);
    meta.quantize(1, &[2.0_f32, -7.0], &mut codes).unwrap();
    assert_eq!(codes.map(Fp8E5M2::to_f32), [16_384.0, -57_344.0]);
    let mut back = [0.0_f32; 2];
    meta.dequantize(1, &codes, &mut back).unwrap();
    assert_eq!(back, [2.0, -7.0]);
}

#[test]
fn the_largest_amax_between_two_updates_counts_and_the_oldest_is_forgotten() {
    let recipe = Fp8Recipe { amax_history_len: 3, ..Fp8Recipe::default() };
    let mut meta = meta(recipe, Direction::Forward, 1);
    for (amax, scale) in [(7.0, 64.0), (1.0, 64.0), (2.0, 64.0), (0.5, 224.0)] {
        meta.record_amax(0, amax).unwrap();
        meta.record_amax(0, amax / 2.0).unwrap();
        meta.update();
        assert_eq!(meta.scales(), [scale]);
    }
    let rows: Vec<_> = meta.amax_history().map(|row| row[0]).collect();
    assert_eq!(rows, [0.0, 2.0, 0.5]);
}

#[test]
fn another_rule_gets_the_amax_the_old_scale_and_the_largest_number() {
    let mut meta = meta(Fp8Recipe::default(), Direction::Forward, 2);
    meta.record_amax(1, 3.0).unwrap();
    let mut seen = Vec::new();
    meta.update_with(|amax, old, max| {
        seen.push((amax, old, max));
        2.0 + amax
    });
    assert_eq!(seen, [(0.0, 1.0, 448.0), (3.0, 1.0, 448.0)]);
    assert_eq!((meta.scales(), meta.scale_invs()), (&[2.0, 5.0][..], &[0.5, 0.2][..]));
}

#[test]
fn a_failed_reduction_changes_nothing() {
    let mut meta = meta(Fp8Recipe::default(), Direction::Forward, 1);
    meta.record_amax(0, 3.0).unwrap();
    let before = meta.clone();
    let fail = |amaxes: &mut [f32]| {
        amaxes.fill(9.0);
        Err("the group is gone")
    };
    let error = meta.update_reduced(fail).unwrap_err();
    assert!(error.to_string().contains("the group is gone"), "{error}");
    assert_eq!(meta, before);
}

#[test]
fn a_saved_state_continues_where_it_was_saved() {
    let recipe = Fp8Recipe { margin: 1.0, amax_history_len: 4, ..Fp8Recipe::default() };
    let (mut forward, mut backward) =
        (meta(recipe, Direction::Forward, 3), meta(recipe, Direction::Backward, 2));
    let mut codes = [Fp8E4M3::default(); 2];
    for step in [1.0, 2.0, 3.0] {
        forward.quantize(0, &[step * 0.3, f32::INFINITY], &mut codes).unwrap();
        forward.record_amax(2, step * 1e-20).unwrap();
        forward.update();
        backward.record_amax(1, 0.1).unwrap();
        backward.update();
    }
    backward.record_amax(0, 0.7).unwrap();
    let text = serde_json::to_string(&Fp8State::of(&forward, &backward).unwrap()).unwrap();
    for name in ["\"scale_fwd\"", "\"amax_history_bwd\"", "\"HYBRID\"", "\"most", "\"inf\""] {
        assert_eq!(text.contains(name), name != "\"most", "{name}: {text}");
    }
    let read: Fp8State = serde_json::from_str(&text).unwrap();
    assert_eq!(read.metas().unwrap(), (forward, backward));
}
