//! Saved states: PyTorch's five keys, our own form, and going on from them.

use freeboard_device_host::HostDevice;
use freeboard_grad_scaler::{
    GradScaler, Hysteresis, OptimizerId, Own, Refill, SavedScaler, ScalerConfig, ScalerError,
    StateError,
};
use proptest::prelude::*;

use crate::bench::{Allocator, Counter, host, iterate, scaler};

fn start(
    allocator: &Allocator<HostDevice>,
    config: ScalerConfig,
) -> (GradScaler<HostDevice>, OptimizerId, Counter<f32, HostDevice>) {
    let mut scaler = scaler(allocator, config);
    let id = scaler.add_optimizer("sgd");
    (scaler, id, Counter::new(allocator, &[&[0.0]]))
}

#[test]
fn a_state_of_pytorchs_is_taken_over_and_written_back() {
    let text = r#"{"scale": 8192.0, "growth_factor": 4.0, "backoff_factor": 0.25,
                   "growth_interval": 3, "_growth_tracker": 2}"#;
    let saved: SavedScaler = serde_json::from_str(text).unwrap();
    let allocator = host();
    let (mut scaler, id, mut counter) = start(&allocator, ScalerConfig::default());
    scaler.load(&saved).unwrap();
    assert!(iterate(&mut scaler, id, &mut counter, 8192.0));
    assert_eq!(counter.get(0), [1.0]);
    assert_eq!(scaler.scale_factor().unwrap(), 32_768.0);
    assert!(!iterate(&mut scaler, id, &mut counter, f32::NAN));

    let written: serde_json::Value = serde_json::to_value(scaler.save().unwrap()).unwrap();
    assert_eq!(written["scale"], 8192.0);
    assert_eq!(written["growth_factor"], 4.0);
    assert_eq!(written["backoff_factor"], 0.25);
    assert_eq!(written["growth_interval"], 3);
    assert_eq!(written["_growth_tracker"], 0);
    assert_eq!(written["freeboard"]["version"], 1);
}

#[test]
fn a_scaler_that_has_begun_goes_on_from_a_state_too() {
    let allocator = host();
    let (mut scaler, id, mut counter) = start(&allocator, ScalerConfig::default());
    assert!(iterate(&mut scaler, id, &mut counter, 1.0));
    let saved = scaler.save().unwrap();
    assert!(!iterate(&mut scaler, id, &mut counter, f32::INFINITY));
    scaler.load(&saved).unwrap();
    assert!(iterate(&mut scaler, id, &mut counter, 65_536.0));
    assert_eq!(counter.get(0), [1.0]);
    assert_eq!(scaler.stats().unwrap().growth_tracker, 2);
}

#[test]
fn states_that_make_no_sense_are_refused_and_change_nothing() {
    let allocator = host();
    let (mut scaler, ..) = start(&allocator, ScalerConfig::default());
    let good = scaler.save().unwrap();
    let own = good.freeboard.unwrap();
    let newer = Some(Own { version: 2, ..own });
    let cases = [
        (SavedScaler::default(), "empty"),
        (SavedScaler { scale: None, ..good.clone() }, "\"scale\""),
        (SavedScaler { growth_tracker: None, ..good.clone() }, "\"_growth_tracker\""),
        (SavedScaler { growth_factor: None, ..good.clone() }, "\"growth_factor\""),
        (SavedScaler { backoff_factor: None, ..good.clone() }, "\"backoff_factor\""),
        (SavedScaler { growth_interval: None, ..good.clone() }, "\"growth_interval\""),
        (SavedScaler { scale: Some(0.0), ..good.clone() }, "initial_scale"),
        (SavedScaler { scale: Some(f64::NAN), ..good.clone() }, "initial_scale"),
        (SavedScaler { growth_factor: Some(0.5), ..good.clone() }, "growth_factor"),
        (SavedScaler { growth_interval: Some(0), ..good.clone() }, "growth_interval"),
        (SavedScaler { growth_interval: Some(-1), ..good.clone() }, "growth_interval"),
        (SavedScaler { growth_tracker: Some(-1), ..good.clone() }, "_growth_tracker"),
        (SavedScaler { growth_tracker: Some(1 << 31), ..good.clone() }, "_growth_tracker"),
        (SavedScaler { freeboard: newer, ..good.clone() }, "version 2"),
    ];
    for (state, names) in cases {
        let error = scaler.load(&state).unwrap_err();
        assert!(matches!(error, ScalerError::State(_)), "{error}");
        assert!(error.to_string().contains(names), "{error} does not name {names}");
        assert_eq!(scaler.save().unwrap(), good);
    }
    let low = ScalerConfig { cap: Some(1024.0), initial_scale: 1.0, ..ScalerConfig::default() };
    let (mut capped, ..) = start(&allocator, low);
    let error = capped.load(&good).unwrap_err();
    assert!(matches!(error, ScalerError::State(StateError::Config(_))), "{error}");
}

proptest! {
    #[test]
    fn going_on_from_a_state_is_going_on(
        before in prop::collection::vec(0..4_u8, 0..30),
        after in prop::collection::vec(0..4_u8, 1..30),
        interval in 1..5_u32,
        count in 1..4_u32,
    ) {
        let hysteresis = Some(Hysteresis { count, refill: Refill::OnGrowth });
        let config = ScalerConfig { growth_interval: interval, hysteresis, ..Default::default() };
        let gradient = |n: u8| if n == 0 { f32::NAN } else { f32::from(n) };
        let allocator = host();
        let (mut whole, id, mut counter) = start(&allocator, config.clone());
        for &n in &before {
            iterate(&mut whole, id, &mut counter, gradient(n));
        }
        let text = serde_json::to_string(&whole.save().unwrap()).unwrap();
        let (mut resumed, other, mut its) = start(&allocator, config);
        resumed.load(&serde_json::from_str(&text).unwrap()).unwrap();
        for &n in &after {
            let steps = [
                iterate(&mut whole, id, &mut counter, gradient(n)),
                iterate(&mut resumed, other, &mut its, gradient(n)),
            ];
            prop_assert_eq!(steps[0], steps[1]);
            prop_assert_eq!(counter.get(0)[0].to_bits(), its.get(0)[0].to_bits());
            prop_assert_eq!(whole.stats().unwrap(), resumed.stats().unwrap());
        }
    }
}
