//! Sizes of tensors by element type.

use freeboard_units::Bytes;

/// A tensor of this many 16-bit floats.
pub(super) const fn half(elements: u64) -> Bytes {
    Bytes::new(elements * 2)
}

/// A tensor of this many 32-bit floats.
pub(super) const fn float(elements: u64) -> Bytes {
    Bytes::new(elements * 4)
}

/// A tensor of this many 64-bit integers, as token numbers and indices are.
pub(super) const fn long(elements: u64) -> Bytes {
    Bytes::new(elements * 8)
}

/// A tensor of this many truth values, as dropout masks are: a byte each.
pub(super) const fn mask(elements: u64) -> Bytes {
    Bytes::new(elements)
}
