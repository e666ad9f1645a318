//! f32 to f16 and bf16, to nearest or at random, and back.
//!
//! Branches are few, so that loops become vector instructions. A NaN becomes the one that GPUs make.
#![expect(
    clippy::inline_always,
    reason = "a loop must be compiled for the level it is called from"
)]

use half::{bf16, f16};

use crate::Float;

const NAN: u16 = 0x7fff;

/// A type of 16 bits that an f32 is rounded to: [`f16`](struct@f16) and [`bf16`].
pub trait Half: Float + Sealed {}

impl Half for f16 {}
impl Half for bf16 {}

/// What the kernels do with them.
pub trait Sealed: Copy {
    /// To nearest, ties to even.
    fn nearest(value: f32) -> Self;
    /// To one of the two neighbours, by 32 random bits. Infinity only where the nearest is.
    fn random(value: f32, bits: u32) -> Self;
    fn widen(self) -> f32;
}

/// The bits of an f16 without its sign, from those of an f32 that is no NaN: to nearest, ties to even.
#[inline(always)]
pub(super) const fn narrow_f16(size: u32) -> u32 {
    let normal = size.wrapping_sub(0x3800_0000).wrapping_add(0x0fff + (size >> 13 & 1)) >> 13;
    // No normal f16: adding 0.5, whose last place is the least f16, rounds.
    let small = (f32::from_bits(size) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let finite = if size < 0x3880_0000 { small } else { normal };
    if size >= 0x4780_0000 { 0x7c00 } else { finite }
}

#[expect(clippy::cast_possible_truncation, reason = "the upper half is empty")]
#[inline(always)]
const fn low_half(bits: u32) -> u16 {
    bits as u16
}

impl Sealed for bf16 {
    #[inline(always)]
    fn nearest(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = low_half(bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16);
        Self::from_bits(if value.is_nan() { NAN } else { rounded })
    }

    #[inline(always)]
    fn random(value: f32, random: u32) -> Self {
        let bits = value.to_bits();
        // Past the largest, the nearest is taken.
        let size = bits & 0x7fff_ffff;
        let rounded = if size >= 0x7f7f_0000 {
            u32::from(size >= 0x7f7f_8000) + 0x7f7f
        } else {
            (size + (random >> 16)) >> 16
        };
        let result = low_half(rounded | bits >> 16 & 0x8000);
        Self::from_bits(if value.is_nan() { NAN } else { result })
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

/// 2^24: how many of the least f16 make 1.
const LEAST: f32 = 16_777_216.0;

impl Sealed for f16 {
    #[inline(always)]
    fn nearest(value: f32) -> Self {
        let bits = value.to_bits();
        let result = low_half(narrow_f16(bits & 0x7fff_ffff) | bits >> 16 & 0x8000);
        Self::from_bits(if value.is_nan() { NAN } else { result })
    }

    #[inline(always)]
    fn random(value: f32, random: u32) -> Self {
        let bits = value.to_bits();
        let size = bits & 0x7fff_ffff;
        let normal = size.wrapping_sub(0x3800_0000).wrapping_add(random >> 19) >> 13;
        // No normal f16: in units of the least, and by all 32 random bits.
        let units = f32::from_bits(size.min(0x3880_0000)) * LEAST;
        let (whole, rest) = (units.trunc(), units.fract() * 4_294_967_296.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        let small = whole as u32 + u32::from(random < rest as u32);
        let finite = if size < 0x3880_0000 { small } else { normal };
        // Past the largest, the nearest is taken.
        let large = u32::from(size >= 0x477f_f000) + 0x7bff;
        let result = if size >= 0x477f_e000 { large } else { finite };
        let result = low_half(result | bits >> 16 & 0x8000);
        Self::from_bits(if value.is_nan() { NAN } else { result })
    }

    /// The exponent is moved by a product, which makes subnormal numbers normal, too.
    #[inline(always)]
    fn widen(self) -> f32 {
        let bits = u32::from(self.to_bits());
        let moved = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
        let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
        let size = if bits & 0x7fff > 0x7c00 { 0x7fff_ffff } else { moved.to_bits() | special };
        f32::from_bits(size | (bits & 0x8000) << 16)
    }
}
