//! [`Bytes`]: a number of bytes, read and written in binary units.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub, SubAssign};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes.
///
/// Arithmetic with `+`, `-` and `*` panics on overflow in debug builds, as `u64` does; sizes that
/// come from outside go through [`Bytes::checked_add`] and [`Bytes::checked_align_up`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(u64);

const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];

impl Bytes {
    /// No bytes.
    pub const ZERO: Self = Self(0);
    /// The largest number of bytes that can be written down, also used for "no limit".
    pub const MAX: Self = Self(u64::MAX);

    /// This many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// This many KiB (1,024 bytes).
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// This many MiB (1,024 KiB).
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// This many GiB (1,024 MiB).
    #[must_use]
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number as a signed counter; sizes beyond `i64::MAX` saturate.
    #[must_use]
    pub fn as_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The number as a float, for ratios.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "ratios of sizes need no more than 53 bits")]
    pub const fn as_f64(self) -> f64 {
        self.0 as f64
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The least multiple of `unit` that is not below `self`, or `None` past `u64::MAX`.
    ///
    /// # Panics
    /// When `unit` is zero.
    #[must_use]
    pub const fn checked_align_up(self, unit: Self) -> Option<Self> {
        match self.0.checked_next_multiple_of(unit.0) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    /// The least multiple of `unit` that is not below `self`.
    ///
    /// # Panics
    /// When `unit` is zero, and in debug builds when the result exceeds `u64::MAX`.
    #[must_use]
    pub const fn align_up(self, unit: Self) -> Self {
        Self(self.0.next_multiple_of(unit.0))
    }

    /// The largest multiple of `unit` that is not above `self`.
    ///
    /// # Panics
    /// When `unit` is zero.
    #[must_use]
    pub const fn align_down(self, unit: Self) -> Self {
        Self(self.0 - self.0 % unit.0)
    }

    /// Whether `self` is a multiple of `unit`.
    ///
    /// # Panics
    /// When `unit` is zero.
    #[must_use]
    pub const fn is_aligned(self, unit: Self) -> bool {
        self.0.is_multiple_of(unit.0)
    }

    /// The sum, or `None` past `u64::MAX`.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    /// The difference, or zero where `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The sum, or [`Bytes::MAX`] past it.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Bytes {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Mul<u64> for Bytes {
    type Output = Self;
    fn mul(self, n: u64) -> Self {
        Self(self.0 * n)
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl SubAssign for Bytes {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= other.0;
    }
}

/// Up to [`Bytes::MAX`].
impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Self::saturating_add)
    }
}

/// Two decimals in the largest fitting binary unit; up to 1,024 bytes as they are.
///
/// These are the words of `PyTorch`'s error messages, so that both can be compared at a glance.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, shift) = match self.0 {
            ..=0x400 => return f.pad(&format!("{} bytes", self.0)),
            0x401..=0x10_0000 => UNITS[0],
            0x10_0001..=0x4000_0000 => UNITS[1],
            _ => UNITS[2],
        };
        #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
        let scaled = self.0 as f64 / (1_u64 << shift) as f64;
        f.pad(&format!("{scaled:.2} {unit}"))
    }
}

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no size: write a number of bytes or one with a unit, like 512MiB or 79.15GiB")]
pub struct ParseBytesError {
    text: String,
}

/// Reads `2097152`, `512MiB`, `79.15 GiB`, and the short forms `k`, `m`, `g`, `t` (binary too).
impl FromStr for Bytes {
    type Err = ParseBytesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.trim()).ok_or_else(|| ParseBytesError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Bytes> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim());
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift).map(Bytes);
    }
    if shift == 0 {
        return None; // half a byte is a typing error
    }
    let scaled = number.parse::<f64>().ok()? * f64::from(1_u32 << (shift / 2)).powi(2);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "checked to lie in the range of u64; digits and a point cannot be negative"
    )]
    (scaled < u64::MAX as f64).then_some(Bytes(scaled as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_every_spelling_people_use() {
        for (text, bytes) in [
            ("0", 0),
            ("2097152", 2 << 20),
            ("2MiB", 2 << 20),
            ("2 MB", 2 << 20),
            ("1.5g", 3 << 29),
            (" 80GiB ", 80 << 30),
            ("0.5kib", 512),
            ("1t", 1 << 40),
        ] {
            assert_eq!(text.parse::<Bytes>(), Ok(Bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_the_text_in_the_message() {
        for text in ["", "x", "-1", "1.5", "NaN", "inf", "1e9", "2XB", "1.2.3GiB", "99999999TiB"] {
            let error = text.parse::<Bytes>().unwrap_err();
            assert!(error.to_string().contains(&format!("'{text}'")), "{error}");
        }
    }

    #[test]
    fn display_switches_units_where_pytorch_does() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1024, "1024 bytes"),
            (1025, "1.00 KiB"),
            (1 << 20, "1024.00 KiB"),
            (85_196_800, "81.25 MiB"),
            (1 << 30, "1024.00 MiB"),
            (7_957_002_240, "7.41 GiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn alignment_meets_its_neighbours() {
        let unit = Bytes::kib(2);
        assert_eq!(Bytes(2049).align_up(unit), Bytes::kib(4));
        assert_eq!(Bytes(2049).align_down(unit), unit);
        assert!(Bytes::ZERO.is_aligned(unit));
        assert_eq!(Bytes::MAX.checked_align_up(unit), None);
    }
}
