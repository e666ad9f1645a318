//! [`Address`] and [`AddressRange`]: places in a device's address space, never dereferenced here.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

use crate::Bytes;

/// A place in a device's address space. Zero is no place.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Address(u64);

impl Address {
    /// The address that means "nothing here", as a null pointer does.
    pub const NULL: Self = Self(0);

    /// The address with this number.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// The bare number, as a driver takes it.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether this is [`Address::NULL`].
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// How far `self` lies past `origin`.
    ///
    /// # Panics
    /// In debug builds when `origin` lies past `self`.
    #[must_use]
    pub const fn offset_from(self, origin: Self) -> Bytes {
        Bytes::new(self.0 - origin.0)
    }
}

/// The number in place, for callers that pass a pointer to it, as kernel launches do.
impl AsRef<u64> for Address {
    fn as_ref(&self) -> &u64 {
        &self.0
    }
}

impl Add<Bytes> for Address {
    type Output = Self;
    fn add(self, distance: Bytes) -> Self {
        Self(self.0 + distance.get())
    }
}

impl Sub<Bytes> for Address {
    type Output = Self;
    fn sub(self, distance: Bytes) -> Self {
        Self(self.0 - distance.get())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A half-open range of addresses, `start..start + size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AddressRange {
    start: Address,
    size: Bytes,
}

impl AddressRange {
    /// The range of `size` bytes from `start` on.
    #[must_use]
    pub const fn new(start: Address, size: Bytes) -> Self {
        Self { start, size }
    }

    /// Where it begins.
    #[must_use]
    pub const fn start(self) -> Address {
        self.start
    }

    /// The first address past it; the last there is, if it would lie beyond.
    #[must_use]
    pub const fn end(self) -> Address {
        Address(self.start.0.saturating_add(self.size.get()))
    }

    /// How many bytes it covers.
    #[must_use]
    pub const fn size(self) -> Bytes {
        self.size
    }

    /// Whether `address` lies inside.
    #[must_use]
    pub fn contains(self, address: Address) -> bool {
        self.start <= address && address < self.end()
    }

    /// Whether all of `other` lies inside.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }

    /// Whether the two share at least one address.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end() && other.start < self.end()
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_know_what_they_hold() {
        let range = AddressRange::new(Address::new(100), Bytes::new(50));
        assert!(range.contains(Address::new(100)) && !range.contains(Address::new(150)));
        assert!(range.covers(AddressRange::new(Address::new(120), Bytes::new(30))));
        assert!(!range.covers(AddressRange::new(Address::new(120), Bytes::new(31))));
        assert!(!range.overlaps(AddressRange::new(Address::new(150), Bytes::new(1))));
        assert!(range.overlaps(AddressRange::new(Address::new(149), Bytes::new(1))));
        assert_eq!(range.to_string(), "0x64..0x96");
    }
}
