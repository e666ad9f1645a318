//! How is memory stitched: in which arena does a block lie, how much is taken from the device at
//! once, in how large handles, and how many mappings are kept?
//!
//! All numbers were chosen by replaying recorded training runs; `docs/fragmentation.md` has what
//! each of them is worth.

use freeboard_units::Bytes;

use crate::policy::placement::PAGE;

/// Pools that all requests share: small, large, and round.
pub(crate) const SHARED_POOLS: usize = 3;
/// Sizes that are multiples of this many bytes have an arena of their own. Most large tensors of
/// fixed shape are such; kept apart, they leave holes that the next of them fits exactly.
pub(crate) const ROUND: Bytes = Bytes::mib(8);
/// Near the limit no new handle is larger than this, and no larger one is cut into.
pub(crate) const TIGHT_HANDLE: Bytes = Bytes::mib(4);
/// Handles of up to this size are made whatever little is held.
const MODEST_HANDLE: Bytes = Bytes::mib(16);
/// Near the limit: above this part of what may be held.
const NEAR: f64 = 0.8;
/// A handle is at most this part of what is held,
const HANDLE_SHARE: f64 = 0.005;
/// and memory is taken in advance up to this part of the peak of live bytes.
const ADVANCE_SHARE: f64 = 0.003;
/// For a plan, this much more than the reserve target may be held.
const PLAN_SHARE: f64 = 1.005;

/// The user's trade between memory and driver calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StitchPolicy {
    /// Memory is taken from the device, rather than stitched, while what is held stays within this
    /// many times the peak of live bytes.
    pub(crate) reserve_target: f64,
    /// Mappings kept per handle, on average.
    pub(crate) mappings: f64,
}

/// What is left of the numbers above at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means {
    /// Bytes held.
    pub(crate) held: Bytes,
    /// Bytes that may be held.
    pub(crate) capacity: Bytes,
    /// The most bytes ever live at once, the request at hand included.
    pub(crate) peak: Bytes,
}

impl StitchPolicy {
    /// The shared pool for a block size, given that of its class: two tests, no branch.
    #[inline]
    pub(crate) fn pool(class: u16, size: Bytes, round_mask: u64) -> u16 {
        class + u16::from(size.get() & round_mask == 0)
    }

    /// Whether taking `more` bytes is better than stitching as many.
    pub(crate) fn prefers_growing(&self, means: Means, more: Bytes) -> bool {
        means.held + more <= part(means.peak, self.reserve_target).min(means.capacity)
    }

    /// How much may be held so that a plan can have its memory in one piece.
    pub(crate) fn room_for_plans(&self, means: Means) -> Bytes {
        part(means.peak, self.reserve_target.max(1.0) * PLAN_SHARE)
    }

    /// How much to take when `missing` bytes are: more only where little is risked.
    pub(crate) fn growth(pool: u16, missing: Bytes, means: Means) -> Bytes {
        let most = if pool == 0 { Bytes::mib(16) } else { Bytes::mib(64) };
        let advance = most.min(part(means.peak, ADVANCE_SHARE).align_down(PAGE)).max(missing);
        if means.held.saturating_add(advance) <= means.capacity { advance } else { missing }
    }

    /// The largest handle made now: few large ones cost few calls, many small ones waste little.
    pub(crate) fn largest_handle(pool: u16, means: Means) -> Bytes {
        let most = [Bytes::mib(8), Bytes::mib(32), Bytes::mib(64)][usize::from(pool)];
        let share = part(means.held, HANDLE_SHARE).align_down(PAGE).max(MODEST_HANDLE);
        let tight = if Self::is_tight(means) { TIGHT_HANDLE } else { Bytes::MAX };
        most.min(share).min(tight)
    }

    /// Whether the limit is near.
    pub(crate) fn is_tight(means: Means) -> bool {
        means.held > part(means.capacity, NEAR)
    }

    /// How many mappings there may be of this many handles.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a count times a small positive number, saturating"
    )]
    pub(crate) fn budget(&self, handles: usize) -> usize {
        (handles as f64 * self.mappings) as usize
    }
}

/// The part of `whole`, rounded down.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive part of a size, saturating"
)]
fn part(whole: Bytes, part: f64) -> Bytes {
    Bytes::new((whole.as_f64() * part) as u64)
}

/// The pages that hold `bytes`, if there are so many addresses.
pub(crate) fn pages(bytes: Bytes) -> Option<Bytes> {
    bytes.checked_align_up(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_sizes_have_a_pool_of_their_own_where_stitching() {
        let mask = ROUND.get() - 1;
        let pool = |class, size| StitchPolicy::pool(class, size, mask);
        assert_eq!(pool(1, Bytes::mib(24)), 2);
        assert_eq!(pool(1, Bytes::mib(25)), 1);
        assert_eq!(pool(0, Bytes::kib(4)), 0);
        assert_eq!(StitchPolicy::pool(1, Bytes::mib(24), u64::MAX), 1);
    }

    #[test]
    fn handles_grow_with_what_is_held_and_shrink_near_the_limit() {
        let means = |held, capacity| Means {
            held: Bytes::gib(held),
            capacity: Bytes::gib(capacity),
            peak: Bytes::gib(held),
        };
        assert_eq!(StitchPolicy::largest_handle(2, means(1, 80)), Bytes::mib(16));
        assert_eq!(StitchPolicy::largest_handle(2, means(40, 80)), Bytes::mib(64));
        assert_eq!(StitchPolicy::largest_handle(2, means(70, 80)), Bytes::mib(4));
        let missing = Bytes::mib(2);
        assert_eq!(StitchPolicy::growth(1, missing, means(1, 80)), Bytes::mib(2));
        assert_eq!(StitchPolicy::growth(1, missing, means(20, 80)), Bytes::mib(60));
        assert_eq!(StitchPolicy::growth(1, missing, means(80, 80)), missing);
    }
}
