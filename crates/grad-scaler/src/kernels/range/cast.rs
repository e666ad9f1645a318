//! `freeboard_quantize` and `freeboard_dequantize` on the host.

use half::{bf16, f16};

use super::super::parameter;
use super::{Cast, numbers, numbers_mut};
use crate::fp8::{self, Fp8, Fp8E4M3, Fp8E5M2, Overflow, Wide};

/// # Safety
/// The parameter is a [`Cast`] whose input and scale can be read and whose output and amax can be
/// written.
pub(super) unsafe fn quantize(words: &[u64]) {
    let cast: &Cast = parameter(words);
    match (cast.wide, cast.fp8) {
        // SAFETY: the tensors have these types, and the caller may use them so.
        (0, 0) => unsafe { quantize_as::<f32, Fp8E4M3>(cast) },
        // SAFETY: as above.
        (0, _) => unsafe { quantize_as::<f32, Fp8E5M2>(cast) },
        // SAFETY: as above.
        (1, 0) => unsafe { quantize_as::<f16, Fp8E4M3>(cast) },
        // SAFETY: as above.
        (1, _) => unsafe { quantize_as::<f16, Fp8E5M2>(cast) },
        // SAFETY: as above.
        (_, 0) => unsafe { quantize_as::<bf16, Fp8E4M3>(cast) },
        // SAFETY: as above.
        (..) => unsafe { quantize_as::<bf16, Fp8E5M2>(cast) },
    }
}

/// # Safety
/// As for [`quantize`], with these types.
unsafe fn quantize_as<T: Wide, F: Fp8>(cast: &Cast) {
    // SAFETY: the caller promises it.
    let input = unsafe { numbers::<T>(cast.input, cast.len) };
    // SAFETY: the caller promises it.
    let output = unsafe { numbers_mut::<F>(cast.output, cast.len) };
    // SAFETY: the caller promises it.
    let scale = unsafe { numbers::<f32>(cast.scale, 1) }[0];
    // SAFETY: the caller promises it; the scale is elsewhere.
    let noted = unsafe { numbers_mut::<f32>(cast.amax, 1) };
    let amax = fp8::slices::quantize_all(input, scale, Overflow::Saturate, output);
    // As bits, like the atomic maximum of a GPU; neither is negative.
    noted[0] = f32::from_bits(noted[0].to_bits().max(amax.to_bits()));
}

/// # Safety
/// The parameter is a [`Cast`] whose input and inverse scale can be read and whose output can be
/// written.
pub(super) unsafe fn dequantize(words: &[u64]) {
    let cast: &Cast = parameter(words);
    match (cast.wide, cast.fp8) {
        // SAFETY: the tensors have these types, and the caller may use them so.
        (0, 0) => unsafe { dequantize_as::<Fp8E4M3, f32>(cast) },
        // SAFETY: as above.
        (0, _) => unsafe { dequantize_as::<Fp8E5M2, f32>(cast) },
        // SAFETY: as above.
        (1, 0) => unsafe { dequantize_as::<Fp8E4M3, f16>(cast) },
        // SAFETY: as above.
        (1, _) => unsafe { dequantize_as::<Fp8E5M2, f16>(cast) },
        // SAFETY: as above.
        (_, 0) => unsafe { dequantize_as::<Fp8E4M3, bf16>(cast) },
        // SAFETY: as above.
        (..) => unsafe { dequantize_as::<Fp8E5M2, bf16>(cast) },
    }
}

/// # Safety
/// As for [`dequantize`], with these types.
unsafe fn dequantize_as<F: Fp8, T: Wide>(cast: &Cast) {
    // SAFETY: the caller promises it.
    let input = unsafe { numbers::<F>(cast.input, cast.len) };
    // SAFETY: the caller promises it.
    let output = unsafe { numbers_mut::<T>(cast.output, cast.len) };
    // SAFETY: the caller promises it.
    let scale_inv = unsafe { numbers::<f32>(cast.scale, 1) }[0];
    fp8::slices::dequantize_all(input, scale_inv, output);
}
