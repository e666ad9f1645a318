//! Is a free block cut for a request, and may it serve the request at all?

use freeboard_units::Bytes;

use super::rounding::MIN_BLOCK;
use crate::stats::Class;

/// What is left of a large block of fixed size must exceed this to be worth a block of its own.
const WORTH_KEEPING: Bytes = Bytes::mib(1);

/// The limits on cutting blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SplitPolicy {
    /// Blocks of at least this size are never cut; [`Bytes::MAX`] for no such limit.
    pub(crate) max_split: Bytes,
    /// How much larger than the request an uncut oversize block may be.
    pub(crate) max_rounding: Bytes,
    /// Whether segments are expandable.
    pub(crate) expandable: bool,
    /// Whether, of free blocks that fit, one that cannot grow is better.
    pub(crate) prefers_bounded: bool,
}

impl SplitPolicy {
    /// Whether the remainder of a block of `block` bytes is cut off when `size` are taken.
    #[inline]
    pub(crate) fn cuts(&self, class: Class, block: Bytes, size: Bytes) -> bool {
        let rest = block - size;
        if class == Class::Small || self.expandable {
            return rest >= MIN_BLOCK;
        }
        size < self.max_split && rest > WORTH_KEEPING
    }

    /// Whether a free block of `block` bytes may serve a request of `size` bytes.
    ///
    /// An oversize block serves only oversize requests not much smaller than itself: it will not
    /// be cut, so everything above the request is wasted.
    #[inline]
    pub(crate) fn may_serve(&self, block: Bytes, size: Bytes) -> bool {
        if size < self.max_split {
            return block < self.max_split;
        }
        block < size.saturating_add(self.max_rounding)
    }

    /// Whether blocks of this size are kept whole.
    #[inline]
    pub(crate) fn is_oversize(&self, size: Bytes) -> bool {
        size >= self.max_split
    }

    /// Whether there is a limit at all.
    pub(crate) fn limits(&self) -> bool {
        self.max_split != Bytes::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remainder_is_kept_where_it_is_worth_it() {
        let mut policy = SplitPolicy {
            max_split: Bytes::mib(200),
            max_rounding: Bytes::mib(20),
            expandable: false,
            prefers_bounded: false,
        };
        let mib = Bytes::mib;
        assert!(policy.cuts(Class::Small, Bytes::new(1024), Bytes::new(512)));
        assert!(!policy.cuts(Class::Large, mib(20), mib(19)));
        assert!(policy.cuts(Class::Large, mib(20), mib(18)));
        assert!(!policy.cuts(Class::Large, mib(400), mib(200)));
        assert!(policy.may_serve(mib(199), mib(2)) && !policy.may_serve(mib(200), mib(2)));
        assert!(policy.may_serve(mib(219), mib(200)) && !policy.may_serve(mib(220), mib(200)));
        policy.expandable = true;
        assert!(policy.cuts(Class::Large, mib(400), mib(200)));
    }
}
