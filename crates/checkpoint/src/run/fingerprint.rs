//! [`Fingerprint`]: what two runs of a layer must have in common.

use std::fmt;

use freeboard_units::{Bytes, Dtype};

/// The most dimensions that are told apart.
const DIMENSIONS: usize = 6;
/// How many values are looked at.
const SAMPLES: usize = 64;

/// A tensor's metadata and a hash of some of its values, to compare a recomputed one with the
/// first.
///
/// ```
/// use freeboard_checkpoint::Fingerprint;
/// use freeboard_units::{Bytes, Dtype};
///
/// let numbers = [1.0_f32, 2.0, 3.0, 4.0];
/// let print = Fingerprint::new(Bytes::new(16)).shape(&[2, 2]).dtype(Dtype::F32);
/// assert_eq!(print.to_string(), "float32 [2, 2] of 16 bytes");
/// let bits = |index: usize| u64::from(numbers[index].to_bits());
/// assert_ne!(print.values(4, bits), print.values(4, |index| bits(3 - index)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    bytes: Bytes,
    shape: Option<(usize, [usize; DIMENSIONS])>,
    dtype: Option<Dtype>,
    hash: Option<u64>,
}

impl Fingerprint {
    /// Only a size.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self { bytes, shape: None, dtype: None, hash: None }
    }

    /// And a shape; of dimensions beyond the sixth, their product.
    #[must_use]
    pub fn shape(self, shape: &[usize]) -> Self {
        let mut dimensions = [1_usize; DIMENSIONS];
        for (index, &size) in shape.iter().enumerate() {
            let kept = &mut dimensions[index.min(DIMENSIONS - 1)];
            *kept = kept.wrapping_mul(size);
        }
        Self { shape: Some((shape.len(), dimensions)), ..self }
    }

    /// And a type of element.
    #[must_use]
    pub const fn dtype(self, dtype: Dtype) -> Self {
        Self { dtype: Some(dtype), ..self }
    }

    /// And a hash of up to 64 of `count` values, spread evenly with the first and the last among
    /// them; `bits` gives the one at an index. Of two tensors that differ in one of these, hashes
    /// differ.
    #[must_use]
    pub fn values(self, count: usize, mut bits: impl FnMut(usize) -> u64) -> Self {
        let mut hash = 0x9e37_79b9_7f4a_7c15 ^ count as u64;
        let last = count.saturating_sub(1);
        let samples = count.min(SAMPLES);
        for sample in 0..samples {
            // As u128, since a count times 63 need not fit.
            let index = sample as u128 * last as u128 / (samples.max(2) - 1) as u128;
            let word = bits(usize::try_from(index).unwrap_or(last));
            hash = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31);
        }
        Self { hash: Some(hash), ..self }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(dtype) = self.dtype {
            write!(formatter, "{} ", dtype.name())?;
        }
        if let Some((count, sizes)) = &self.shape {
            write!(formatter, "{:?} of ", &sizes[..(*count).min(DIMENSIONS)])?;
        }
        write!(formatter, "{}", self.bytes)?;
        match self.hash {
            Some(hash) => write!(formatter, ", values {hash:016x}"),
            None => Ok(()),
        }
    }
}
