//! [`Histogram`]: how large the numbers of a tensor are, by powers of two.

use std::fmt;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::host::{Data, HostTensor};

/// The bins, and the power of two that the first but one begins at.
const BINS: usize = 64;
const LOWEST: i32 = -46;
/// The longest bar, in characters.
const BAR: usize = 50;

/// How large the numbers of a tensor are, by powers of two, zeros and what is not finite left out.
///
/// ```
/// use freeboard_grad_scaler::range::{Histogram, HostTensor};
///
/// let histogram = Histogram::of(&HostTensor::of("x", &[1.0_f32, -1.5, 0.25, 0.0])?);
/// assert_eq!((histogram.count(0), histogram.count(-2)), (2, 1));
/// # Ok::<(), freeboard_grad_scaler::range::RangeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// 64 counts: of magnitudes below 2^-46, from 2^-46, from 2^-45, ..., from 2^16 on.
    bins: Vec<u64>,
}

impl Histogram {
    /// Counts, on the host.
    #[must_use]
    pub fn of(tensor: &HostTensor<'_>) -> Self {
        let bins = match tensor.data {
            Data::F64(numbers) => count(numbers, |&number| number),
            Data::F32(numbers) => count(numbers, |&number| f64::from(number)),
            Data::F16(numbers) => count(numbers, |&number| f64::from(number)),
            Data::BF16(numbers) => count(numbers, |&number| f64::from(number)),
        };
        Self { bins: bins.to_vec() }
    }

    /// How many magnitudes are 2^`exponent` or more, but less than twice that. All below 2^-46 count
    /// for -47, all from 2^16 on for 16.
    #[must_use]
    pub fn count(&self, exponent: i32) -> u64 {
        self.bins.get(bin(exponent)).copied().unwrap_or(0)
    }
}

fn bin(exponent: i32) -> usize {
    usize::try_from(exponent - LOWEST + 1).unwrap_or(0).min(BINS - 1)
}

fn count<T: Sync>(numbers: &[T], value: impl Fn(&T) -> f64 + Sync) -> [u64; BINS] {
    let piece = |numbers: &[T]| {
        let mut bins = [0_u64; BINS];
        for number in numbers {
            let number = value(number);
            if number != 0.0 && number.is_finite() {
                let exponent = (number.to_bits() >> 52 & 0x7ff) as i32 - 1023;
                bins[bin(exponent)] += 1;
            }
        }
        bins
    };
    let add = |a: [u64; BINS], b: [u64; BINS]| std::array::from_fn(|at| a[at] + b[at]);
    numbers.par_chunks(1 << 15).map(piece).reduce(|| [0; BINS], add)
}

impl fmt::Display for Histogram {
    /// A line for each power of two between the first and the last that occur.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.bins.iter().copied().max().unwrap_or(0);
        let used = |count: &u64| *count > 0;
        let (Some(first), Some(last)) =
            (self.bins.iter().position(used), self.bins.iter().rposition(used))
        else {
            return writeln!(f, "no number is finite and not zero");
        };
        for (exponent, &count) in (LOWEST - 1..).zip(&self.bins).take(last + 1).skip(first) {
            let bar = (u128::from(count) * BAR as u128).div_ceil(u128::from(most)) as usize;
            writeln!(f, "2^{exponent:<4} {count:>12}  {:#<bar$}", "")?;
        }
        Ok(())
    }
}
