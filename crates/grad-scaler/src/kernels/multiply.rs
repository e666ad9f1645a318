//! `freeboard_multiply` on the host: tensors multiplied in place and checked, in one sweep of memory.
//!
//! A *piece* is a tensor or a part of one. How fast it can go is decided once a launch
//! (`multiply/level.rs`), long lists are shared among threads (`multiply/share.rs`), and what is done
//! to the numbers is in `multiply/number.rs`.

mod level;
mod number;
mod share;
#[cfg(test)]
mod tests;

use bytemuck::cast_slice;

use super::list::{Bad, CHECK, CHECK_AFTER, Entry, Found, MULTIPLY, MultiplyList};
use super::pointer;

/// The type of a piece's elements, by its number in an [`Entry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    F32 = 0,
    F16 = 1,
    BF16 = 2,
    F64 = 3,
}

impl Kind {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::F64 => 8,
        }
    }
}

/// Numbers side by side in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) start: *mut u8,
    pub(crate) len: usize,
    pub(crate) kind: Kind,
}

/// What is done to the numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    factor: f32,
    multiply: bool,
    look: Look,
}

/// Where numbers that are not finite are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Nowhere,
    Before,
    BeforeAndAfter,
    /// Wherever it is easiest: a product is finite, infinite or NaN as the number was.
    Anywhere,
}

impl Task {
    /// A check of products needs the other one: a product is only looked at if the number was finite.
    pub(crate) fn new(factor: f32, multiply: bool, check: bool, check_after: bool) -> Self {
        // Multiplying by 1 would change the bits of a NaN.
        #[expect(clippy::float_cmp, reason = "1 exactly")]
        let multiply = multiply && factor != 1.0;
        let look = match () {
            () if !check => Look::Nowhere,
            () if multiply && factor != 0.0 && factor.abs() <= 1.0 => Look::Anywhere,
            () if multiply && check_after => Look::BeforeAndAfter,
            () => Look::Before,
        };
        Self { factor, multiply, look }
    }

    /// The same without a look at the numbers.
    fn unchecked(self) -> Self {
        Self { look: Look::Nowhere, ..self }
    }
}

/// A number that was not finite, or whose product was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The number of its piece in the list.
    pub(crate) piece: usize,
    pub(crate) element: usize,
    pub(crate) bad: Bad,
}

/// Pieces, by number.
///
/// # Safety
/// While somebody holds the list, the memory of its pieces is there, aligned to the elements, and
/// the holder's alone; pieces do not overlap. Threads may share it.
pub(crate) unsafe trait List: Sync {
    fn count(&self) -> usize;
    /// The piece of this number, which is below the count.
    fn piece(&self, number: usize) -> Piece;
}

/// Does the task to every piece, and returns the first finding.
pub(crate) fn multiply_list(list: &impl List, task: Task) -> Option<Finding> {
    let run = level::fastest();
    if let Some(threads) = share::threads(list) {
        return share::run(list, task, run, threads);
    }
    share::alone(list, task, run)
}

/// The entries of a launch.
struct Launched<'list>(&'list [Entry]);

// SAFETY: whoever launches the kernel promises it; see `multiply`.
unsafe impl List for Launched<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn piece(&self, number: usize) -> Piece {
        let entry = &self.0[number];
        Piece {
            start: pointer(entry.start & (u64::MAX >> 2)),
            len: entry.len as usize,
            kind: [Kind::F32, Kind::F16, Kind::BF16, Kind::F64][(entry.start >> 62) as usize],
        }
    }
}

/// The host's `freeboard_multiply`.
///
/// # Safety
/// As for [`Compute::launch`](freeboard_device::Compute::launch): the parameter is a
/// [`MultiplyList`], and what it points to is there, aligned, and the caller's alone.
pub(crate) unsafe fn multiply(parameter: &[u64]) {
    let list: &MultiplyList = bytemuck::from_bytes(cast_slice(parameter));
    let flag = |flag| list.flags & flag != 0;
    let factor = if flag(MULTIPLY) {
        // SAFETY: the caller promises that the factor lies there.
        unsafe { pointer::<f32>(list.factor).read() }
    } else {
        1.0
    };
    let task = Task::new(factor, flag(MULTIPLY), flag(CHECK), flag(CHECK_AFTER));
    let Some(finding) = multiply_list(&Launched(&list.entries[..list.count as usize]), task) else {
        return;
    };
    let key = (u64::from(list.first) + finding.piece as u64) << 34
        | (finding.element as u64) << 2
        | finding.bad as u64;
    // SAFETY: with `CHECK`, without which nothing is found, the caller promises a `Found` there.
    let found = unsafe { &mut *pointer::<Found>(list.found) };
    found.found = 1.0_f32.to_bits();
    found.first = found.first.max(!key);
}
