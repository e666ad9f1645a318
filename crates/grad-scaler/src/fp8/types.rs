//! [`Fp8E4M3`] and [`Fp8E5M2`]: numbers of one byte, and the traits of what is cast to them.
//!
//! They are our own because no crate has both casts: `float8`, the nearest, only saturates.

use std::fmt;

use bytemuck::{Pod, Zeroable};
use freeboard_buffer::Element;
use freeboard_units::Dtype;
use half::{bf16, f16};

use super::convert::{self, Narrow};
use crate::Float;

mod sealed {
    pub trait Sealed {}
}

/// What becomes of a number that is too large for its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The largest finite number with its sign, of infinities too: what Transformer Engine's casts
    /// do, and since version 2.15 `PyTorch`'s to E4M3.
    #[default]
    Saturate,
    /// Infinity, or NaN in E4M3, which has none: what `PyTorch`'s casts to E5M2 do, and earlier ones
    /// to E4M3.
    Infinite,
}

/// A type of one byte that tensors are cast to.
pub trait Fp8: Element + sealed::Sealed {
    /// It, as a value.
    const DTYPE: Dtype;
    /// The largest finite number.
    const MAX: f32;

    /// To nearest, ties to even. NaN stays NaN.
    fn from_f32(value: f32, overflow: Overflow) -> Self;

    /// Its number, exactly.
    fn to_f32(self) -> f32;
}

/// A type that is cast to FP8 and back.
pub trait Wide: Float + sealed::Sealed {
    /// Its number, exactly.
    fn to_f32(self) -> f32;

    /// To nearest, ties to even.
    fn from_f32(value: f32) -> Self;
}

macro_rules! fp8 {
    ($(#[$doc:meta])* $name:ident, $dtype:ident, $narrow:ident, $max:literal, $number:path) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
        #[repr(transparent)]
        pub struct $name(
            /// The sign (the highest bit), the exponent, the fraction.
            pub u8,
        );

        impl $name {
            /// The largest finite number.
            pub const MAX: f32 = $max;
            const NARROW: Narrow = convert::$narrow;

            /// To nearest, ties to even. NaN stays NaN, with its sign.
            #[must_use]
            #[inline]
            pub const fn from_f32(value: f32, overflow: Overflow) -> Self {
                let saturate = matches!(overflow, Overflow::Saturate);
                Self(convert::f32_to_fp8(value, Self::NARROW, saturate))
            }

            /// Its number, exactly.
            #[must_use]
            #[inline]
            pub const fn to_f32(self) -> f32 {
                $number(self.0)
            }
        }

        impl sealed::Sealed for $name {}

        impl Fp8 for $name {
            const DTYPE: Dtype = Dtype::$dtype;
            const MAX: f32 = $max;

            #[inline]
            fn from_f32(value: f32, overflow: Overflow) -> Self {
                Self::from_f32(value, overflow)
            }

            #[inline]
            fn to_f32(self) -> f32 {
                self.to_f32()
            }
        }

        impl From<$name> for f32 {
            fn from(value: $name) -> Self {
                value.to_f32()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.to_f32().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.to_f32(), f)
            }
        }
    };
}

fp8! {
    /// 4 bits of exponent, 3 of fraction, no infinity, NaN is `0x7f` and `0xff`: `float8_e4m3fn`.
    ///
    /// Equality is that of bits.
    ///
    /// ```
    /// use freeboard_grad_scaler::fp8::{Fp8E4M3, Overflow};
    ///
    /// assert_eq!(Fp8E4M3::from_f32(0.3, Overflow::Saturate).to_f32(), 0.3125);
    /// assert_eq!(Fp8E4M3::from_f32(1e9, Overflow::Saturate).to_f32(), Fp8E4M3::MAX);
    /// assert_eq!(Fp8E4M3::from_f32(1e9, Overflow::Infinite), Fp8E4M3(0x7f));
    /// ```
    Fp8E4M3, F8E4M3, E4M3, 448.0, convert::e4m3_to_f32
}

fp8! {
    /// 5 bits of exponent, 2 of fraction: the upper byte of an f16, `float8_e5m2`.
    ///
    /// Equality is that of bits. A NaN is cast to `0x7f` or `0xff`; `0x7d` and `0x7e` are NaN, too.
    Fp8E5M2, F8E5M2, E5M2, 57_344.0, convert::e5m2_to_f32
}

impl sealed::Sealed for f32 {}
impl sealed::Sealed for f16 {}
impl sealed::Sealed for bf16 {}

impl Wide for f32 {
    #[inline]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline]
    fn from_f32(value: f32) -> Self {
        value
    }
}

impl Wide for f16 {
    #[inline]
    fn to_f32(self) -> f32 {
        convert::f16_to_f32(self.to_bits())
    }

    #[inline]
    fn from_f32(value: f32) -> Self {
        Self::from_bits(convert::f32_to_f16(value))
    }
}

impl Wide for bf16 {
    #[inline]
    fn to_f32(self) -> f32 {
        convert::bf16_to_f32(self.to_bits())
    }

    #[inline]
    fn from_f32(value: f32) -> Self {
        Self::from_bits(convert::f32_to_bf16(value))
    }
}
