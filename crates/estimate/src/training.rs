//! [`Training`]: how a model is trained.

use freeboard_units::Bytes;
use serde::Serialize;

use crate::EstimateError;

/// In what types weights, activations and optimizer state are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Precision {
    /// All in f32.
    F32,
    /// Weights, hidden states and norms in f32; linear layers in 16 bits, on copies of the weights
    /// (`torch.autocast`).
    Autocast,
    /// Weights, gradients, activations and optimizer state in 16 bits.
    #[default]
    Low,
    /// Weights, gradients and activations in 16 bits; an f32 copy of the weights, and the state in
    /// f32, with the optimizer (Megatron, `DeepSpeed`, arXiv 1710.03740).
    Master,
}

impl Precision {
    /// Bytes of a weight as the model holds it.
    pub(crate) const fn weight(self) -> u32 {
        if matches!(self, Self::F32 | Self::Autocast) { 4 } else { 2 }
    }

    /// Bytes of a number that linear layers work on.
    pub(crate) const fn low(self) -> u32 {
        if matches!(self, Self::F32) { 4 } else { 2 }
    }
}

/// Which numbers an optimizer keeps for every trained parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Optimizer {
    /// None.
    Sgd,
    /// One.
    Momentum,
    /// Two (Adam, `AdamW`).
    #[default]
    Adam,
    /// Two of one byte, with one f32 scale for every 256 of them; tensors of fewer than 4,096
    /// elements in f32 (arXiv 2110.02861).
    Adam8bit,
    /// One for every row and one for every column (arXiv 1804.04235, without momentum).
    Adafactor,
}

/// How the optimizer's arithmetic is done, which decides what it needs meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Step {
    /// One operation over all tensors at a time: PyTorch's default on a GPU.
    #[default]
    Foreach,
    /// One tensor at a time.
    ForLoop,
    /// One kernel for everything, in place.
    Fused,
}

/// What is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Trainable {
    /// All parameters.
    #[default]
    All,
    /// A part of them, above 0 and up to 1. Activations are counted as for all.
    Part(f64),
    /// Two matrices of this rank beside every linear layer of the blocks (arXiv 2106.09685); they and
    /// their gradients and state are in f32, as PEFT makes them.
    Lora(u32),
}

/// Which activations are made again in the backward pass rather than kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Checkpoint {
    /// All are kept.
    #[default]
    None,
    /// Only the scores, softmax and dropout of eager attention are made again (arXiv 2205.05198).
    Selective,
    /// Only the inputs of every so many blocks are kept; 1 is every block.
    Every(u32),
}

/// What lies in this machine's memory rather than on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Offload {
    /// The optimizer's state, f32 copies of weights, and its step; with `ZeRO` 2 and 3 gradients, too
    /// (arXiv 2101.06840).
    pub optimizer: bool,
    /// Weights, gradients and all of the above: the device has two blocks at a time
    /// (arXiv 2104.07857).
    pub parameters: bool,
    /// What the forward pass keeps: the device has that of two blocks.
    pub activations: bool,
}

/// How the loss is worked out, over as many numbers as tokens times vocabulary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Loss {
    /// Cross entropy in f32, as Transformers and `torch.autocast` do.
    #[default]
    F32,
    /// Cross entropy in the type of the logits.
    Low,
    /// In pieces, with the output layer, so that all logits are never there (arXiv 2410.10989).
    Chunked,
}

/// How a model is trained.
///
/// ```
/// use freeboard_estimate::{Checkpoint, Training};
///
/// let training =
///     Training { batch: 4, sequence: 4096, checkpoint: Checkpoint::Every(1), ..Training::default() };
/// assert_eq!((training.zero, training.world), (0, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a yes or no of its own")]
pub struct Training {
    /// Sequences in a forward pass, on one device (b). Default: 1.
    pub batch: u32,
    /// Tokens of a sequence (s). Default: 1,024.
    pub sequence: u32,
    /// Whether gradients of earlier batches are there already. Default: no.
    pub accumulates: bool,
    /// Types. Default: all in 16 bits.
    pub precision: Precision,
    /// Whether gradients are f32 where weights are not. Default: no.
    pub gradients_f32: bool,
    /// Default: Adam.
    pub optimizer: Optimizer,
    /// Default: one operation over all tensors at a time.
    pub step: Step,
    /// Default: all.
    pub trainable: Trainable,
    /// Default: none.
    pub checkpoint: Checkpoint,
    /// What data-parallel devices share out: 0, nothing; 1, optimizer state; 2, gradients, too; 3,
    /// weights, too (arXiv 1910.02054). Default: 0.
    pub zero: u8,
    /// Data-parallel devices. Default: 1.
    pub world: u32,
    /// Devices that share every layer (t). Default: 1.
    pub tensor: u32,
    /// Whether those share what lies between the layers, too. Default: no.
    pub sequence_parallel: bool,
    /// Default: nothing.
    pub offload: Offload,
    /// Default: in f32.
    pub loss: Loss,
    /// Whether the program holds on to the logits, as Transformers' outputs do. Default: no.
    pub keeps_logits: bool,
    /// What libraries keep for themselves. Default: 8,320 KiB, cuBLAS's in PyTorch
    /// (`:4096:2:16:8`); on Hopper and later 32 MiB.
    pub workspace: Bytes,
    /// What the driver keeps for the process, outside any allocator. Default: 512 MiB.
    pub context: Bytes,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            batch: 1,
            sequence: 1024,
            accumulates: false,
            precision: Precision::default(),
            gradients_f32: false,
            optimizer: Optimizer::default(),
            step: Step::default(),
            trainable: Trainable::default(),
            checkpoint: Checkpoint::default(),
            zero: 0,
            world: 1,
            tensor: 1,
            sequence_parallel: false,
            offload: Offload::default(),
            loss: Loss::default(),
            keeps_logits: false,
            workspace: Bytes::kib(8320),
            context: Bytes::mib(512),
        }
    }
}

impl Training {
    /// Looks at every number.
    ///
    /// # Errors
    /// [`EstimateError`] names the first that cannot be.
    pub fn check(&self) -> Result<(), EstimateError> {
        let every = if let Checkpoint::Every(every) = self.checkpoint { every } else { 1 };
        let rank = if let Trainable::Lora(rank) = self.trainable { rank } else { 1 };
        for (field, value) in [
            ("batch", self.batch),
            ("sequence", self.sequence),
            ("world", self.world),
            ("tensor", self.tensor),
            ("checkpoint every", every),
            ("rank", rank),
        ] {
            if value == 0 {
                return Err(EstimateError::Zero { field });
            }
        }
        if self.zero > 3 {
            return Err(EstimateError::Value {
                place: "zero".into(),
                value: self.zero.to_string(),
                remedy: "the stages are 0, 1, 2 and 3",
            });
        }
        match self.trainable {
            Trainable::Part(value) if !(value > 0.0 && value <= 1.0) => {
                Err(EstimateError::Fraction { value })
            }
            _ => Ok(()),
        }
    }

    /// How many devices share what this stage shares.
    pub(crate) const fn shards(&self, stage: u8) -> u32 {
        if self.zero >= stage { self.world } else { 1 }
    }

    /// Bytes of an element of trained weight, gradient and optimizer state.
    pub(crate) const fn trained(&self) -> (u32, u32, u32) {
        let weight = self.precision.weight();
        if matches!(self.trainable, Trainable::Lora(_)) {
            return (4, 4, 4);
        }
        let state = if matches!(self.precision, Precision::Low) { 2 } else { 4 };
        (weight, if self.gradients_f32 { 4 } else { weight }, state)
    }
}
