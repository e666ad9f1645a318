//! [`MoverStats`]: what was moved, and how much of that computation hid.

use std::time::Duration;

use freeboard_units::Bytes;

/// What a [`Mover`](crate::Mover) or a [`HostOptimizer`](crate::HostOptimizer) has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MoverStats {
    /// Bytes copied to the host.
    pub bytes_out: Bytes,
    /// Bytes copied back to the device.
    pub bytes_back: Bytes,
    /// Moves in either direction.
    pub moves: u64,
    /// Moves that were not done when the program wanted them to be.
    pub waits: u64,
    /// How long the program waited for them.
    pub waited: Duration,
    /// How long copies took, from the moment that nothing held them up; both directions added up.
    /// Zero where nobody timed them.
    pub copying: Duration,
}

impl MoverStats {
    /// The share of copying that the program did not wait for, from 0 to 1; 1 where nothing was
    /// copied or timed. A wait for computation that a copy comes after counts as one for the copy,
    /// so it is at least this.
    ///
    /// ```
    /// use std::time::Duration;
    /// use freeboard_offload::MoverStats;
    ///
    /// let mut stats = MoverStats::default();
    /// assert_eq!(stats.hidden(), 1.0);
    /// stats.copying = Duration::from_millis(40);
    /// stats.waited = Duration::from_millis(10);
    /// assert_eq!(stats.hidden(), 0.75);
    /// ```
    #[must_use]
    pub fn hidden(&self) -> f64 {
        if self.copying.is_zero() {
            return 1.0;
        }
        (1.0 - self.waited.as_secs_f64() / self.copying.as_secs_f64()).max(0.0)
    }
}
