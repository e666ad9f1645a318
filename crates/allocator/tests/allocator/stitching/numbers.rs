//! [`Random`]: programs that are the same every time.

use super::watch::STREAMS;
use super::world::Op;
use crate::common::MIB;

/// Numbers that look random and are the same every time.
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub(super) fn op(&mut self) -> Op {
        let stream = self.below(STREAMS as u64);
        let place = usize::try_from(self.below(1 << 20)).unwrap();
        match self.below(100) {
            0..46 => {
                let most = match self.below(10) {
                    0 => 4096,
                    1..3 => MIB,
                    3..6 => 10 * MIB,
                    6..9 => 40 * MIB,
                    _ => 200 * MIB,
                };
                let round = if self.below(4) == 0 { 8 * MIB } else { 1 };
                Op::Allocate { bytes: (1 + self.below(most)).next_multiple_of(round), stream }
            }
            46..86 => Op::Free { place },
            86..92 => Op::Use { place, stream },
            92..99 => Op::Advance { ticks: self.below(4) },
            _ => Op::Largest { stream },
        }
    }
}
