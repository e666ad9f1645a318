//! [`fastest`]: the same sweep, compiled for what different processors can do.
#![expect(
    clippy::inline_always,
    reason = "a loop must be compiled for the level it is called from"
)]

use std::slice;

use half::{bf16, f16};

use super::super::list::Bad;
use super::number::{Number, sweep};
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
    /// Multiplies, and with `CHECK` returns whether all were finite.
    fn scale_f16<const CHECK: bool>(numbers: &mut [f16], factor: f32) -> bool;
}

/// The best that this processor can run.
pub(super) fn fastest() -> Run {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx2()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            return x86::avx512;
        }
        if has_avx2() {
            return x86::avx2;
        }
    }
    portable
}

/// Whether this processor can run the level of AVX2.
#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("fma")
}

/// Every level that this processor can run.
#[cfg(test)]
pub(super) fn all() -> Vec<Run> {
    let mut all: Vec<Run> = vec![portable, fastest()];
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        all.push(x86::avx2);
    }
    all
}

/// For every processor: conversions of `f16` are made of integers.
struct Portable;

impl Level for Portable {
    #[inline(always)]
    fn scale_f16<const CHECK: bool>(numbers: &mut [f16], factor: f32) -> bool {
        let finite = !CHECK || f16::all_finite(numbers);
        for number in numbers {
            *number = number.times(factor);
        }
        finite
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

/// Calls the memory that a sweep will be at soon, which the processor's own guess would call late.
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

    use std::arch::x86_64::{
        _MM_FROUND_CUR_DIRECTION, _MM_FROUND_TO_NEAREST_INT, _mm256_cvtph_ps, _mm256_cvtps_ph,
        _mm256_fmadd_ps, _mm256_mul_ps, _mm256_set1_ps, _mm512_cvt_roundph_ps, _mm512_cvtps_ph,
        _mm512_fmadd_ps, _mm512_mul_ps, _mm512_set1_ps,
    };

    use bytemuck::{cast, cast_mut};
    use half::f16;

    use super::{Bad, Level, Piece, Task, run};

    /// A level whose processors convert so many `f16` at once.
    macro_rules! level {
        ($level:ident, $lanes:literal, $features:literal, $fill:ident, $widen:expr, $multiply:ident,
            $add_product:ident, $narrow:expr) => {
            struct $level;

            impl $level {
                /// The sum of products of two is finite if all numbers are: those of `f16` are far
                /// from what `f32` cannot hold. That is half as many instructions as a look at each.
                #[inline]
                #[target_feature(enable = $features)]
                fn scale<const CHECK: bool>(numbers: &mut [f16], factor: f32) -> bool {
                    let factor = $fill(factor);
                    let mut sums = $fill(0.0);
                    let mut do_pair = |[first, second]: &mut [[f16; $lanes]; 2]| {
                        let wide = [$widen(cast(*first)), $widen(cast(*second))];
                        if CHECK {
                            sums = $add_product(wide[0], wide[1], sums);
                        }
                        *first = cast($narrow($multiply(wide[0], factor)));
                        *second = cast($narrow($multiply(wide[1], factor)));
                    };
                    let (pairs, rest) = numbers.as_chunks_mut::<{ 2 * $lanes }>();
                    for pair in pairs {
                        do_pair(cast_mut(pair));
                    }
                    if !rest.is_empty() {
                        let mut pair = [f16::ZERO; 2 * $lanes];
                        pair[..rest.len()].copy_from_slice(rest);
                        do_pair(cast_mut(&mut pair));
                        rest.copy_from_slice(&pair[..rest.len()]);
                    }
                    let sums: [f32; $lanes] = cast(sums);
                    sums.into_iter().fold(true, |all, sum| all & sum.is_finite())
                }
            }

            impl Level for $level {
                #[inline(always)]
                fn scale_f16<const CHECK: bool>(numbers: &mut [f16], factor: f32) -> bool {
                    // SAFETY: only the function of this level uses it, and wants the same.
                    unsafe { Self::scale::<CHECK>(numbers, factor) }
                }
            }
        };
    }

    level!(
        Avx2,
        8,
        "avx,f16c,fma",
        _mm256_set1_ps,
        _mm256_cvtph_ps,
        _mm256_mul_ps,
        _mm256_fmadd_ps,
        _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>
    );
    level!(
        Avx512,
        16,
        "avx512f",
        _mm512_set1_ps,
        _mm512_cvt_roundph_ps::<_MM_FROUND_CUR_DIRECTION>,
        _mm512_mul_ps,
        _mm512_fmadd_ps,
        _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>
    );

    #[target_feature(enable = "avx2,f16c,fma")]
    pub(super) unsafe fn avx2(piece: Piece, task: Task) -> Option<(usize, Bad)> {
        // SAFETY: passed on.
        unsafe { run::<Avx2>(piece, task) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,f16c,fma")]
    pub(super) unsafe fn avx512(piece: Piece, task: Task) -> Option<(usize, Bad)> {
        // SAFETY: passed on.
        unsafe { run::<Avx512>(piece, task) }
    }
}
