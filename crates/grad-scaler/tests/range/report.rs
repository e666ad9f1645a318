//! What is made of counts.

use freeboard_grad_scaler::range::{
    Histogram, HostTensor, RangeError, RangeReport, RangeTable, RangeTarget, measure, suggest_scale,
};
use freeboard_units::Dtype;
use half::f16;
use proptest::prelude::*;

fn reports(numbers: &[&[f32]], target: Dtype, factor: f32) -> Vec<RangeReport> {
    let names = ["first", "second", "third"];
    let tensors: Vec<_> =
        names.iter().zip(numbers).map(|(name, of)| HostTensor::of(name, of).unwrap()).collect();
    measure(&tensors, RangeTarget::new(target).unwrap().scaled(factor).unwrap()).unwrap()
}

#[test]
fn a_table_has_the_worst_underflow_first() {
    let reports = reports(
        &[&[1.0, 2.0], &[1e-9, 0.0, 1e-5, 7e4], &[f32::NAN, 1e-9, 1.0, 1.0, 1.0]],
        Dtype::F16,
        1.0,
    );
    let expected = "\
tensor  type      to                   amax  underflow  subnormal   overflow  inf or NaN
second  float32   float16           7.000e4    25.000%    25.000%    25.000%           0
third   float32   float16           1.000e0    20.000%     0.000%     0.000%           1
first   float32   float16           2.000e0     0.000%     0.000%     0.000%           0
";
    assert_eq!(RangeTable(&reports).to_string(), expected);
}

#[test]
fn a_report_is_plain_data() {
    let report = reports(&[&[1.0, 1e-9]], Dtype::F8E5M2, 2.0).remove(0);
    let text = serde_json::to_string(&report).unwrap();
    assert!(text.contains("\"target\":\"float8_e5m2\",\"factor\":2.0"), "{text}");
    assert_eq!(serde_json::from_str::<RangeReport>(&text).unwrap(), report);
    assert_eq!(report.fraction(report.underflow), 0.5);
}

proptest! {
    #[test]
    fn the_suggested_scale_is_the_largest_that_overflows_nothing(
        numbers in proptest::collection::vec(-1e30_f32..1e30, 1..20),
        exponent in -30_i16..60,
    ) {
        let numbers: Vec<f32> =
            numbers.iter().map(|number| number * f32::from(-exponent).exp2()).collect();
        for target in [Dtype::F16, Dtype::BF16, Dtype::F8E4M3, Dtype::F8E5M2] {
            let found = reports(&[&numbers], target, 1.0);
            prop_assume!(found[0].amax > 0.0);
            let scale = suggest_scale(&found, target, 0).unwrap();
            prop_assert_eq!(scale.log2().fract(), 0.0);
            prop_assert_eq!(reports(&[&numbers], target, scale)[0].overflow, 0);
            let largest = |report: &RangeReport, scale: f32| report.amax * f64::from(scale);
            let limit = match target {
                Dtype::F16 => f16::MAX.to_f64(),
                Dtype::BF16 => half::bf16::MAX.to_f64(),
                Dtype::F8E4M3 => 448.0,
                _ => 57_344.0,
            };
            prop_assert!(largest(&found[0], scale * 2.0) > limit);
            prop_assert_eq!(suggest_scale(&found, target, 3).unwrap() * 8.0, scale);
        }
    }
}

#[test]
fn a_scale_is_suggested_only_where_one_follows_and_within_f32() {
    let nothing = reports(&[&[0.0, f32::INFINITY]], Dtype::F16, 1.0);
    assert!(matches!(suggest_scale(&nothing, Dtype::F16, 0), Err(RangeError::NothingToScale)));
    assert!(matches!(suggest_scale(&[], Dtype::F16, 0), Err(RangeError::NothingToScale)));
    let tiny = reports(&[&[1e-45]], Dtype::BF16, 1.0);
    assert_eq!(suggest_scale(&tiny, Dtype::BF16, 0).unwrap(), 2.0_f32.powi(127));
    assert_eq!(suggest_scale(&tiny, Dtype::BF16, u32::MAX).unwrap(), 2.0_f32.powi(-126));
    assert!(matches!(suggest_scale(&tiny, Dtype::F32, 0), Err(RangeError::NotATarget { .. })));
}

#[test]
fn a_histogram_counts_by_powers_of_two_and_draws_bars() {
    let numbers = [1.0_f32, 1.99, -2.0, 0.25, 0.0, f32::NAN, 1e-30, 1e30];
    let histogram = Histogram::of(&HostTensor::of("x", &numbers).unwrap());
    let counts = [-60, -47, -46, -2, -1, 0, 1, 15, 16, 99].map(|at| histogram.count(at));
    assert_eq!(counts, [1, 1, 0, 1, 0, 2, 1, 0, 1, 1]);
    let small = Histogram::of(&HostTensor::of("x", &[f16::ONE, f16::from_f32(0.25)]).unwrap());
    let bar = "#".repeat(50);
    let empty = format!("2^{:<4} {:>12}  ", -1, 0);
    let line = |exponent: i32| format!("2^{exponent:<4} {:>12}  {bar}", 1);
    assert_eq!(small.to_string(), format!("{}\n{empty}\n{}\n", line(-2), line(0)));
    let nothing = Histogram::of(&HostTensor::of("x", &[0.0_f64]).unwrap());
    assert_eq!(nothing.to_string(), "no number is finite and not zero\n");
}
