//! What is refused, and in which words.

use freeboard_grad_scaler::fp8::{
    Direction, Fp8E4M3, Fp8E5M2, Fp8Error, Fp8Meta, Fp8Recipe, Fp8State, Overflow, quantize,
};

use crate::meta;

fn refused(recipe: Fp8Recipe, tensors: usize) -> Fp8Error {
    Fp8Meta::new(recipe, Direction::Forward, tensors).unwrap_err()
}

#[test]
fn recipes_that_make_no_sense_are_refused() {
    let usual = Fp8Recipe::default();
    for amax_history_len in [0, usize::MAX] {
        let error = refused(Fp8Recipe { amax_history_len, ..usual }, 1);
        assert!(matches!(error, Fp8Error::HistoryLength { len, .. } if len == amax_history_len));
    }
    for margin in [f32::NAN, f32::INFINITY, -101.0] {
        let error = refused(Fp8Recipe { margin, ..usual }, 1);
        assert!(matches!(error, Fp8Error::Margin { .. }), "{error}");
    }
    for tensors in [0, usize::MAX] {
        assert!(matches!(refused(usual, tensors), Fp8Error::Tensors { .. }));
    }
}

#[test]
fn a_refused_cast_notes_nothing() {
    let mut meta = meta(Fp8Recipe::default(), Direction::Forward, 1);
    let before = meta.clone();
    let error = meta.quantize(1, &[1.0_f32], &mut [Fp8E4M3::default()]).unwrap_err();
    assert!(matches!(error, Fp8Error::Index { index: 1, tensors: 1 }), "{error}");
    let error = meta.quantize(0, &[1.0_f32], &mut [Fp8E5M2::default()]).unwrap_err();
    assert!(matches!(error, Fp8Error::OtherType { .. }), "{error}");
    let error = meta.quantize(0, &[1.0_f32], &mut [Fp8E4M3::default(); 2]).unwrap_err();
    assert!(matches!(error, Fp8Error::LengthMismatch { input: 1, output: 2 }), "{error}");
    let error = meta.dequantize(0, &[Fp8E4M3::default()], &mut [0.0_f32; 3]).unwrap_err();
    assert!(matches!(error, Fp8Error::LengthMismatch { input: 1, output: 3 }), "{error}");
    for amax in [-1.0, f32::NAN] {
        let error = meta.record_amax(0, amax).unwrap_err();
        assert!(matches!(error, Fp8Error::Amax { .. }), "{error}");
    }
    assert_eq!(meta, before);
    let error = quantize(&[1.0_f32], 1.0, Overflow::Saturate, &mut [] as &mut [Fp8E5M2]);
    assert!(matches!(error.unwrap_err(), Fp8Error::LengthMismatch { .. }));
}

#[test]
fn states_that_do_not_fit_are_refused() {
    let recipe = Fp8Recipe { amax_history_len: 2, ..Fp8Recipe::default() };
    let (forward, backward) =
        (meta(recipe, Direction::Forward, 2), meta(recipe, Direction::Backward, 1));
    let state = Fp8State::of(&forward, &backward).unwrap();
    assert!(Fp8State::of(&backward, &forward).is_err());
    let other = meta(Fp8Recipe::default(), Direction::Backward, 1);
    assert!(Fp8State::of(&forward, &other).is_err());

    let refused = |change: fn(&mut Fp8State)| {
        let mut state = state.clone();
        change(&mut state);
        state.metas().unwrap_err()
    };
    let error = refused(|state| state.version = 2);
    assert!(matches!(error, Fp8Error::StateVersion { version: 2, expected: 1 }), "{error}");
    assert!(matches!(refused(|state| state.scale_bwd.clear()), Fp8Error::Tensors { .. }));
    let error = refused(|state| state.recipe.margin = f32::NAN);
    assert!(matches!(error, Fp8Error::Margin { .. }), "{error}");
    let part = |change| match refused(change) {
        Fp8Error::State { part, .. } => part,
        error => panic!("{error}"),
    };
    assert_eq!(part(|state| state.scale_fwd[1] = 0.0), "scale_fwd");
    assert_eq!(part(|state| state.scale_bwd[0] = f32::INFINITY), "scale_bwd");
    assert_eq!(part(|state| state.amax_history_fwd.truncate(1)), "amax_history_fwd");
    assert_eq!(part(|state| state.amax_history_fwd[1].push(0.0)), "amax_history_fwd");
    assert_eq!(part(|state| state.amax_history_bwd[0][0] = -1.0), "amax_history_bwd");
    let text = serde_json::to_string(&state).unwrap();
    let other = text.replace("HYBRID", "E5M2");
    assert!(serde_json::from_str::<Fp8State>(&other).is_err());
}
