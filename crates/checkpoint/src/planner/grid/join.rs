//! The inner loop: what keeping one input gives, where it is less than what is reached.

use std::ops::Range;

use super::rows::PARTS;

/// Lowers `times` to `time` and those of the two parts, where that is less.
pub(super) fn join(
    times: &mut [f32],
    needs: usize,
    time: f32,
    (upper_low, upper): (usize, &[f32]),
    (lower_low, lower): (usize, &[f32]),
) {
    let from = needs.max(upper_low).max(lower_low);
    let Some(times) = times.get_mut(from..) else { return };
    let upper = upper.get(from - upper_low..).unwrap_or_default();
    let lower = lower.get(from - lower_low..).unwrap_or_default();
    let both = upper.len().min(lower.len()).min(times.len());
    let (first, times) = times.split_at_mut(both);
    for ((reached, upper), lower) in first.iter_mut().zip(upper).zip(lower) {
        *reached = least(*reached, time + upper + lower);
    }
    let rest = if upper.len() > lower.len() { &upper[both..] } else { &lower[both..] };
    let (second, times) = times.split_at_mut(rest.len().min(times.len()));
    for (reached, rest) in second.iter_mut().zip(rest) {
        *reached = least(*reached, time + rest);
    }
    for reached in times {
        *reached = least(*reached, time);
    }
}

/// The parts in which keeping may lower what is reached, from the first to the last. All times fall
/// with the slots: the dearest that is reached and the cheapest sums tell.
pub(super) fn hope(
    dearest: &[f32; PARTS],
    time: f32,
    upper: &[f32; PARTS],
    lower: &[f32; PARTS],
) -> Range<usize> {
    let mut hopes = 0_u32;
    for (part, dearest) in dearest.iter().enumerate() {
        hopes |= u32::from(time + upper[part] + lower[part] < *dearest) << part;
    }
    if hopes == 0 {
        0..0
    } else {
        hopes.trailing_zeros() as usize..32 - hopes.leading_zeros() as usize
    }
}

/// The lesser one; unlike `f32::min` it is one instruction.
fn least(first: f32, second: f32) -> f32 {
    if second < first { second } else { first }
}
