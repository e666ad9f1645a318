//! [`RangeReport`]: what was found in a tensor, and what follows.

use std::fmt;

use freeboard_units::Dtype;
use serde::{Deserialize, Serialize};

use super::target::largest;
use super::{RangeError, RangeTarget};
use crate::kernels::range::Row;

/// What a cast of a tensor to a narrow type would lose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RangeReport {
    /// The tensor's name.
    pub name: String,
    /// Its type.
    pub dtype: Dtype,
    /// The type of the cast.
    pub target: Dtype,
    /// What each number is multiplied by first. The counts below the amax are of these products.
    pub factor: f32,
    /// How many numbers there are.
    pub elements: u64,
    /// How many are zero.
    pub zeros: u64,
    /// How many are infinite.
    pub infinities: u64,
    /// How many are NaN.
    pub nans: u64,
    /// The largest finite magnitude, before the factor.
    pub amax: f64,
    /// How many, not zero, would become zero.
    pub underflow: u64,
    /// How many would keep only a part of their fraction: subnormal numbers of the target.
    pub subnormal: u64,
    /// How many, finite, would become infinite or NaN (or the largest number, if it saturates).
    pub overflow: u64,
}

impl RangeReport {
    /// Of a tensor in which nothing was counted yet.
    pub(crate) fn new(name: &str, dtype: Dtype, target: RangeTarget, elements: u64) -> Self {
        Self {
            name: name.to_owned(),
            dtype,
            target: target.dtype(),
            factor: target.factor(),
            elements,
            zeros: 0,
            infinities: 0,
            nans: 0,
            amax: 0.0,
            underflow: 0,
            subnormal: 0,
            overflow: 0,
        }
    }

    /// With an amax and counts.
    pub(crate) fn with(self, (amax, row): (f64, Row)) -> Self {
        let Row { zeros, infinities, nans, underflow, subnormal, overflow, .. } = row;
        Self { zeros, infinities, nans, amax, underflow, subnormal, overflow, ..self }
    }

    /// A count as a part of all elements, 0.0 to 1.0; 0.0 of an empty tensor.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a fraction need not be exact")]
    pub fn fraction(&self, count: u64) -> f64 {
        if self.elements == 0 { 0.0 } else { count as f64 / self.elements as f64 }
    }
}

/// Reports as a table, the worst underflow first.
///
/// ```
/// use freeboard_grad_scaler::range::{HostTensor, RangeTable, RangeTarget, measure};
/// use freeboard_units::Dtype;
///
/// let weights = HostTensor::of("weights", &[1.0_f32, 1e-9, 0.0, 1e6])?;
/// let reports = measure(&[weights], RangeTarget::new(Dtype::F16)?)?;
/// assert_eq!((reports[0].underflow, reports[0].overflow), (1, 1));
/// println!("{}", RangeTable(&reports));
/// # Ok::<(), freeboard_grad_scaler::range::RangeError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RangeTable<'a>(pub &'a [RangeReport]);

impl fmt::Display for RangeTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<_> = self.0.iter().collect();
        let loss = |report: &RangeReport| report.fraction(report.underflow);
        rows.sort_by(|a, b| loss(b).total_cmp(&loss(a)));
        let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(6);
        write!(f, "{:width$}  {:8}  {:13}", "tensor", "type", "to")?;
        writeln!(f, "  {:>10}  underflow  subnormal   overflow  inf or NaN", "amax")?;
        for row in rows {
            let percent = |count| 100.0 * row.fraction(count);
            write!(f, "{:width$}  {:8}  {:13}", row.name, row.dtype.name(), row.target.name())?;
            write!(f, "  {:>10.3e}  {:>8.3}%", row.amax, percent(row.underflow))?;
            write!(f, "  {:>8.3}%  {:>8.3}%", percent(row.subnormal), percent(row.overflow))?;
            writeln!(f, "  {:>10}", row.infinities + row.nans)?;
        }
        Ok(())
    }
}

/// The largest power of two that all reported tensors can be multiplied by before a cast to `target`
/// so that no finite number overflows, with `margin` more powers of two left free. At least 2^-126,
/// at most 2^127.
///
/// # Errors
/// When `target` is no target, or no number is finite and not zero.
///
/// ```
/// use freeboard_grad_scaler::range::{HostTensor, RangeTarget, measure, suggest_scale};
/// use freeboard_units::Dtype;
///
/// let gradients = HostTensor::of("gradients", &[1e-4_f32, -3e-6])?;
/// let reports = measure(&[gradients], RangeTarget::new(Dtype::F16)?)?;
/// assert_eq!(suggest_scale(&reports, Dtype::F16, 2)?, 2.0_f32.powi(27)); // 65,504 / 1e-4 / 4
/// # Ok::<(), freeboard_grad_scaler::range::RangeError>(())
/// ```
pub fn suggest_scale(
    reports: &[RangeReport],
    target: Dtype,
    margin: u32,
) -> Result<f32, RangeError> {
    let largest = largest(target).ok_or(RangeError::NotATarget { dtype: target })?;
    let amax = reports.iter().map(|report| report.amax).fold(0.0, f64::max);
    if amax <= 0.0 {
        return Err(RangeError::NothingToScale);
    }
    let fits = |exponent: i16| amax * f64::from(exponent).exp2() <= largest;
    let exponent = (-1100..=1100).rev().find(|&exponent| fits(exponent)).unwrap_or(-1100);
    let exponent = exponent.saturating_sub(i16::try_from(margin).unwrap_or(i16::MAX));
    Ok(f32::from(exponent.clamp(-126, 127)).exp2())
}
