//! [`Meter`]: how much device memory is in use.

use freeboard_units::Bytes;

/// An allocator's statistics: what a step took, without naming who owns memory.
pub trait Meter {
    /// What is allocated now.
    fn in_use(&self) -> Bytes;

    /// The most that was allocated at once since the last [`reset_peak`](Self::reset_peak).
    fn peak(&self) -> Bytes;

    /// Lets the peak start again from what is allocated now.
    fn reset_peak(&self);
}

impl<M: Meter + ?Sized> Meter for &M {
    fn in_use(&self) -> Bytes {
        (**self).in_use()
    }

    fn peak(&self) -> Bytes {
        (**self).peak()
    }

    fn reset_peak(&self) {
        (**self).reset_peak();
    }
}
