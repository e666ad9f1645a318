//! [`fastest`]: the same sweep, compiled for what different processors can do.
#![expect(
    clippy::inline_always,
    reason = "a loop must be compiled for the level it is called from"
)]

use std::slice;

use half::{bf16, f16};

use super::super::list::Bad;
use super::number::{LINE, Number, sweep};
use super::{Kind, Piece, Task};

/// How far ahead memory is called, in bytes.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 2048;

/// Does the task to a piece, and returns its first finding: the element, and what is wrong with it.
///
/// # Safety
/// The piece's memory is there, aligned to its elements, and the caller's alone; the processor has
/// what the function was compiled for.
pub(super) type Run = unsafe fn(Piece, Task) -> Option<(usize, Bad)>;

/// What only some processors have an instruction for.
pub(super) trait Level {
    fn scale_f16(lines: &mut [[f16; LINE]], factor: f32);
}

/// The best that this processor can run.
pub(super) fn fastest() -> Run {
    #[cfg(target_arch = "x86_64")]
    {
        let half = is_x86_feature_detected!("f16c");
        if half
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            return x86::avx512;
        }
        if half && is_x86_feature_detected!("avx2") {
            return x86::avx2;
        }
    }
    portable
}

/// Every level that this processor can run.
#[cfg(test)]
pub(super) fn all() -> Vec<Run> {
    let mut all: Vec<Run> = vec![portable, fastest()];
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("f16c") && is_x86_feature_detected!("avx2") {
        all.push(x86::avx2);
    }
    all
}

/// For every processor: conversions of `f16` are made of integers.
struct Portable;

impl Level for Portable {
    #[inline(always)]
    fn scale_f16(lines: &mut [[f16; LINE]], factor: f32) {
        for number in lines.as_flattened_mut() {
            *number = number.times(factor);
        }
    }
}

unsafe fn portable(piece: Piece, task: Task) -> Option<(usize, Bad)> {
    // SAFETY: passed on.
    unsafe { run::<Portable>(piece, task) }
}

#[inline(always)]
unsafe fn run<L: Level>(piece: Piece, task: Task) -> Option<(usize, Bad)> {
    /// # Safety
    /// The piece holds such numbers, and is the caller's alone.
    #[inline(always)]
    unsafe fn numbers<'piece, N>(piece: Piece) -> &'piece mut [N] {
        // SAFETY: the caller promises memory that is there, aligned, and nobody else's.
        unsafe { slice::from_raw_parts_mut(piece.start.cast(), piece.len) }
    }
    match piece.kind {
        // SAFETY: its elements are what its kind says; the rest is passed on.
        Kind::F32 => sweep::<f32, L>(unsafe { numbers(piece) }, task),
        // SAFETY: the same.
        Kind::F16 => sweep::<f16, L>(unsafe { numbers(piece) }, task),
        // SAFETY: the same.
        Kind::BF16 => sweep::<bf16, L>(unsafe { numbers(piece) }, task),
        // SAFETY: the same.
        Kind::F64 => sweep::<f64, L>(unsafe { numbers(piece) }, task),
    }
}

/// Calls the memory that a sweep will be at soon: it reads each strip twice, and waits long enough
/// between for the processor's own guess to come late.
#[inline(always)]
pub(super) fn call_ahead<N>(strip: &[N]) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..size_of_val(strip)).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let there = strip.as_ptr().cast::<i8>().wrapping_add(AHEAD + line);
        // SAFETY: every address may be called, also one where nothing is.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(there) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = strip;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! Levels of x86-64.

    use std::arch::x86_64::{_MM_FROUND_TO_NEAREST_INT, _mm256_cvtph_ps, _mm256_cvtps_ph};

    use bytemuck::cast;
    use half::f16;

    use super::{Bad, LINE, Level, Piece, Task, run};

    struct F16c;

    impl Level for F16c {
        #[inline(always)]
        fn scale_f16(lines: &mut [[f16; LINE]], factor: f32) {
            for eight in lines.as_flattened_mut().as_chunks_mut().0 {
                // SAFETY: only `avx512` and `avx2` use this level, and they want it.
                unsafe { scale_eight(eight, factor) }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx,f16c")]
    fn scale_eight(eight: &mut [f16; 8], factor: f32) {
        let wide: [f32; 8] = cast(_mm256_cvtph_ps(cast(*eight)));
        let products = cast(wide.map(|number| number * factor));
        *eight = cast(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(products));
    }

    #[target_feature(enable = "avx2,f16c")]
    pub(super) unsafe fn avx2(piece: Piece, task: Task) -> Option<(usize, Bad)> {
        // SAFETY: passed on.
        unsafe { run::<F16c>(piece, task) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,f16c")]
    pub(super) unsafe fn avx512(piece: Piece, task: Task) -> Option<(usize, Bad)> {
        // SAFETY: passed on.
        unsafe { run::<F16c>(piece, task) }
    }
}
