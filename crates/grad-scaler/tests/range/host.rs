//! Counts on the host.

use freeboard_grad_scaler::Float;
use freeboard_grad_scaler::fp8::{Fp8E4M3, Fp8E5M2};
use freeboard_grad_scaler::range::{HostTensor, RangeError, RangeReport, RangeTarget, measure};
use freeboard_units::Dtype;
use half::{bf16, f16};
use proptest::prelude::*;

use crate::nearest::{finite, nearest};

/// Every target, its finite numbers from zero on, and how many of them are subnormal or zero.
fn targets() -> [(Dtype, Vec<f64>, usize); 4] {
    let byte = |code: u32| u8::try_from(code.min(0x7f)).unwrap();
    let short = |code: u32| u16::try_from(code).unwrap();
    [
        (Dtype::F16, finite(|code| f16::from_bits(short(code)).to_f64()), 1 << 10),
        (Dtype::BF16, finite(|code| bf16::from_bits(short(code)).to_f64()), 1 << 7),
        (Dtype::F8E4M3, finite(|code| f64::from(Fp8E4M3(byte(code)).to_f32())), 1 << 3),
        (Dtype::F8E5M2, finite(|code| f64::from(Fp8E5M2(byte(code)).to_f32())), 1 << 2),
    ]
}

fn measured<T: Float>(numbers: &[T], target: Dtype, factor: f32) -> RangeReport {
    let target = RangeTarget::new(target).unwrap().scaled(factor).unwrap();
    let tensor = HostTensor::of("tensor", numbers).unwrap();
    measure(&[tensor], target).unwrap().remove(0)
}

/// Each number, and its product with the factor.
fn check(
    report: &RangeReport,
    all: &[f64],
    subnormal: usize,
    pairs: impl Iterator<Item = (f64, f64)>,
) {
    let mut expected = RangeReport {
        elements: 0,
        zeros: 0,
        infinities: 0,
        nans: 0,
        amax: 0.0,
        underflow: 0,
        subnormal: 0,
        overflow: 0,
        ..report.clone()
    };
    for (number, product) in pairs {
        expected.elements += 1;
        expected.nans += u64::from(number.is_nan());
        expected.infinities += u64::from(number.is_infinite());
        expected.zeros += u64::from(number == 0.0);
        if number.is_finite() && number != 0.0 {
            expected.amax = expected.amax.max(number.abs());
            match nearest(product, all) {
                0 => expected.underflow += 1,
                code if code < subnormal => expected.subnormal += 1,
                code if code >= all.len() => expected.overflow += 1,
                _ => {}
            }
        }
    }
    assert_eq!(*report, expected);
}

fn check_f32<T: Float + Into<f64>>(numbers: &[T], factor: f32) {
    for (target, all, subnormal) in targets() {
        let report = measured(numbers, target, factor);
        let pairs = numbers.iter().map(|&number| {
            let number: f64 = number.into();
            (number, f64::from(number as f32 * factor))
        });
        check(&report, &all, subnormal, pairs);
    }
}

#[test]
fn every_f16_and_bf16_is_counted_by_what_its_cast_gives() {
    let f16s: Vec<_> = (0..=u16::MAX).map(f16::from_bits).collect();
    let bf16s: Vec<_> = (0..=u16::MAX).map(bf16::from_bits).collect();
    for factor in [1.0, 3.0, 1024.0, 1e-6, 1e30, f32::MAX, f32::MIN_POSITIVE, 1e-45] {
        check_f32(&f16s, factor);
        check_f32(&bf16s, factor);
    }
}

#[test]
fn numbers_at_and_beside_every_limit_are_counted_right() {
    for (_, all, _) in targets() {
        let last = 2.0 * all[all.len() - 1] - all[all.len() - 2];
        let half_way = |pair: &[f64]| f64::midpoint(pair[0], pair[1]);
        let middles = all.windows(2).map(half_way).chain([f64::midpoint(all[all.len() - 1], last)]);
        let edges: Vec<f64> = middles
            .chain([last, f64::MAX, f64::INFINITY, f64::NAN, 5e-324])
            .flat_map(|edge| [edge.next_down(), edge, edge.next_up(), -edge])
            .collect();
        for (target, all, subnormal) in targets() {
            let report = measured(&edges, target, 1.0);
            check(&report, &all, subnormal, edges.iter().map(|&edge| (edge, edge)));
        }
        let singles: Vec<f32> = edges
            .iter()
            .map(|&edge| edge as f32)
            .flat_map(|edge| [edge.next_down(), edge, edge.next_up()])
            .collect();
        check_f32(&singles, 1.0);
    }
}

proptest! {
    #[test]
    fn lists_of_any_numbers_are_counted_right(
        bits in proptest::collection::vec(any::<u32>(), 0..300),
        exponent in -140_i16..127,
    ) {
        let numbers: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        let factor = f32::from(exponent).exp2() * 1.3;
        check_f32(&numbers, factor);
        let doubles: Vec<f64> = numbers.iter().map(|&number| f64::from(number) * 1.000_000_1).collect();
        for (target, all, subnormal) in targets() {
            let report = measured(&doubles, target, factor);
            let pairs = doubles.iter().map(|&number| (number, number * f64::from(factor)));
            check(&report, &all, subnormal, pairs);
        }
    }
}

#[test]
fn a_long_tensor_is_counted_in_pieces() {
    let numbers: Vec<f32> = (0..200_001).map(|at| if at % 3 == 0 { 1e-9 } else { 2.0 }).collect();
    let report = measured(&numbers, Dtype::F16, 1.0);
    assert_eq!((report.elements, report.underflow, report.amax), (200_001, 66_667, 2.0));
    let doubles: Vec<f64> = numbers.iter().map(|&number| f64::from(number)).collect();
    let report = measured(&doubles, Dtype::F16, 1.0);
    assert_eq!((report.elements, report.underflow, report.amax), (200_001, 66_667, 2.0));
}

#[test]
fn wrong_questions_are_refused() {
    let target = RangeTarget::new(Dtype::F16).unwrap();
    assert!(matches!(measure(&[], target), Err(RangeError::NoTensors)));
    for dtype in [Dtype::I32, Dtype::F32, Dtype::F64, Dtype::Bool] {
        assert!(matches!(RangeTarget::new(dtype), Err(RangeError::NotATarget { .. })));
    }
    for factor in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(matches!(target.scaled(factor), Err(RangeError::Factor { .. })));
    }
    let error = HostTensor::from_bytes("ids", Dtype::I64, &[0; 8]).unwrap_err();
    assert!(error.to_string().starts_with("ids: int64 has no dynamic range"), "{error}");
    let words = [0_u64; 2];
    let bytes: &[u8] = bytemuck::cast_slice(&words);
    for bytes in [&bytes[..7], &bytes[1..9]] {
        let error = HostTensor::from_bytes("x", Dtype::F32, bytes).unwrap_err();
        assert!(matches!(error, RangeError::Bytes { .. }), "{error}");
    }
    let tensor = HostTensor::from_bytes("x", Dtype::F32, &bytes[..12]).unwrap();
    assert_eq!(measure(&[tensor], target).unwrap()[0].zeros, 3);
    let empty = HostTensor::of::<f16>("nothing", &[]).unwrap();
    assert_eq!(measure(&[empty], target).unwrap()[0].elements, 0);
}
