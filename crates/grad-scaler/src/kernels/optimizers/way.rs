//! The way through a list on the host: the blocks that a GPU would run, on this machine's threads.

use rayon::prelude::*;

use super::Place;
use crate::kernels::list::CHUNK;
use crate::kernels::list::LONGEST;

/// From how many blocks on threads share them: fewer are done before a thread wakes up.
const SHARED: u32 = 4;

/// The part of an entry that a block works on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    /// The entry's number.
    pub(super) entry: usize,
    /// The first element, counted from the entry's start.
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) tensor: u32,
    /// The first element, counted from the tensor's start.
    pub(super) element: u64,
}

impl Chunk {
    /// The counter of the random bits of four elements from `at` on, a multiple of 4 that is counted
    /// from the chunk's start.
    #[expect(clippy::cast_possible_truncation, reason = "two halves of a number")]
    pub(super) const fn counter(&self, at: usize, step: u64) -> [u32; 4] {
        let four = (self.element + at as u64) / 4;
        [four as u32, (four >> 32) as u32, self.tensor, step as u32]
    }
}

/// Calls `work` for each block of a list, in any order.
pub(super) fn each(
    entries: usize,
    place: impl Fn(usize) -> Place + Sync,
    work: impl Fn(Chunk) + Sync,
) {
    let Some(last) = entries.checked_sub(1) else { return };
    let chunk = |block: u32| {
        let (mut low, mut high) = (0, entries);
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            if place(middle).first_block <= block { low = middle } else { high = middle }
        }
        let Place { len, first_block, tensor, piece } = place(low);
        let first = (block - first_block) * CHUNK;
        let element = u64::from(piece) * LONGEST + u64::from(first);
        let count = (len - first).min(CHUNK) as usize;
        work(Chunk { entry: low, first: first as usize, count, tensor, element });
    };
    let blocks = place(last).first_block + place(last).len.div_ceil(CHUNK);
    if blocks < SHARED {
        (0..blocks).for_each(chunk);
    } else {
        (0..blocks).into_par_iter().for_each(chunk);
    }
}
