//! [`Lifetimes`]: how long the blocks of a step live.

use freeboard_units::Bytes;
use serde::{Deserialize, Serialize};

/// How many blocks, and how large they are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub blocks: u64,
    /// How many bytes all of them have.
    pub bytes: Bytes,
}

impl Tally {
    pub(crate) fn count(&mut self, size: Bytes) {
        self.blocks += 1;
        self.bytes = self.bytes.saturating_add(size);
    }
}

/// The blocks of one step by how long they live; the step begins where the fewest bytes are live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetimes {
    /// Freed within the step.
    pub transient: Tally,
    /// Freed in the step after.
    pub step_long: Tally,
    /// Not freed by the time of planning, which is at some place within the step after.
    pub persistent: Tally,
}
