//! Fewer samples that look the same.

use crate::run::Sample;

/// As few samples as look the same in `stretches` columns: of each stretch of operations the
/// first, the last, and those with the least and the most memory of both kinds.
#[must_use]
pub fn thin(samples: &[Sample], stretches: usize) -> Vec<Sample> {
    if samples.len() <= stretches {
        return samples.to_vec();
    }
    let Some(length) = samples.len().checked_div(stretches).map(|length| length.max(1)) else {
        return Vec::new();
    };
    // The rest of the division makes some stretches more, fewer than there were stretches.
    let mut kept = Vec::new();
    for stretch in samples.chunks(length) {
        let extremes = [
            Some(0),
            stretch.len().checked_sub(1),
            extreme(stretch, |sample| (sample.allocated, sample.op)),
            extreme(stretch, |sample| std::cmp::Reverse(sample.allocated)),
            extreme(stretch, |sample| (sample.reserved, sample.op)),
            extreme(stretch, |sample| std::cmp::Reverse(sample.reserved)),
        ];
        let mut indices: Vec<_> = extremes.into_iter().flatten().collect();
        indices.sort_unstable();
        indices.dedup();
        kept.extend(indices.into_iter().map(|index| stretch[index]));
    }
    kept
}

/// The index of the sample with the least key.
fn extreme<K: Ord>(stretch: &[Sample], key: impl Fn(&Sample) -> K) -> Option<usize> {
    (0..stretch.len()).min_by_key(|&index| key(&stretch[index]))
}
