//! [`Plan`]: the operations of one step, and what they cost.

use freeboard_units::Bytes;
use serde::{Deserialize, Serialize};

/// What lies in memory on a layer's behalf between its forward and its backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stored {
    /// Its input a(i-1), kept plain.
    Input,
    /// All its backward pass needs apart from the input, with its output a(i) included.
    Saved,
}

/// One thing a training step does. Layers count from 1; layer i maps a(i-1) to a(i).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Operation {
    /// Needs a(i-1), plain or inside saved(i-1), makes a(i), forgets a plain a(i-1).
    ForwardDrop {
        /// Which layer, from 1.
        layer: usize,
    },
    /// The same, and keeps a(i-1).
    ForwardKeep {
        /// Which layer, from 1.
        layer: usize,
    },
    /// Needs a(i-1) and keeps it, makes saved(i).
    ForwardSave {
        /// Which layer, from 1.
        layer: usize,
    },
    /// Needs the gradient of a(i), saved(i) and a(i-1); makes the gradient of a(i-1); forgets
    /// saved(i), the gradient of a(i) and a plain a(i-1).
    Backward {
        /// Which layer, from 1.
        layer: usize,
    },
    /// Begins to copy what is stored to the host, beside the computation.
    Offload {
        /// Which layer it is stored for, from 1.
        layer: usize,
        /// Its input or what it saved.
        what: Stored,
    },
    /// Waits until that copy is done and forgets what lies on the device.
    Release {
        /// Which layer it is stored for, from 1.
        layer: usize,
        /// Its input or what it saved.
        what: Stored,
    },
    /// Takes device memory for what is on the host, and begins to copy it back beside the computation.
    Fetch {
        /// Which layer it is stored for, from 1.
        layer: usize,
        /// Its input or what it saved.
        what: Stored,
    },
    /// Waits until that copy is done: it can be used from here on.
    Await {
        /// Which layer it is stored for, from 1.
        layer: usize,
        /// Its input or what it saved.
        what: Stored,
    },
}

/// The operations of one step with the memory they need at most and the time they take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The most device memory that activations and their gradients take at once.
    pub peak_bytes: Bytes,
    /// The time of all operations, in the unit of the chain.
    pub total_time: f64,
    /// The time of every layer's forward and backward pass, once each.
    pub ideal_time: f64,
    /// The most host memory that offloaded values take at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub host_bytes: Bytes,
    /// What to do, in this order.
    pub operations: Vec<Operation>,
}

impl Operation {
    /// Which layer it is about, from 1.
    #[must_use]
    pub const fn layer(self) -> usize {
        match self {
            Self::ForwardDrop { layer }
            | Self::ForwardKeep { layer }
            | Self::ForwardSave { layer }
            | Self::Backward { layer }
            | Self::Offload { layer, .. }
            | Self::Release { layer, .. }
            | Self::Fetch { layer, .. }
            | Self::Await { layer, .. } => layer,
        }
    }

    /// Whether it runs a layer forward.
    #[must_use]
    pub const fn is_forward(self) -> bool {
        matches!(
            self,
            Self::ForwardDrop { .. } | Self::ForwardKeep { .. } | Self::ForwardSave { .. }
        )
    }
}

impl Plan {
    /// The time that recomputation and waiting cost, in the unit of the chain.
    #[must_use]
    pub fn extra_time(&self) -> f64 {
        self.total_time - self.ideal_time
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_zero(bytes: &Bytes) -> bool {
    bytes.is_zero()
}
