//! Random bits and rounding, number by number.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use half::{bf16, f16};

use super::super::round::{Half, Sealed};
use super::advance::power;

/// All floats as far as rounding can tell them apart: the upper 20 bits, and what lies below.
fn floats() -> impl Iterator<Item = f32> {
    let lower = [0, 1, 0x7ff, 0x800, 0x801, 0xfff];
    (0..1_u32 << 20).flat_map(move |upper| lower.map(|lower| f32::from_bits(upper << 12 | lower)))
}

/// What `half` makes of a float, with the NaN that GPUs make.
fn nearest_by_half(value: f32) -> [u16; 2] {
    if value.is_nan() {
        [0x7fff; 2]
    } else {
        [f16::from_f32(value).to_bits(), bf16::from_f32(value).to_bits()]
    }
}

#[test]
fn floats_become_the_nearest_and_halves_their_floats() {
    for value in floats() {
        let ours = [<f16 as Sealed>::nearest(value).to_bits(), bf16::nearest(value).to_bits()];
        assert_eq!(ours, nearest_by_half(value), "{value:e}");
    }
    for bits in 0..=u16::MAX {
        let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
        let same = |ours: f32, theirs: f32| {
            ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan()
        };
        assert!(same(half.widen(), half.to_f32()), "f16 {bits:#x}");
        assert!(same(brain.widen(), brain.to_f32()), "bf16 {bits:#x}");
    }
}

/// The finite neighbours of a number towards zero and away from it, as bits without a sign.
fn neighbours<T: Half>(value: f32, bits: fn(T) -> u16) -> [u16; 2] {
    let size = value.abs();
    let nearest = T::nearest(size);
    let (at, exact) = (bits(nearest), nearest.widen());
    if exact > size {
        [at - 1, at]
    } else if exact < size {
        [at, at + 1]
    } else {
        [at; 2]
    }
}

fn random_stays_near<T: Half>(largest: f32, bits: fn(T) -> u16) {
    for value in floats() {
        for random in [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_0000, u32::MAX] {
            let ours = bits(T::random(value, random));
            if value.is_nan() {
                assert_eq!(ours, 0x7fff);
                continue;
            }
            assert_eq!(ours >> 15 == 1, value.is_sign_negative(), "{value:e}");
            // Past the largest there is no choice.
            let may_be = if value.abs() >= largest {
                [bits(T::nearest(value.abs())); 2]
            } else {
                neighbours::<T>(value, bits)
            };
            assert!(may_be.contains(&(ours & 0x7fff)), "{value:e} by {random:#x}: {ours:#x}");
        }
    }
}

#[test]
fn random_rounding_gives_one_of_the_two_neighbours() {
    random_stays_near::<f16>(65504.0, f16::to_bits);
    random_stays_near::<bf16>(bf16::MAX.to_f32(), bf16::to_bits);
}

/// Rounds a number by every value of the 16 highest random bits, which are those that decide.
fn mean_by_all<T: Half>(value: f32) -> f64 {
    let all = (0..=u16::MAX).map(|high| u32::from(high) << 16);
    let sum: f64 = all.map(|random| f64::from(T::random(value, random).widen())).sum();
    sum / 65536.0
}

#[test]
fn the_mean_of_all_random_roundings_is_the_number() {
    for bits in [0x3f80_0001, 0x3f80_8000, 0x3fff_ffff, 0x0012_3456, 0x7f7e_ffff, 0x3380_1234] {
        for value in [f32::from_bits(bits), -f32::from_bits(bits)] {
            let mean = mean_by_all::<bf16>(value);
            assert_eq!(mean.to_bits(), f64::from(value).to_bits(), "bf16 {value:e}");
        }
    }
    // In the normal range 13 bits decide; below it all 32, of which these are 16.
    for value in [1.000_1_f32, -1.5, 65503.9, 6.2e-5, 1000.7] {
        let mean = mean_by_all::<f16>(value);
        assert_eq!(mean.to_bits(), f64::from(value).to_bits(), "f16 {value:e}");
    }
    for value in [5.9e-5_f32, 1e-7, -3e-8, 1e-9] {
        let off = (mean_by_all::<f16>(value) - f64::from(value)).abs();
        assert!(off <= 2_f64.powi(-24) / 65536.0, "f16 {value:e}: {off:e}");
    }
}

#[test]
fn a_power_is_what_the_library_says_as_far_as_an_f32_can_tell() {
    for beta in [0.0, 0.3, 0.9, 0.95, 0.999, 0.999_999] {
        for steps in (1_u32..2000).chain([10_000, 1_000_000, 1 << 30]) {
            let ours = 1.0 - power(beta, steps.into());
            let theirs = 1.0 - beta.powf(steps.into());
            assert!((ours - theirs).abs() <= theirs * 1e-9, "{beta}^{steps}: {ours} {theirs}");
        }
    }
}
