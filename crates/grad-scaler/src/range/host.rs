//! [`measure`]: tensors in this process's memory.

use bytemuck::try_cast_slice;
use freeboard_units::{Bytes, Dtype};
use half::{bf16, f16};

use super::tally::{tally, tally_f64};
use super::{RangeError, RangeReport, RangeTarget};
use crate::Float;
use crate::kernels::range::Row;

/// A tensor in this process's memory, with its name for reports.
#[derive(Clone, Copy, Debug)]
pub struct HostTensor<'a> {
    name: &'a str,
    pub(crate) data: Data<'a>,
}

/// Numbers of one of the types.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Data<'a> {
    F64(&'a [f64]),
    F32(&'a [f32]),
    F16(&'a [f16]),
    BF16(&'a [bf16]),
}

impl<'a> HostTensor<'a> {
    /// A tensor of these numbers.
    ///
    /// # Errors
    /// None for f64, f32, f16 and bf16.
    pub fn of<T: Float>(name: &'a str, numbers: &'a [T]) -> Result<Self, RangeError> {
        Self::from_bytes(name, T::DTYPE, bytemuck::cast_slice(numbers))
    }

    /// A tensor of numbers whose type is only known at run time.
    ///
    /// # Errors
    /// When the type is none of f64, f32, f16 and bf16, or the bytes are no whole, aligned numbers
    /// of it.
    pub fn from_bytes(name: &'a str, dtype: Dtype, bytes: &'a [u8]) -> Result<Self, RangeError> {
        let data = match dtype {
            Dtype::F64 => try_cast_slice(bytes).map(Data::F64),
            Dtype::F32 => try_cast_slice(bytes).map(Data::F32),
            Dtype::F16 => try_cast_slice(bytes).map(Data::F16),
            Dtype::BF16 => try_cast_slice(bytes).map(Data::BF16),
            _ => {
                let measured = "float64, float32, float16 and bfloat16";
                return Err(RangeError::NotMeasured { tensor: name.to_owned(), dtype, measured });
            }
        };
        let size = Bytes::new(bytes.len() as u64);
        let data = data.map_err(|_| RangeError::Bytes { tensor: name.to_owned(), size, dtype })?;
        Ok(Self { name, data })
    }

    fn measure(&self, target: RangeTarget) -> RangeReport {
        let asked = target.question();
        let (dtype, elements, found) = match self.data {
            Data::F64(numbers) => {
                let found = tally_f64(numbers, f64::from(asked.factor), target.limits_f64());
                (Dtype::F64, numbers.len(), found)
            }
            Data::F32(numbers) => (Dtype::F32, numbers.len(), with_amax(tally(numbers, asked))),
            Data::F16(numbers) => (Dtype::F16, numbers.len(), with_amax(tally(numbers, asked))),
            Data::BF16(numbers) => (Dtype::BF16, numbers.len(), with_amax(tally(numbers, asked))),
        };
        RangeReport::new(self.name, dtype, target, elements as u64).with(found)
    }
}

/// The amax as a number, and the rest.
pub(crate) fn with_amax(row: Row) -> (f64, Row) {
    (f64::from(f32::from_bits(row.amax)), row)
}

/// What a cast to `target` would lose of each tensor: one pass over each, on all cores.
///
/// A product with the factor is made in f32 (f64 for f64), and rounded to the target to nearest,
/// ties to even.
///
/// # Errors
/// When there are no tensors.
pub fn measure(
    tensors: &[HostTensor<'_>],
    target: RangeTarget,
) -> Result<Vec<RangeReport>, RangeError> {
    if tensors.is_empty() {
        return Err(RangeError::NoTensors);
    }
    Ok(tensors.iter().map(|tensor| tensor.measure(target)).collect())
}
