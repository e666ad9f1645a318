//! [`RangeTarget`]: the type that numbers are thought to be cast to, and where it ends.

use freeboard_units::Dtype;

use super::RangeError;
use super::tally::Question;

/// A type that tensors might be cast to, by a factor that one considers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangeTarget {
    dtype: Dtype,
    factor: f32,
}

impl RangeTarget {
    /// A cast to `dtype` as it is.
    ///
    /// # Errors
    /// When it is none of f16, bf16, E4M3 and E5M2.
    pub fn new(dtype: Dtype) -> Result<Self, RangeError> {
        if limits(dtype).is_none() {
            return Err(RangeError::NotATarget { dtype });
        }
        Ok(Self { dtype, factor: 1.0 })
    }

    /// A cast of each number times `factor`.
    ///
    /// # Errors
    /// When the factor is not finite and above 0.
    pub fn scaled(self, factor: f32) -> Result<Self, RangeError> {
        if !(factor.is_finite() && factor > 0.0) {
            return Err(RangeError::Factor { factor });
        }
        Ok(Self { factor, ..self })
    }

    /// The type.
    #[must_use]
    pub const fn dtype(self) -> Dtype {
        self.dtype
    }

    /// The factor: 1 unless it was set.
    #[must_use]
    pub const fn factor(self) -> f32 {
        self.factor
    }

    /// In f32.
    pub(crate) fn question(self) -> Question {
        let Limits { zero, normal, overflow, ties_fit } = self.limits();
        #[expect(clippy::cast_possible_truncation, reason = "all limits are numbers of f32")]
        let [zero, normal, overflow] =
            [zero, normal, overflow].map(|limit| (limit as f32).to_bits());
        Question { factor: self.factor, limits: [zero, normal, overflow + u32::from(ties_fit)] }
    }

    /// The same limits, as bits of f64.
    pub(crate) fn limits_f64(self) -> [u64; 3] {
        let Limits { zero, normal, overflow, ties_fit } = self.limits();
        [zero.to_bits(), normal.to_bits(), overflow.to_bits() + u64::from(ties_fit)]
    }

    fn limits(self) -> Limits {
        // `new` has looked.
        limits(self.dtype).unwrap_or(F16)
    }
}

/// Where a type ends, when numbers are rounded to it to nearest, ties to even.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// The largest magnitude that becomes zero: half the least number.
    zero: f64,
    /// The least that becomes a normal number: half way between the last two.
    normal: f64,
    /// Half way between the largest number and what would come next.
    overflow: f64,
    /// Whether that itself still becomes the largest number.
    ties_fit: bool,
}

const fn power(exponent: i64) -> f64 {
    f64::from_bits((exponent + 1023).cast_unsigned() << 52)
}

const F16: Limits = Limits {
    zero: power(-25),
    normal: power(-14) - power(-25),
    overflow: 65_520.0,
    ties_fit: false,
};

const fn limits(dtype: Dtype) -> Option<Limits> {
    Some(match dtype {
        Dtype::F16 => F16,
        Dtype::BF16 => Limits {
            zero: power(-134),
            normal: power(-126) - power(-134),
            overflow: power(128) - power(119),
            ties_fit: false,
        },
        Dtype::F8E4M3 => Limits {
            zero: power(-10),
            normal: power(-6) - power(-10),
            overflow: 464.0,
            ties_fit: true,
        },
        Dtype::F8E5M2 => Limits {
            zero: power(-17),
            normal: power(-14) - power(-17),
            overflow: 61_440.0,
            ties_fit: false,
        },
        _ => return None,
    })
}

/// The largest number of a type that can be a target.
pub(crate) const fn largest(dtype: Dtype) -> Option<f64> {
    Some(match dtype {
        Dtype::F16 => 65_504.0,
        Dtype::BF16 => power(128) - power(120),
        Dtype::F8E4M3 => 448.0,
        Dtype::F8E5M2 => 57_344.0,
        _ => return None,
    })
}
