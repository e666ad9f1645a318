//! The rule against `PyTorch`'s, written a second time, and what it never does.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]
#![allow(clippy::float_cmp, reason = "the scale is exact or wrong")]

use std::mem::offset_of;

use proptest::prelude::*;

use super::*;
use crate::config::Hysteresis;

/// `PyTorch`'s rule in its own terms: scale and successful steps.
#[expect(clippy::cast_possible_truncation, reason = "the kernel's rounding")]
fn torch(scale: &mut f32, successful: &mut i64, config: &ScalerConfig, found: bool) {
    if found {
        *scale = (f64::from(*scale) * config.backoff_factor) as f32;
        *successful = 0;
        return;
    }
    *successful += 1;
    if *successful == i64::from(config.growth_interval) {
        let grown = (f64::from(*scale) * config.growth_factor) as f32;
        *scale = if grown.is_finite() { grown } else { *scale };
        *successful = 0;
    }
}

/// Every positive finite scale, small intervals, factors of every kind.
fn plain() -> impl Strategy<Value = ScalerConfig> {
    let growth = prop_oneof![Just(2.0), 1.000_1..8.0, Just(1.0 + f64::EPSILON), Just(1e300)];
    let backoff = prop_oneof![Just(0.5), 0.000_1..0.999_9, Just(1e-300)];
    (1..0x7f80_0000_u32, growth, backoff, 1..8_u32).prop_map(
        |(bits, growth_factor, backoff_factor, growth_interval)| ScalerConfig {
            initial_scale: f32::from_bits(bits).into(),
            growth_factor,
            backoff_factor,
            growth_interval,
            ..ScalerConfig::default()
        },
    )
}

/// The same with a floor below, a cap above, and a hysteresis.
fn bounded() -> impl Strategy<Value = ScalerConfig> {
    let refill = prop_oneof![Just(Refill::OnGrowth), Just(Refill::OnCleanStep)];
    let parts = (plain(), 0.0..=1.0_f32, 1.0..=1e30_f32, 1..5_u32, refill);
    parts.prop_map(|(plain, below, above, count, refill)| {
        let scale = plain.initial_scale_f32();
        ScalerConfig {
            floor: Some((scale * below).max(f32::from_bits(1))),
            cap: Some((scale * above).min(f32::MAX)),
            hysteresis: Some(Hysteresis { count, refill }),
            ..plain
        }
    })
}

fn flags() -> impl Strategy<Value = Vec<bool>> {
    prop_oneof![
        prop::collection::vec(any::<bool>(), 0..300),
        prop::collection::vec(prop::bool::weighted(0.1), 0..300),
        prop::collection::vec(prop::bool::weighted(0.9), 0..300),
    ]
}

proptest! {
    #[test]
    fn without_extras_it_is_pytorchs_rule_to_the_bit(config in plain(), flags in flags()) {
        let rule = Rule::new(&config).unwrap();
        let mut numbers = rule.start();
        let (mut scale, mut successful) = (config.initial_scale_f32(), 0);
        for found in flags {
            numbers = rule.next(numbers, found).0;
            torch(&mut scale, &mut successful, &config, found);
            prop_assert_eq!(numbers.scale.to_bits(), scale.to_bits());
            prop_assert_eq!(i64::from(numbers.growth_tracker), successful);
        }
    }

    #[test]
    fn the_numbers_stay_in_their_bounds(config in bounded(), flags in flags()) {
        let rule = Rule::new(&config).unwrap();
        let (floor, cap) = (config.floor.unwrap(), config.cap.unwrap());
        let mut numbers = rule.start();
        for found in flags {
            numbers = rule.next(numbers, found).0;
            prop_assert!((floor..=cap).contains(&numbers.scale));
            prop_assert!(numbers.scale.is_finite() && numbers.scale > 0.0);
            prop_assert!((0..rule.growth_interval).contains(&numbers.growth_tracker));
            prop_assert!((0..=rule.hysteresis).contains(&numbers.hysteresis));
        }
    }

    #[test]
    fn the_change_tells_what_became_of_the_scale(config in bounded(), flags in flags()) {
        let rule = Rule::new(&config).unwrap();
        let (floor, cap) = (config.floor.unwrap(), config.cap.unwrap());
        let mut from = rule.start();
        for found in flags {
            let (to, change) = rule.next(from, found);
            let is_right = match change {
                Change::Unchanged | Change::Tolerated | Change::NotFinite => to.scale == from.scale,
                Change::Grew => to.scale >= from.scale,
                Change::Capped => to.scale == cap,
                Change::BackedOff => from.scale > floor && to.scale <= from.scale,
                Change::AtFloor => to.scale == floor && from.scale == floor,
            };
            prop_assert!(is_right, "{:?} {:?} {:?}", from, change, to);
            let skips = [Change::BackedOff, Change::Tolerated, Change::AtFloor];
            prop_assert_eq!(skips.contains(&change), found);
            from = to;
        }
    }

    #[test]
    fn no_numbers_and_no_rule_make_it_panic(
        rule in any::<[u8; 40]>(),
        numbers in any::<[u8; 12]>(),
        found: bool,
    ) {
        let rule: Rule = bytemuck::pod_read_unaligned(&rule);
        let (_, change) = rule.next(bytemuck::pod_read_unaligned(&numbers), found);
        prop_assert!(bytemuck::checked::try_cast::<u32, Change>(change as u32).is_ok());
    }
}

/// What every update of a run gives, shortly: the scale and what became of it.
fn run(config: &ScalerConfig, flags: &str) -> Vec<(f32, Change)> {
    let rule = Rule::new(config).unwrap();
    let mut numbers = rule.start();
    let step = |flag| {
        let (next, change) = rule.next(numbers, flag == '!');
        numbers = next;
        (next.scale, change)
    };
    flags.chars().map(step).collect()
}

#[test]
fn growth_ends_at_the_cap_and_backing_off_at_the_floor() {
    let config = ScalerConfig {
        initial_scale: 8.0,
        growth_interval: 1,
        floor: Some(3.0),
        cap: Some(12.0),
        ..ScalerConfig::default()
    };
    let told = [
        (12.0, Change::Capped),
        (12.0, Change::Capped),
        (6.0, Change::BackedOff),
        (3.0, Change::BackedOff),
        (3.0, Change::AtFloor),
        (6.0, Change::Grew),
        (12.0, Change::Grew),
    ];
    assert_eq!(run(&config, "..!!!.."), told);
}

#[test]
fn without_bounds_it_falls_to_zero_and_does_not_grow_to_infinity() {
    let config = ScalerConfig { growth_interval: 1, ..ScalerConfig::default() };
    let least = ScalerConfig { initial_scale: 2_f64.powi(-149), ..config.clone() };
    let told = [(0.0, Change::BackedOff), (0.0, Change::AtFloor), (0.0, Change::Grew)];
    assert_eq!(run(&least, "!!."), told);
    let largest = ScalerConfig { initial_scale: 2_f64.powi(127), ..config };
    assert_eq!(run(&largest, "."), [(2_f32.powi(127), Change::NotFinite)]);
}

#[test]
fn a_hysteresis_is_refilled_where_it_says() {
    let config = |refill| ScalerConfig {
        initial_scale: 16.0,
        growth_interval: 2,
        hysteresis: Some(Hysteresis { count: 2, refill }),
        ..ScalerConfig::default()
    };
    let (unchanged, tolerated) = (Change::Unchanged, Change::Tolerated);
    let at_growth = [
        (16.0, tolerated),
        (16.0, unchanged),
        (8.0, Change::BackedOff),
        (4.0, Change::BackedOff),
        (4.0, unchanged),
        (8.0, Change::Grew),
        (8.0, tolerated),
    ];
    assert_eq!(run(&config(Refill::OnGrowth), "!.!!..!"), at_growth);
    let at_clean_steps = [
        (16.0, tolerated),
        (16.0, unchanged),
        (16.0, tolerated),
        (8.0, Change::BackedOff),
        (8.0, unchanged),
        (16.0, Change::Grew),
        (16.0, tolerated),
    ];
    assert_eq!(run(&config(Refill::OnCleanStep), "!.!!..!"), at_clean_steps);
}

#[test]
fn a_scale_outside_of_the_bounds_comes_back_to_them() {
    let config =
        ScalerConfig { growth_interval: 1, floor: Some(2.0), cap: Some(1e6), ..Default::default() };
    let rule = Rule::new(&config).unwrap();
    let from = |scale| Numbers { scale, ..rule.start() };
    assert_eq!(rule.next(from(1e9), false).0.scale, 1e6);
    assert_eq!(rule.next(from(f32::INFINITY), false).0.scale, 1e6);
    assert_eq!(rule.next(from(0.5), true).0.scale, 2.0);
    assert_eq!(rule.next(from(f32::NAN), true).0.scale, 2.0);
}

#[test]
fn the_bytes_lie_where_a_kernel_reads_them() {
    assert_eq!(
        [
            offset_of!(Rule, growth_factor),
            offset_of!(Rule, backoff_factor),
            offset_of!(Rule, floor)
        ],
        [0, 8, 16]
    );
    assert_eq!([offset_of!(Rule, cap), offset_of!(Rule, growth_interval)], [20, 24]);
    assert_eq!([offset_of!(Rule, hysteresis), offset_of!(Rule, refill)], [28, 32]);
    assert_eq!([offset_of!(Rule, initial_scale), size_of::<Rule>()], [36, 40]);
    assert_eq!([offset_of!(Numbers, scale), offset_of!(Numbers, growth_tracker)], [0, 4]);
    assert_eq!([offset_of!(Numbers, hysteresis), size_of::<Numbers>()], [8, 12]);
}

#[test]
fn a_configuration_that_cannot_be_used_gives_no_rule() {
    let config = ScalerConfig { growth_factor: 1.0, ..ScalerConfig::default() };
    assert!(matches!(Rule::new(&config), Err(ConfigError::Value { field: "growth_factor", .. })));
}
