//! Which settings are refused, and how that is told.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use super::*;

fn message(config: &ScalerConfig) -> String {
    config.validate().unwrap_err().to_string()
}

#[test]
fn every_preset_can_be_used_and_the_default_is_pytorch() {
    assert_eq!(ScalerConfig::default(), ScalerConfig::pytorch());
    for config in [
        ScalerConfig::pytorch(),
        ScalerConfig::deepspeed(),
        ScalerConfig::megatron(),
        ScalerConfig::apex(),
        ScalerConfig::flax(),
    ] {
        config.validate().unwrap();
    }
}

#[test]
fn a_value_that_is_not_allowed_is_refused_by_the_name_of_its_field() {
    let ours = ScalerConfig::default;
    let tolerant = |count| Some(Hysteresis { count, refill: Refill::OnGrowth });
    let mut refused = vec![
        ("growth_interval", ScalerConfig { growth_interval: 0, ..ours() }),
        ("growth_interval", ScalerConfig { growth_interval: 1 << 31, ..ours() }),
        ("hysteresis.count", ScalerConfig { hysteresis: tolerant(0), ..ours() }),
        ("hysteresis.count", ScalerConfig { hysteresis: tolerant(1 << 31), ..ours() }),
    ];
    for scale in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 1e-60] {
        refused.push(("initial_scale", ScalerConfig { initial_scale: scale, ..ours() }));
    }
    for factor in [1.0, 0.5, -2.0, f64::NAN, f64::INFINITY] {
        refused.push(("growth_factor", ScalerConfig { growth_factor: factor, ..ours() }));
    }
    for factor in [1.0, 2.0, 0.0, -0.5, f64::NAN, f64::INFINITY] {
        refused.push(("backoff_factor", ScalerConfig { backoff_factor: factor, ..ours() }));
    }
    for bound in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        refused.push(("floor", ScalerConfig { floor: Some(bound), ..ours() }));
        refused.push(("cap", ScalerConfig { cap: Some(bound), ..ours() }));
    }
    for (named, config) in refused {
        match config.validate() {
            Err(ConfigError::Value { field, .. }) => assert_eq!(field, named),
            other => panic!("{config:?}: {other:?}"),
        }
    }
    let huge = ScalerConfig { initial_scale: 1e300, ..ours() };
    let told = "initial_scale is 1e300: set it to a finite number above 0 that an f32 can hold";
    assert_eq!(message(&huge), told);
}

#[test]
fn bounds_in_the_wrong_order_are_refused() {
    let bounds = |floor, cap| ScalerConfig { floor, cap, ..ScalerConfig::default() };
    for (config, told) in [
        (bounds(Some(4.0), Some(2.0)), "floor is 4.0 and cap 2.0: lower floor or raise cap"),
        (
            bounds(Some(65_537.0), None),
            "floor is 65537.0 and initial_scale 65536.0: lower floor or raise initial_scale",
        ),
        (
            bounds(None, Some(65_535.0)),
            "initial_scale is 65536.0 and cap 65535.0: lower initial_scale or raise cap",
        ),
    ] {
        assert_eq!(message(&config), told);
    }
    bounds(Some(65_536.0), Some(65_536.0)).validate().unwrap();
}

#[test]
fn values_at_the_edge_of_what_is_allowed_are_taken() {
    let edges = ScalerConfig {
        initial_scale: 2_f64.powi(-149),
        growth_factor: 1.0 + f64::EPSILON,
        backoff_factor: f64::MIN_POSITIVE,
        growth_interval: i32::MAX.cast_unsigned(),
        floor: Some(f32::from_bits(1)),
        cap: Some(f32::MAX),
        hysteresis: Some(Hysteresis {
            count: i32::MAX.cast_unsigned(),
            refill: Refill::OnCleanStep,
        }),
        ..ScalerConfig::default()
    };
    edges.validate().unwrap();
    let largest = ScalerConfig { initial_scale: f32::MAX.into(), ..ScalerConfig::default() };
    largest.validate().unwrap();
}

#[test]
fn what_is_left_out_of_a_file_has_its_default_and_a_wrong_key_is_an_error() {
    assert_eq!(serde_json::from_str::<ScalerConfig>("{}").unwrap(), ScalerConfig::default());
    for config in [ScalerConfig::pytorch(), ScalerConfig::deepspeed(), ScalerConfig::flax()] {
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<ScalerConfig>(&text).unwrap(), config);
    }
    let told = serde_json::from_str::<ScalerConfig>(r#"{"growth": 2.0}"#).unwrap_err().to_string();
    assert!(told.contains("unknown field `growth`") && told.contains("growth_factor"), "{told}");
}
