//! How much memory does an expandable segment map when it grows, and in how large handles?
//!
//! `PyTorch` maps pages of one size, one handle each. What ours maps is what is missing, in as few
//! handles as do: a page that only begins to be used is memory that nobody else can have.

use freeboard_units::Bytes;

use crate::policy::placement;
use crate::stats::Class;

/// How the expandable segments of a pool grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    /// What is mapped begins and ends at multiples of this.
    pub(crate) unit: Bytes,
    /// The largest handle. The unit divides it.
    pub(crate) handle: Bytes,
    /// Less than this is only mapped when the device or the limit has no more.
    pub(crate) least: Bytes,
}

impl Growth {
    /// For a pool whose pages in `PyTorch` are of `page` bytes.
    pub(crate) fn new(class: Class, page: Bytes, fine: bool) -> Self {
        match class {
            Class::Large if fine => Self { unit: placement::PAGE, handle: page, least: page },
            Class::Large => Self { unit: page, handle: page, least: page },
            Class::Small => {
                let page = placement::SMALL_SEGMENT;
                Self { unit: page, handle: page, least: page }
            }
        }
    }

    /// What to map first when `missing` bytes are missing: many small requests share one growth.
    pub(crate) fn wanted(self, missing: Bytes) -> Bytes {
        if missing < placement::OWN_SEGMENT { missing.max(self.least) } else { missing }
    }

    /// The sizes of the handles for `size` bytes, a multiple of the unit.
    pub(crate) fn handles(self, size: Bytes) -> impl Iterator<Item = Bytes> {
        let mut left = size;
        std::iter::from_fn(move || {
            let next = left.min(self.handle);
            left -= next;
            (!next.is_zero()).then_some(next)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_mapped_in_few_handles() {
        let mib = Bytes::mib;
        let ours = Growth::new(Class::Large, mib(20), true);
        assert_eq!([1, 9, 10, 64].map(|n| ours.wanted(mib(n))), [20, 20, 10, 64].map(mib));
        assert_eq!(ours.handles(mib(64)).collect::<Vec<_>>(), [20, 20, 20, 4].map(mib));
        let theirs = Growth::new(Class::Large, mib(20), false);
        assert_eq!(theirs.handles(mib(80)).collect::<Vec<_>>(), [mib(20); 4]);
        let small = Growth::new(Class::Small, mib(20), true);
        assert_eq!((small.unit, small.wanted(Bytes::kib(4))), (mib(2), mib(2)));
    }
}
