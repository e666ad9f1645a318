//! How much of the device may be held?

use freeboard_units::Bytes;

/// The most bytes that may be held from the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitPolicy {
    /// Set only by a fraction below 1, as in `PyTorch`.
    pub(crate) allowed: Option<Bytes>,
    /// Refuse, without asking the device, requests that would exceed this part of its memory: the
    /// fraction at the start, or 1. A fraction set later does not change it, in `PyTorch` neither.
    early: Option<f64>,
}

impl LimitPolicy {
    pub(crate) fn new(reject_early: bool, fraction: Option<f64>) -> Self {
        Self { allowed: None, early: reject_early.then(|| fraction.unwrap_or(1.0)) }
    }

    /// The limit for a part of `total` bytes, less what is held outside the allocator.
    pub(crate) fn set_fraction(&mut self, fraction: Option<f64>, total: Bytes, outside: Bytes) {
        self.allowed = fraction
            .filter(|fraction| *fraction < 1.0)
            .map(|fraction| part_of(total, fraction).saturating_sub(outside));
    }

    /// Whether `more` bytes on top of `held` stay within the limit.
    pub(crate) fn allows(&self, held: Bytes, more: Bytes) -> bool {
        self.allowed.is_none_or(|allowed| held.saturating_add(more) <= allowed)
    }

    /// How many bytes a request may take before it is refused early.
    pub(crate) fn room_before_rejection(&self, held: Bytes, total: Bytes) -> Bytes {
        self.early.map_or(Bytes::MAX, |part| part_of(total, part).saturating_sub(held))
    }

    /// Whether a request for `more` bytes is refused before the device is asked.
    pub(crate) fn rejects(&self, held: Bytes, more: Bytes, total: Bytes) -> bool {
        more > self.room_before_rejection(held, total)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a size is a size"
)]
fn part_of(total: Bytes, fraction: f64) -> Bytes {
    // To the nearest byte: 0.7 of a whole number of pages is not to lose its last page.
    Bytes::new((fraction * total.as_f64()).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_below_one_limits_and_counts_what_is_held_outside() {
        let mut limit = LimitPolicy::new(false, None);
        assert!(limit.allows(Bytes::gib(80), Bytes::gib(80)));
        limit.set_fraction(Some(1.0), Bytes::gib(80), Bytes::ZERO);
        assert_eq!(limit.allowed, None);
        limit.set_fraction(Some(0.5), Bytes::gib(80), Bytes::gib(1));
        assert!(limit.allows(Bytes::gib(38), Bytes::gib(1)));
        assert!(!limit.allows(Bytes::gib(39), Bytes::new(1)));
    }
}
