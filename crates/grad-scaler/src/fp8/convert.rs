//! Conversions between narrow floating-point types and f32, by integer arithmetic without branches:
//! the compiler makes vector code of a loop over them, and `range.cu` does the same on a GPU.

/// What a floating-point type of 16 bits or fewer is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Narrow {
    /// Bits of the fraction.
    pub(crate) fraction: u32,
    /// What is added to an exponent.
    pub(crate) bias: u32,
    /// The code of the largest finite number.
    pub(crate) largest: u32,
    /// The code of what lies beyond: infinity, or NaN where there is none.
    pub(crate) beyond: u32,
    pub(crate) nan: u32,
}

pub(crate) const E4M3: Narrow =
    Narrow { fraction: 3, bias: 7, largest: 0x7e, beyond: 0x7f, nan: 0x7f };
pub(crate) const E5M2: Narrow =
    Narrow { fraction: 2, bias: 15, largest: 0x7b, beyond: 0x7c, nan: 0x7f };
pub(crate) const F16: Narrow =
    Narrow { fraction: 10, bias: 15, largest: 0x7bff, beyond: 0x7c00, nan: 0x7e00 };

/// The bits of infinity.
pub(crate) const INFINITE: u32 = 0x7f80_0000;
/// All bits but the sign.
pub(crate) const MAGNITUDE: u32 = 0x7fff_ffff;

/// The code of a number, to nearest, ties to even, without its sign. What is too large becomes
/// `beyond`, or `largest` if it saturates.
#[must_use]
pub(crate) const fn narrow(value: f32, to: Narrow, saturate: bool) -> u32 {
    let magnitude = value.to_bits() & MAGNITUDE;
    let shift = 23 - to.fraction;
    let half = (1 << (shift - 1)) - 1;
    let rounded = (magnitude + half + ((magnitude >> shift) & 1)) >> shift;
    let normal = rounded.wrapping_sub((127 - to.bias) << to.fraction);
    // The last bit of this number is the smallest of the type, so adding it rounds to whole ones.
    let ruler = (151 - to.bias - to.fraction) << 23;
    let moved = f32::from_bits(magnitude) + f32::from_bits(ruler);
    let subnormal = moved.to_bits().wrapping_sub(ruler);
    let code = if magnitude < (128 - to.bias) << 23 { subnormal } else { normal };
    let code = if code <= to.largest {
        code
    } else if saturate {
        to.largest
    } else {
        to.beyond
    };
    if magnitude > INFINITE { to.nan } else { code }
}

/// Infinities of the wider type become f32's, NaN stay NaN.
#[must_use]
const fn widen(code: u32, from: Narrow, sign: u32, special: u32) -> f32 {
    let magnitude = code << (23 - from.fraction);
    let normal = magnitude + ((127 - from.bias) << 23);
    let least = (128 - from.bias) << 23;
    let subnormal = f32::from_bits(magnitude + least) - f32::from_bits(least);
    let bits = if magnitude < 1 << 23 {
        subnormal.to_bits()
    } else if code >= special {
        magnitude | INFINITE
    } else {
        normal
    };
    f32::from_bits(bits | sign)
}

/// The number of an f16.
#[must_use]
pub(crate) const fn f16_to_f32(bits: u16) -> f32 {
    let bits = bits as u32;
    widen(bits & 0x7fff, F16, (bits & 0x8000) << 16, 0x7c00)
}

/// An f16, to nearest, ties to even.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a code has 15 bits, and the sign one")]
pub(crate) const fn f32_to_f16(value: f32) -> u16 {
    (narrow(value, F16, false) | ((value.to_bits() >> 16) & 0x8000)) as u16
}

/// The number of a bf16.
#[must_use]
pub(crate) const fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

/// A bf16, to nearest, ties to even.
#[must_use]
pub(crate) const fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    let quiet = bits | 0x0040_0000;
    ((if bits & MAGNITUDE > INFINITE { quiet } else { rounded }) >> 16) as u16
}

/// The number of an E4M3.
#[must_use]
pub(crate) const fn e4m3_to_f32(bits: u8) -> f32 {
    let bits = bits as u32;
    widen(bits & 0x7f, E4M3, (bits & 0x80) << 24, 0x7f)
}

/// The number of an E5M2, which is an f16 cut short.
#[must_use]
pub(crate) const fn e5m2_to_f32(bits: u8) -> f32 {
    f16_to_f32((bits as u16) << 8)
}

/// An FP8 number, with its sign.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a code has 7 bits, and the sign one")]
pub(crate) const fn f32_to_fp8(value: f32, to: Narrow, saturate: bool) -> u8 {
    (narrow(value, to, saturate) | ((value.to_bits() >> 24) & 0x80)) as u8
}
