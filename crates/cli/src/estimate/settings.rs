//! The options that say how a model is trained.

use clap::{Args, ValueEnum};
use freeboard_estimate::{
    Attention, Checkpoint, Loss, Model, Norm, Offload, Optimizer, Precision, Step, Trainable,
    Training, cards,
};
use freeboard_units::Bytes;

use crate::failure::Failure;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Types {
    /// All in f32
    F32,
    /// Weights in f32, linear layers in 16 bits on copies of them (torch.autocast)
    #[value(alias = "mixed", alias = "amp")]
    Autocast,
    /// All in 16 bits
    #[value(alias = "f16", alias = "fp16")]
    Bf16,
    /// Weights and gradients in 16 bits, f32 weights and state with the optimizer
    #[value(alias = "f16-master", alias = "fp16-master")]
    Bf16Master,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Keeps {
    /// Nothing
    Sgd,
    /// One number per parameter
    Momentum,
    /// Two
    #[value(alias = "adam")]
    Adamw,
    /// Two of one byte
    Adam8bit,
    /// One per row and one per column
    Adafactor,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Steps {
    /// One operation over all tensors: PyTorch's default
    Foreach,
    /// One tensor at a time
    ForLoop,
    /// One kernel, in place
    Fused,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Losses {
    /// Cross entropy in f32
    F32,
    /// Cross entropy in the type of the logits
    Low,
    /// In pieces, with the output layer
    Chunked,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scores {
    /// Never in memory as a whole
    Flash,
    /// One operation after the other
    Eager,
    /// The same with the softmax in f32
    EagerF32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Offloads {
    /// State, step and f32 weights
    Optimizer,
    /// Weights, gradients and state
    Parameters,
    /// What the forward pass keeps
    Activations,
}

/// How the model is trained.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[expect(clippy::doc_markdown, reason = "this is the text of the help, where backticks would show")]
pub(super) struct Settings {
    /// Sequences in a forward pass, on one device
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 1)]
    batch: u32,
    /// Tokens of a sequence
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 1024)]
    sequence: u32,
    /// The types of weights, activations and optimizer state
    #[arg(long, value_enum, default_value = "bf16")]
    precision: Types,
    /// Gradients in f32 where weights are not
    #[arg(long)]
    gradients_f32: bool,
    /// Gradients of earlier batches are there already
    #[arg(long)]
    accumulate: bool,
    /// What is kept for every trained parameter
    #[arg(long, value_enum, default_value = "adamw")]
    optimizer: Keeps,
    /// How the optimizer works
    #[arg(long, value_enum, default_value = "foreach")]
    step: Steps,
    /// Train adapters of this rank beside all linear layers of the blocks
    #[arg(long, value_name = "RANK", allow_negative_numbers = true, conflicts_with = "trainable")]
    lora: Option<u32>,
    /// Train this part of the parameters, like 0.25
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    trainable: Option<f64>,
    /// What to make again in the backward pass: none, selective (eager scores), full (every block),
    /// or a number (every so many blocks)
    #[arg(long, value_name = "HOW", default_value = "none", allow_hyphen_values = true)]
    #[arg(value_parser = checkpoint)]
    checkpoint: Checkpoint,
    /// ZeRO stage: 1 shares optimizer state, 2 gradients, 3 weights among --world devices
    #[arg(long, value_name = "STAGE", allow_negative_numbers = true, default_value_t = 0)]
    zero: u8,
    /// Data-parallel devices
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 1)]
    world: u32,
    /// Tensor-parallel devices
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 1)]
    tensor: u32,
    /// Tensor-parallel devices share what lies between the layers, too
    #[arg(long)]
    sequence_parallel: bool,
    /// What lies in this machine's memory, parted by commas
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    offload: Vec<Offloads>,
    /// How the loss is worked out
    #[arg(long, value_enum, default_value = "f32")]
    loss: Losses,
    /// The program holds on to the logits, as the outputs of Transformers do
    #[arg(long)]
    keep_logits: bool,
    /// How attention is worked out [default: the model's; flash where it does not say]
    #[arg(long, value_enum)]
    attention: Option<Scores>,
    /// RMS norms are one kernel
    #[arg(long)]
    fused_norm: bool,
    /// No dropout
    #[arg(long)]
    no_dropout: bool,
    /// What libraries keep [default: 8320KiB; 32MiB where --card is Hopper or later]
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    workspace: Option<Bytes>,
    /// What the driver keeps for the process, outside any allocator
    #[arg(long, value_name = "BYTES", default_value = "512MiB", allow_hyphen_values = true)]
    context: Bytes,
}

impl Settings {
    /// The settings, for this card.
    pub(super) fn training(&self, card: Option<&str>) -> Training {
        let default = if card.is_some_and(cards::is_hopper_or_later) {
            Bytes::mib(32)
        } else {
            Training::default().workspace
        };
        Training {
            batch: self.batch,
            sequence: self.sequence,
            accumulates: self.accumulate,
            precision: match self.precision {
                Types::F32 => Precision::F32,
                Types::Autocast => Precision::Autocast,
                Types::Bf16 => Precision::Low,
                Types::Bf16Master => Precision::Master,
            },
            gradients_f32: self.gradients_f32,
            optimizer: match self.optimizer {
                Keeps::Sgd => Optimizer::Sgd,
                Keeps::Momentum => Optimizer::Momentum,
                Keeps::Adamw => Optimizer::Adam,
                Keeps::Adam8bit => Optimizer::Adam8bit,
                Keeps::Adafactor => Optimizer::Adafactor,
            },
            step: match self.step {
                Steps::Foreach => Step::Foreach,
                Steps::ForLoop => Step::ForLoop,
                Steps::Fused => Step::Fused,
            },
            trainable: match (self.lora, self.trainable) {
                (Some(rank), _) => Trainable::Lora(rank),
                (None, Some(part)) => Trainable::Part(part),
                (None, None) => Trainable::All,
            },
            checkpoint: self.checkpoint,
            zero: self.zero,
            world: self.world,
            tensor: self.tensor,
            sequence_parallel: self.sequence_parallel,
            offload: Offload {
                optimizer: self.offload.contains(&Offloads::Optimizer),
                parameters: self.offload.contains(&Offloads::Parameters),
                activations: self.offload.contains(&Offloads::Activations),
            },
            loss: match self.loss {
                Losses::F32 => Loss::F32,
                Losses::Low => Loss::Low,
                Losses::Chunked => Loss::Chunked,
            },
            keeps_logits: self.keep_logits,
            workspace: self.workspace.unwrap_or(default),
            context: self.context,
        }
    }

    /// The model with what the options change of it.
    pub(super) fn shape(&self, model: Model) -> Result<Model, Failure> {
        let Model::Transformer(mut shape) = model else {
            if self.attention.is_some() || self.fused_norm || self.no_dropout {
                return Err(Failure::Usage(
                    "--attention, --fused-norm and --no-dropout do not go with --table; leave them \
                     out: its layers say what they keep"
                        .into(),
                ));
            }
            return Ok(model);
        };
        match self.attention {
            Some(Scores::Flash) => shape.attention = Attention::Flash,
            Some(Scores::Eager) => shape.attention = Attention::Eager,
            Some(Scores::EagerF32) => shape.attention = Attention::EagerF32,
            None => {}
        }
        if self.fused_norm && shape.norm == Norm::RmsOperations {
            shape.norm = Norm::Rms;
        }
        if self.no_dropout {
            (shape.dropout, shape.attention_dropout) = (false, false);
        }
        Ok(Model::Transformer(shape))
    }
}

fn checkpoint(text: &str) -> Result<Checkpoint, String> {
    match text {
        "none" => Ok(Checkpoint::None),
        "selective" => Ok(Checkpoint::Selective),
        "full" => Ok(Checkpoint::Every(1)),
        _ => text
            .parse()
            .map(Checkpoint::Every)
            .map_err(|_| "write none, selective, full, or a number of blocks, like 4".to_owned()),
    }
}
