//! [`Key`]: what makes one request the same as another.

use freeboard_units::Bytes;

/// Sizes are counted, and offsets are multiples of, this.
pub(crate) const UNIT: u64 = 512;
/// As many units as are written down; a size that large is never planned.
const MOST: u64 = (1 << 48) - 1;

/// A request's size and stream in one word: two requests are the same when their keys are.
///
/// # Examples
/// ```
/// use freeboard_planning::Key;
/// use freeboard_units::Bytes;
///
/// let key = Key::new(Bytes::new(513), 7);
/// assert_eq!((key.size(), key.stream()), (Bytes::new(1024), 7));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

impl Key {
    /// The key of a block of `size`, rounded up to 512 bytes, on the stream with this number.
    ///
    /// Sizes from 128 PiB on all have the same key. They are never planned, and neither is a size
    /// of zero.
    #[inline]
    #[must_use]
    pub const fn new(size: Bytes, stream: u16) -> Self {
        let units = size.get().div_ceil(UNIT);
        let units = if units < MOST { units } else { MOST };
        Self(units << 16 | stream as u64)
    }

    /// The block's size, a multiple of 512 bytes.
    #[inline]
    #[must_use]
    pub const fn size(self) -> Bytes {
        Bytes::new(self.units() * UNIT)
    }

    /// The stream's number.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the stream is the lowest 16 bits")]
    pub const fn stream(self) -> u16 {
        self.0 as u16
    }

    /// The size in units.
    #[inline]
    pub(crate) const fn units(self) -> u64 {
        self.0 >> 16
    }

    /// Whether the size is one that can have a place.
    pub(crate) const fn has_place(self) -> bool {
        0 < self.units() && self.units() < MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_sizes_and_none_at_all_have_no_place() {
        let most = Bytes::new((MOST - 1) * UNIT);
        assert!(Key::new(most, 0).has_place() && Key::new(Bytes::new(1), 0).has_place());
        assert!(!Key::new(Bytes::ZERO, 1).has_place());
        let beyond = Key::new(most + Bytes::new(1), u16::MAX);
        assert_eq!(beyond, Key::new(Bytes::MAX, u16::MAX));
        assert!(!beyond.has_place());
        assert_eq!(beyond.stream(), u16::MAX);
    }
}
