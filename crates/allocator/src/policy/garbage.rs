//! When is cached memory given back unasked, and which?

use freeboard_units::Bytes;

/// Gives back long unused segments above a part of the allowed memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GarbagePolicy {
    /// The part of the allowed memory above which segments are given back.
    pub(crate) threshold: f64,
}

impl GarbagePolicy {
    /// How many bytes to give back at least, with `held` of `allowed` bytes taken.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a size is a size"
    )]
    pub(crate) fn excess(self, held: Bytes, allowed: Bytes) -> Bytes {
        held.saturating_sub(Bytes::new((self.threshold * allowed.as_f64()) as u64))
    }
}

/// The age from which on a segment is given back: the average, so that each pass frees at least
/// the oldest one. `None` where there is no candidate left.
#[expect(clippy::cast_precision_loss, reason = "an average age needs no more than 53 bits")]
pub(crate) fn age_limit(total_age: u64, candidates: u64) -> Option<f64> {
    (candidates > 0).then(|| total_age as f64 / candidates as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_exceeds_the_threshold_is_given_back() {
        let policy = GarbagePolicy { threshold: 0.5 };
        assert_eq!(policy.excess(Bytes::mib(60), Bytes::mib(100)), Bytes::mib(10));
        assert_eq!(policy.excess(Bytes::mib(50), Bytes::mib(100)), Bytes::ZERO);
        assert_eq!(age_limit(9, 3), Some(3.0));
        assert_eq!(age_limit(0, 0), None);
    }
}
