//! [`Count`]: bytes or elements while they are worked out.

use std::iter::Sum;
use std::ops::{Add, Mul, Sub};

use freeboard_units::Bytes;

use crate::EstimateError;

/// A whole number that sticks at its ends, so that no input makes it wrap: what stuck is still too
/// large for [`Count::bytes`] after it was divided by any `u32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Count(u128);

impl Count {
    pub(crate) const ZERO: Self = Self(0);

    /// Split among so many, rounded up.
    pub(crate) fn shared(self, among: u32) -> Self {
        Self(self.0.div_ceil(u128::from(among.max(1))))
    }

    /// As bytes, which must be fewer than 2^63.
    pub(crate) fn bytes(self, what: &'static str) -> Result<Bytes, EstimateError> {
        match u64::try_from(self.0) {
            Ok(bytes) if bytes >> 63 == 0 => Ok(Bytes::new(bytes)),
            _ => Err(EstimateError::TooLarge { what }),
        }
    }

    /// This part of it, from 0 to 1, rounded up.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "casts to integers stick at their ends, and a part needs no more than 53 bits"
    )]
    pub(crate) fn part(self, part: f64) -> Self {
        if part >= 1.0 { self } else { Self((self.0 as f64 * part).ceil() as u128) }
    }
}

impl From<u32> for Count {
    fn from(number: u32) -> Self {
        Self(number.into())
    }
}

impl From<Bytes> for Count {
    fn from(bytes: Bytes) -> Self {
        Self(bytes.get().into())
    }
}

impl Add for Count {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Down to zero.
impl Sub for Count {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl<N: Into<Self>> Mul<N> for Count {
    type Output = Self;
    fn mul(self, other: N) -> Self {
        Self(self.0.saturating_mul(other.into().0))
    }
}

impl Sum for Count {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_stays_too_large() {
        let most = Count::from(u32::MAX);
        let stuck = most * most * most * most * most;
        assert!(stuck.shared(u32::MAX).bytes("it").is_err());
        assert!((stuck + stuck).bytes("it").is_err());
        assert_eq!((most * 2).bytes("it").unwrap(), Bytes::new(u64::from(u32::MAX) * 2));
    }

    #[test]
    fn parts_are_rounded_up() {
        assert_eq!(Count::from(10).shared(4), Count::from(3));
        assert_eq!(Count::from(10).part(0.25), Count::from(3));
        assert_eq!(Count::from(10).part(1.0), Count::from(10));
    }
}
