//! [`Roundup`]: how many sizes lie between two powers of two, by size.

use serde::{Deserialize, Serialize};

/// Divisions between powers of two, for sizes from 1 MiB to 64 GiB, by power of two
/// (`roundup_power2_divisions`).
///
/// With 4 divisions, sizes between 1,024 and 2,048 become 1,280, 1,536, 1,792 or 2,048. Sizes
/// below 1 MiB follow the first entry, those above 32 GiB the last. Fewer sizes are reused more
/// often; the price is up to one division of waste per block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roundup {
    divisions: [u32; Self::INTERVALS],
}

impl Default for Roundup {
    fn default() -> Self {
        Self::NONE
    }
}

impl Roundup {
    /// Intervals: 1 MiB, 2 MiB, … 32 GiB.
    pub const INTERVALS: usize = 16;
    /// No rounding beyond multiples of 512 bytes.
    pub const NONE: Self = Self { divisions: [0; Self::INTERVALS] };

    /// The same number of divisions for every size; `None` unless it is a power of two (1 and 0
    /// mean no rounding).
    #[must_use]
    pub fn uniform(divisions: u32) -> Option<Self> {
        Self::by_interval([divisions; Self::INTERVALS])
    }

    /// One number of divisions for each interval; `None` unless each is 0 or a power of two.
    #[must_use]
    pub fn by_interval(divisions: [u32; Self::INTERVALS]) -> Option<Self> {
        divisions.iter().all(|&n| n == 0 || n.is_power_of_two()).then_some(Self { divisions })
    }

    /// Whether no size is rounded beyond multiples of 512 bytes.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.divisions.iter().all(|&n| n <= 1)
    }

    /// The divisions for a size of `bytes`.
    #[must_use]
    pub const fn divisions(&self, bytes: u64) -> u64 {
        let log = (bytes | 1).ilog2();
        let interval = log.saturating_sub(20) as usize;
        let last = Self::INTERVALS - 1;
        self.divisions[if interval < last { interval } else { last }] as u64
    }
}
