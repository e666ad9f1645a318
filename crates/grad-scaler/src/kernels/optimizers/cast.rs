//! `freeboard_cast` on the host.

use std::slice;

use half::{bf16, f16};

use super::super::round::{Half, Sealed};
use super::super::{parameter, pointer};
use super::way::{self, Chunk};
use super::{ADD, CastList, STOCHASTIC};

/// # Safety
/// As for [`Compute::launch`](freeboard_device::Compute::launch): the parameter is a [`CastList`],
/// and what it points to is there, aligned, and the caller's.
pub(super) unsafe fn cast(words: &[u64]) {
    let list: &CastList = parameter(words);
    let work = |chunk: Chunk| {
        let entry = &list.entries[chunk.entry];
        // The types are those that `Casts` lets through.
        match (entry.from >> 62, entry.to >> 62) {
            // SAFETY: the caller's promise; blocks do not overlap.
            (0, 1) => unsafe { down::<f16>(list, chunk) },
            // SAFETY: the same.
            (0, _) => unsafe { down::<bf16>(list, chunk) },
            // SAFETY: the same.
            (1, _) => unsafe { up::<f16>(list, chunk) },
            // SAFETY: the same.
            (_, _) => unsafe { up::<bf16>(list, chunk) },
        }
    };
    way::each(list.count as usize, |number| list.entries[number].place, work);
}

/// # Safety
/// There are `T` at the address from the chunk's first on, and nobody writes them.
pub(super) unsafe fn numbers<'a, T>(address: u64, chunk: &Chunk) -> &'a [T] {
    let start = pointer::<T>(address & u64::MAX >> 2).wrapping_add(chunk.first);
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(start, chunk.count) }
}

/// # Safety
/// There are `T` at the address from the chunk's first on, and they are the caller's alone.
pub(super) unsafe fn numbers_mut<'a, T>(address: u64, chunk: &Chunk) -> &'a mut [T] {
    let start = pointer::<T>(address & u64::MAX >> 2).wrapping_add(chunk.first);
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts_mut(start, chunk.count) }
}

/// # Safety
/// As for [`cast`]; the entry is from f32 to `T`.
unsafe fn down<T: Half>(list: &CastList, chunk: Chunk) {
    let entry = &list.entries[chunk.entry];
    // SAFETY: the caller's promise.
    let from = unsafe { numbers::<f32>(entry.from, &chunk) };
    // SAFETY: the caller's promise.
    let to = unsafe { numbers_mut::<T>(entry.to, &chunk) };
    let random = (list.flags & STOCHASTIC != 0).then_some((list.seed, list.step));
    if list.flags & ADD == 0 {
        return narrow(from, to, random, &chunk, 0);
    }
    let mut sums = [0.0; STRIP];
    for (number, (from, to)) in from.chunks(STRIP).zip(to.chunks_mut(STRIP)).enumerate() {
        let sums = &mut sums[..from.len()];
        for ((sum, &from), &to) in sums.iter_mut().zip(from).zip(&*to) {
            *sum = to.widen() + from;
        }
        narrow(sums, to, random, &chunk, number * STRIP);
    }
}

/// # Safety
/// As for [`cast`]; the entry is from `T` to f32.
unsafe fn up<T: Half>(list: &CastList, chunk: Chunk) {
    let entry = &list.entries[chunk.entry];
    // SAFETY: the caller's promise.
    let from = unsafe { numbers::<T>(entry.from, &chunk) };
    // SAFETY: the caller's promise.
    let to = unsafe { numbers_mut::<f32>(entry.to, &chunk) };
    for (to, from) in to.iter_mut().zip(from) {
        *to = from.widen();
    }
}

/// What is worked on at once: it stays in the nearest cache.
pub(super) const STRIP: usize = 512;

/// Rounds numbers that begin `at` elements after the chunk, a multiple of 4; with random bits of a
/// seed and a step, or to nearest.
#[expect(clippy::inline_always, reason = "a loop must be compiled for the level it is called from")]
#[inline(always)]
pub(super) fn narrow<T: Sealed>(
    from: &[f32],
    to: &mut [T],
    random: Option<(u64, u64)>,
    chunk: &Chunk,
    at: usize,
) {
    let Some((seed, step)) = random else {
        for (to, &from) in to.iter_mut().zip(from) {
            *to = T::nearest(from);
        }
        return;
    };
    for (number, (from, to)) in from.chunks(4).zip(to.chunks_mut(4)).enumerate() {
        let random = freeboard_units::philox(seed, chunk.counter(at + 4 * number, step));
        for ((to, &from), random) in to.iter_mut().zip(from).zip(random) {
            *to = T::random(from, random);
        }
    }
}
