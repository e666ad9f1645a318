//! Casts to FP8 and back.

use freeboard_grad_scaler::fp8::{Fp8, Fp8E4M3, Fp8E5M2, Overflow, Wide, dequantize, quantize};
use half::{bf16, f16};
use proptest::prelude::*;

use crate::nearest::{finite, nearest};
use crate::{numbers, unpack};

const RECORDED: &[u8] = include_bytes!("data/fp8_casts.bin.gz");
const ALL: usize = 1 << 16;

/// Codes of E4M3 saturating, E4M3 not, E5M2 not: as recorded for these inputs.
fn check<T: Wide>(inputs: &[T], recorded: [&[u8]; 3]) {
    let cast = |overflow| inputs.iter().map(move |value| (value.to_f32(), overflow));
    let e4m3 = |overflow| -> Vec<u8> {
        cast(overflow).map(|(value, overflow)| Fp8E4M3::from_f32(value, overflow).0).collect()
    };
    let e5m2 = |overflow| -> Vec<u8> {
        cast(overflow).map(|(value, overflow)| Fp8E5M2::from_f32(value, overflow).0).collect()
    };
    assert_eq!(e4m3(Overflow::Saturate), recorded[0]);
    assert_eq!(e4m3(Overflow::Infinite), recorded[1]);
    assert_eq!(e5m2(Overflow::Infinite), recorded[2]);
    // Nobody saturates to E5M2 on a CPU; by definition, only infinity differs.
    let saturated = recorded[2].iter().map(|&code| code - u8::from(code & 0x7f == 0x7c));
    assert_eq!(e5m2(Overflow::Saturate), saturated.collect::<Vec<_>>());

    let mut codes = vec![Fp8E4M3::default(); inputs.len()];
    quantize(inputs, 1.0, Overflow::Infinite, &mut codes).unwrap();
    assert_eq!(bytemuck::cast_slice::<_, u8>(&codes), recorded[1]);
}

#[test]
fn every_f16_every_bf16_and_many_f32_are_cast_as_recorded() {
    let bytes = unpack(RECORDED);
    let mut rest = &bytes[..];
    let mut take = |len| rest.split_off(..len).unwrap();
    let every = || 0..=u16::MAX;
    let f16s: Vec<_> = every().map(f16::from_bits).collect();
    check(&f16s, [take(ALL), take(ALL), take(ALL)]);
    let bf16s: Vec<_> = every().map(bf16::from_bits).collect();
    check(&bf16s, [take(ALL), take(ALL), take(ALL)]);
    let count = u32::from_le_bytes(take(4).try_into().unwrap()) as usize;
    assert!(count > 15_000, "{count}");
    let f32s: Vec<f32> =
        take(4 * count).chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
    check(&f32s, [take(count), take(count), take(count)]);

    let decoded: Vec<f32> = take(2048).chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
    assert!(rest.is_empty());
    for code in 0..=u8::MAX {
        let ours = [Fp8E4M3(code).to_f32(), Fp8E5M2(code).to_f32()];
        for (ours, recorded) in ours.into_iter().zip([0, 256]) {
            let recorded = decoded[usize::from(code) + recorded];
            let same = ours.to_bits() == recorded.to_bits() || ours.is_nan() && recorded.is_nan();
            assert!(same, "{code}: {ours} is not {recorded}");
        }
    }
}

#[test]
fn every_number_is_cast_to_itself() {
    fn check<F: Fp8>(code: F) {
        let number = code.to_f32();
        if number.is_finite() {
            let again = F::from_f32(number, Overflow::Infinite);
            assert_eq!(bytemuck::bytes_of(&again), bytemuck::bytes_of(&code));
        }
    }
    for code in 0..=u8::MAX {
        check(Fp8E4M3(code));
        check(Fp8E5M2(code));
    }
}

#[test]
fn f16_and_bf16_are_those_of_half() {
    for bits in 0..=u16::MAX {
        let (ours, theirs) = (Wide::to_f32(f16::from_bits(bits)), f16::from_bits(bits).to_f32());
        assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(), "{bits:x}");
        let (ours, theirs) = (Wide::to_f32(bf16::from_bits(bits)), bf16::from_bits(bits).to_f32());
        assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(), "{bits:x}");
    }
    let around = (0..=u16::MAX).flat_map(|bits| {
        let half_way = u32::from(bits) << 16 | 0x8000;
        let ends = f16::from_bits(bits).to_f32().to_bits();
        [half_way - 1, half_way, half_way + 1, ends | 0x1000, ends ^ 0xfff, ends + 1]
    });
    for value in around.map(f32::from_bits).filter(|value| !value.is_nan()) {
        assert_eq!(<f16 as Wide>::from_f32(value), f16::from_f32(value), "{value:e}");
        assert_eq!(<bf16 as Wide>::from_f32(value), bf16::from_f32(value), "{value:e}");
    }
}

#[test]
fn the_amax_is_that_of_the_input_and_nan_does_not_count() {
    let mut codes = [Fp8E4M3::default(); 3];
    let mut amax = |input: [f32; 3]| quantize(&input, 4.0, Overflow::Saturate, &mut codes).unwrap();
    assert_eq!(amax([1.0, -3.0, f32::NAN]), 3.0);
    assert_eq!(amax([f32::NAN; 3]), 0.0);
    assert_eq!(amax([0.0, -0.0, 0.0]), 0.0);
    assert_eq!(amax([1.0, f32::NEG_INFINITY, 3.0]), f32::INFINITY);
    assert_eq!(quantize::<f32, Fp8E4M3>(&[], 4.0, Overflow::Saturate, &mut []).unwrap(), 0.0);
}

#[test]
fn slices_are_cast_as_their_numbers_and_back() {
    fn check<T: Wide, F: Fp8>(input: &[f32], scale: f32) {
        let input: Vec<T> = input.iter().map(|&value| T::from_f32(value)).collect();
        let mut codes = vec![F::zeroed(); input.len()];
        quantize(&input, scale, Overflow::Saturate, &mut codes).unwrap();
        let mut back = vec![T::zeroed(); input.len()];
        dequantize(&codes, 1.0 / scale, &mut back).unwrap();
        for ((value, code), back) in input.into_iter().zip(codes).zip(back) {
            let expected = F::from_f32(value.to_f32() * scale, Overflow::Saturate);
            assert_eq!(bytemuck::bytes_of(&code), bytemuck::bytes_of(&expected));
            let expected = T::from_f32(code.to_f32() * (1.0 / scale)).to_f32();
            let same = back.to_f32() == expected || expected.is_nan() && back.to_f32().is_nan();
            assert!(same, "{} is not {expected}", back.to_f32());
        }
    }
    let input = numbers(100_003, 1);
    for scale in [1.0, 0.37, 1e-6, 4096.0] {
        check::<f32, Fp8E4M3>(&input, scale);
        check::<f16, Fp8E5M2>(&input, scale);
        check::<bf16, Fp8E4M3>(&input, scale);
    }
}

proptest! {
    #[test]
    fn a_cast_gives_the_nearest_number(bits: u32) {
        let value = f32::from_bits(bits);
        prop_assume!(!value.is_nan());
        let e4m3 = finite(|code| f64::from(Fp8E4M3(code.min(0x7f) as u8).to_f32()));
        let e5m2 = finite(|code| f64::from(Fp8E5M2(code.min(0x7f) as u8).to_f32()));
        let sign = u8::from(value.is_sign_negative()) << 7;
        let code = nearest(f64::from(value), &e4m3) as u8 | sign;
        prop_assert_eq!(Fp8E4M3::from_f32(value, Overflow::Infinite).0, code);
        let code = nearest(f64::from(value), &e5m2) as u8 | sign;
        prop_assert_eq!(Fp8E5M2::from_f32(value, Overflow::Infinite).0, code);
    }
}
