//! What the host computes in place of a GPU's conversions is right for every number.
#![allow(clippy::float_cmp, reason = "bits are what is compared")]

use half::{bf16, f16};

unsafe extern "C" {
    safe fn freeboard_fake_f16_to_float(bits: u16) -> f32;
    safe fn freeboard_fake_float_to_f16(value: f32) -> u16;
    safe fn freeboard_fake_float_to_bf16(value: f32) -> u16;
}

/// A GPU makes one NaN, whatever NaN it is given.
const NAN: u16 = 0x7fff;

#[test]
fn every_f16_becomes_its_float() {
    for bits in 0..=u16::MAX {
        let (found, wanted) = (freeboard_fake_f16_to_float(bits), f16::from_bits(bits).to_f32());
        let nan = wanted.is_nan() && found.to_bits() == 0x7fff_ffff;
        assert!(nan || found.to_bits() == wanted.to_bits(), "{bits:#x}: {found} for {wanted}");
    }
}

/// All floats as far as rounding can tell them apart: the upper 20 bits, and whether what lies below
/// is nothing, little, a half, or more.
#[test]
fn floats_become_the_nearest_f16_and_bf16() {
    for upper in 0..1_u32 << 20 {
        for lower in [0, 1, 0x7ff, 0x800, 0x801, 0xfff] {
            let value = f32::from_bits(upper << 12 | lower);
            let (half, brain) = (f16::from_f32(value), bf16::from_f32(value));
            let wanted = if value.is_nan() { [NAN; 2] } else { [half.to_bits(), brain.to_bits()] };
            let found = [freeboard_fake_float_to_f16(value), freeboard_fake_float_to_bf16(value)];
            assert_eq!(found, wanted, "{value:e}");
        }
    }
}
