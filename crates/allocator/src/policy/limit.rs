//! How much of the device may be held?

use freeboard_units::Bytes;

/// The most bytes that may be held from the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitPolicy {
    /// Set only by a fraction below 1, as in `PyTorch`.
    pub(crate) allowed: Option<Bytes>,
    /// Whether a request over the limit (or over the whole device) is refused without asking.
    pub(crate) reject_early: bool,
}

impl LimitPolicy {
    /// The limit for a part of `total` bytes, less what is held outside the allocator.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a size is a size"
    )]
    pub(crate) fn set_fraction(&mut self, fraction: Option<f64>, total: Bytes, outside: Bytes) {
        self.allowed = fraction
            .filter(|fraction| *fraction < 1.0)
            .map(|fraction| Bytes::new((fraction * total.as_f64()) as u64).saturating_sub(outside));
    }

    /// Whether `more` bytes on top of `held` stay within the limit.
    pub(crate) fn allows(&self, held: Bytes, more: Bytes) -> bool {
        self.allowed.is_none_or(|allowed| held.saturating_add(more) <= allowed)
    }

    /// Whether a request for `more` bytes is refused before the device is asked.
    pub(crate) fn rejects(&self, held: Bytes, more: Bytes, total: Bytes) -> bool {
        self.reject_early && held.saturating_add(more) > self.allowed.unwrap_or(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_below_one_limits_and_counts_what_is_held_outside() {
        let mut limit = LimitPolicy { allowed: None, reject_early: false };
        assert!(limit.allows(Bytes::gib(80), Bytes::gib(80)));
        limit.set_fraction(Some(1.0), Bytes::gib(80), Bytes::ZERO);
        assert_eq!(limit.allowed, None);
        limit.set_fraction(Some(0.5), Bytes::gib(80), Bytes::gib(1));
        assert!(limit.allows(Bytes::gib(38), Bytes::gib(1)));
        assert!(!limit.allows(Bytes::gib(39), Bytes::new(1)));
    }
}
