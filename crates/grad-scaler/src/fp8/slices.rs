//! Casts of slices, on the host.

use rayon::prelude::*;

use super::convert::{INFINITE, MAGNITUDE};
use super::{Fp8, Fp8Error, Overflow, Wide};

/// The elements that a thread takes at once.
const PIECE: usize = 1 << 15;

/// Casts `scale` times each number, and returns the largest magnitude of the numbers themselves.
///
/// As Transformer Engine's casts: a product is made in f32; the magnitude is that of the input; NaN
/// does not count for it, infinity does.
///
/// ```
/// use freeboard_grad_scaler::fp8::{Fp8E4M3, Overflow, dequantize, quantize};
///
/// let (input, mut narrow) = ([0.5_f32, -3.0, 2.0], [Fp8E4M3::default(); 3]);
/// assert_eq!(quantize(&input, 128.0, Overflow::Saturate, &mut narrow)?, 3.0);
/// let mut back = [0.0_f32; 3];
/// dequantize(&narrow, 1.0 / 128.0, &mut back)?;
/// assert_eq!(back, input);
/// # Ok::<(), freeboard_grad_scaler::fp8::Fp8Error>(())
/// ```
///
/// # Errors
/// When the lengths differ; then nothing was written.
pub fn quantize<T: Wide, F: Fp8>(
    input: &[T],
    scale: f32,
    overflow: Overflow,
    output: &mut [F],
) -> Result<f32, Fp8Error> {
    same_length(input.len(), output.len())?;
    Ok(quantize_all(input, scale, overflow, output))
}

/// [`quantize`], of equal lengths.
pub(crate) fn quantize_all<T: Wide, F: Fp8>(
    input: &[T],
    scale: f32,
    overflow: Overflow,
    output: &mut [F],
) -> f32 {
    let pieces = input.par_chunks(PIECE).zip(output.par_chunks_mut(PIECE));
    // A constant in the loop, so that it has no branches.
    let amax = match overflow {
        Overflow::Saturate => {
            pieces.map(|(input, output)| cast(input, scale, Overflow::Saturate, output)).max()
        }
        Overflow::Infinite => {
            pieces.map(|(input, output)| cast(input, scale, Overflow::Infinite, output)).max()
        }
    };
    f32::from_bits(amax.unwrap_or(0))
}

#[inline]
fn cast<T: Wide, F: Fp8>(input: &[T], scale: f32, overflow: Overflow, output: &mut [F]) -> u32 {
    let mut amax = 0;
    for (&value, out) in input.iter().zip(output) {
        let value = value.to_f32();
        let magnitude = value.to_bits() & MAGNITUDE;
        amax = amax.max(if magnitude > INFINITE { 0 } else { magnitude });
        // The sign of a product that is NaN differs between processors: it is made here.
        let negative = (value.to_bits() ^ scale.to_bits()) & !MAGNITUDE;
        let product = (value * scale).to_bits() & MAGNITUDE;
        *out = F::from_f32(f32::from_bits(product | negative), overflow);
    }
    amax
}

/// Casts back: each number times `scale_inv`, a product in f32, to nearest, ties to even. NaN stay
/// NaN, with their sign.
///
/// # Errors
/// When the lengths differ; then nothing was written.
pub fn dequantize<F: Fp8, T: Wide>(
    input: &[F],
    scale_inv: f32,
    output: &mut [T],
) -> Result<(), Fp8Error> {
    same_length(input.len(), output.len())?;
    dequantize_all(input, scale_inv, output);
    Ok(())
}

/// [`dequantize`], of equal lengths.
pub(crate) fn dequantize_all<F: Fp8, T: Wide>(input: &[F], scale_inv: f32, output: &mut [T]) {
    input.par_chunks(PIECE).zip(output.par_chunks_mut(PIECE)).for_each(|(input, output)| {
        for (&value, out) in input.iter().zip(output) {
            let value = value.to_f32();
            let product = value * scale_inv;
            let nan = f32::from_bits(0x7fc0_0000 | (value.to_bits() & !MAGNITUDE));
            *out = T::from_f32(if value.is_nan() { nan } else { product });
        }
    });
}

pub(crate) const fn same_length(input: usize, output: usize) -> Result<(), Fp8Error> {
    if input == output { Ok(()) } else { Err(Fp8Error::LengthMismatch { input, output }) }
}
