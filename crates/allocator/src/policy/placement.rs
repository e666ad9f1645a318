//! Which pool serves a block size, and how large a segment is taken for it?

use freeboard_units::Bytes;

use crate::stats::Class;

/// The largest block of the small pool.
pub(crate) const SMALL: Bytes = Bytes::mib(1);
/// The segments of the small pool, and its expandable pages.
pub(crate) const SMALL_SEGMENT: Bytes = Bytes::mib(2);
/// From here on a block gets a segment of its own.
pub(crate) const OWN_SEGMENT: Bytes = Bytes::mib(10);
/// Segments of one block are multiples of this, the device's page.
pub(crate) const PAGE: Bytes = Bytes::mib(2);

/// Small up to 1 MiB, large above; the two never share memory.
#[inline]
pub(crate) fn class_of(size: Bytes) -> Class {
    if size <= SMALL { Class::Small } else { Class::Large }
}

/// The segment taken from the device for a block of `size`, with large segments of `large`.
pub(crate) fn segment_size(size: Bytes, large: Bytes) -> Bytes {
    if size <= SMALL {
        SMALL_SEGMENT
    } else if size < OWN_SEGMENT {
        large
    } else {
        size.align_up(PAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_fit_their_requests() {
        for (mib, segment) in [(1, 2), (2, 20), (9, 20), (10, 10), (11, 12), (64, 64)] {
            assert_eq!(segment_size(Bytes::mib(mib), Bytes::mib(20)), Bytes::mib(segment));
        }
    }
}
