//! `freeboard_range` on the host.

use half::{bf16, f16};

use super::super::parameter;
use super::{RangeList, Row, numbers, numbers_mut};
use crate::range::tally::{Question, tally};

/// Where an entry keeps the number of its type.
const TYPE: u32 = 62;

/// # Safety
/// The parameter is a [`RangeList`] whose tensors can be read and whose rows can be written.
pub(super) unsafe fn range(words: &[u64]) {
    let list: &RangeList = parameter(words);
    let asked = Question { factor: list.factor, limits: [list.zero, list.normal, list.overflow] };
    // SAFETY: a row for each entry, the caller's to write.
    let rows = unsafe { numbers_mut::<Row>(list.rows, u64::from(list.count)) };
    for (entry, row) in list.entries.iter().zip(rows) {
        let (start, len) = (entry.start & !(3 << TYPE), u64::from(entry.len));
        let counted = match entry.start >> TYPE {
            // SAFETY: the entry's type is f32, and the tensor can be read.
            0 => tally(unsafe { numbers::<f32>(start, len) }, asked),
            // SAFETY: the entry's type is f16, and the tensor can be read.
            1 => tally(unsafe { numbers::<f16>(start, len) }, asked),
            // SAFETY: the entry's type is bf16, and the tensor can be read.
            _ => tally(unsafe { numbers::<bf16>(start, len) }, asked),
        };
        *row = row.and(counted);
    }
}
