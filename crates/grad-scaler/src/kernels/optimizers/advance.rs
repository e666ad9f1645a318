//! `freeboard_advance` on the host.

use super::super::{parameter, pointer};
use super::{Advance, Group, Progress};

/// # Safety
/// As for [`Compute::launch`](freeboard_device::Compute::launch): the parameter is an [`Advance`],
/// and what it points to is there and the caller's.
pub(super) unsafe fn advance(words: &[u64]) {
    let advance: &Advance = parameter(words);
    // SAFETY: the caller's promise.
    if unsafe { is_found(advance.found) } {
        return;
    }
    let first = pointer::<Progress>(advance.progress);
    for (number, (group, _)) in advance.groups.iter().zip(0..advance.count).enumerate() {
        // SAFETY: there is a progress for each group, and nobody else has it.
        let progress = unsafe { &mut *first.wrapping_add(number) };
        *progress = next(progress.steps + 1, group);
    }
}

/// Whether the step is not to be done.
///
/// # Safety
/// There is an f32 at the address, unless it is 0.
pub(super) unsafe fn is_found(address: u64) -> bool {
    // SAFETY: the caller's promise.
    address != 0 && unsafe { pointer::<f32>(address).read() } != 0.0
}

/// What the elements need in this step.
#[expect(clippy::cast_possible_truncation, reason = "elements are f32")]
pub(super) fn next(steps: u64, group: &Group) -> Progress {
    Progress {
        steps,
        step_size: (group.lr / (1.0 - power(group.beta1, steps))) as f32,
        decay: (1.0 - group.lr * group.decay) as f32,
        root: (1.0 - power(group.beta2, steps)).sqrt() as f32,
        reserved: 0,
    }
}

/// `base` to this power by squaring: the same products everywhere, unlike a library's `pow`. What it
/// is off by (some 1e-16 times the steps, of a number that shrinks faster) is lost in an f32.
pub(super) fn power(base: f64, mut exponent: u64) -> f64 {
    let (mut result, mut square) = (1.0, base);
    while exponent != 0 {
        if exponent & 1 != 0 {
            result *= square;
        }
        square *= square;
        exponent >>= 1;
    }
    result
}
