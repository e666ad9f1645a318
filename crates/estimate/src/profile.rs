//! [`Profile`]: what a training step needs of memory, in elements and bytes, whatever the model is.

use crate::activations::{Activations, Kind, Row};
use crate::count::Count;
use crate::model::{Place, Weight};
use crate::{Attention, Checkpoint, EstimateError, Loss, Mlp, Positions, Precision};
use crate::{Trainable, Training, Transformer, When};

/// Parameters on one device, before they are shared among data-parallel ones.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Elements {
    /// All of the model's own.
    pub(crate) own: Count,
    /// Adapters beside them.
    pub(crate) adapters: Count,
    /// Outside the blocks.
    pub(crate) root: Count,
    /// In the largest block.
    pub(crate) block: Count,
    /// In linear layers, of which autocast makes copies: of one block, and of the output layer.
    pub(crate) linear: Count,
    pub(crate) output: Count,
    /// Trained: all; those before the first block; those after the last.
    pub(crate) trained: Count,
    pub(crate) trained_before: Count,
    pub(crate) trained_after: Count,
    /// Trained, in the largest block.
    pub(crate) trained_block: Count,
    /// The largest trained tensor.
    pub(crate) largest: Count,
    /// Bytes of 8-bit Adam's state, and of Adafactor's.
    pub(crate) adam8bit: Count,
    pub(crate) adafactor: Count,
}

/// A moment in the backward pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) when: When,
    /// Bytes still kept from the forward pass.
    pub(crate) kept: Count,
    /// Bytes made again or in flight.
    pub(crate) working: Count,
    /// Elements of gradients there are by then.
    pub(crate) made: Count,
}

/// What a training step needs.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) elements: Elements,
    pub(crate) blocks: u32,
    /// Bytes there from the beginning to the end.
    pub(crate) before: Count,
    /// Bytes kept by all blocks, and at most by one.
    pub(crate) kept: Count,
    pub(crate) kept_by_one: Count,
    pub(crate) kept_formula: String,
    /// Bytes between the last block and the logits.
    pub(crate) after: Count,
    /// Bytes of logits and loss: in the forward pass, and in the backward pass.
    pub(crate) logits: (Count, Count),
    pub(crate) logits_formula: (String, String),
    /// Bytes when the embedding's gradient is made.
    pub(crate) embedding: Count,
    pub(crate) points: Vec<Point>,
}

impl Profile {
    pub(crate) fn of_transformer(
        model: &Transformer,
        training: &Training,
        rows: &Activations,
    ) -> Result<Self, EstimateError> {
        check(model, training)?;
        let elements = elements(model, training);
        let sum = |rows: &[Row], kinds: fn(Kind) -> bool| -> Count {
            rows.iter().filter(|row| kinds(row.kind)).map(|row| Count::from(row.bytes)).sum()
        };
        let feed_forward = sum(&rows.feed_forward, |_| true);
        let block = sum(&rows.attention, |_| true) + feed_forward;
        let input = sum(&rows.attention, |kind| kind == Kind::Input);
        let scores = sum(&rows.attention, |kind| kind == Kind::Scores);
        let tokens = Count::from(training.batch) * training.sequence;
        let wide = training.precision.weight();
        let between = if training.sequence_parallel { training.tensor } else { 1 };
        let hidden = (tokens * model.hidden * wide).shared(between);
        // Per checkpoint: what is kept, what is made again; and how many there are.
        let (kept, again, parts) = match training.checkpoint {
            Checkpoint::None => (block, Count::ZERO, model.layers),
            Checkpoint::Selective => (block - scores, scores, model.layers),
            Checkpoint::Every(every) => {
                let every = every.min(model.layers);
                (hidden, block * every - input, model.layers.div_ceil(every))
            }
        };
        // In the feed-forward network; or in attention, when what that network kept is gone.
        let working = (again + flight(model, training))
            .max(again + scores_flight(model, training) - feed_forward)
            + hidden;
        let tied = if model.tied { elements.output } else { Count::ZERO };
        let last = Point {
            when: When::LastBlock,
            kept: kept * parts,
            working,
            made: elements.trained_after + elements.trained_block,
        };
        let made = elements.trained - elements.trained_before;
        let first = Point { when: When::FirstBlock, kept, working, made };
        let (logits, logits_formula) = logits(model, training);
        Ok(Self {
            elements,
            blocks: model.layers,
            before: sum(&rows.before, |_| true),
            kept: kept * parts,
            kept_by_one: kept,
            kept_formula: match training.checkpoint {
                Checkpoint::Every(_) => format!("{wide} bsh × {parts} checkpoints"),
                Checkpoint::Selective => format!("rows of a block without scores × {parts}"),
                Checkpoint::None => format!("rows of a block × {parts}"),
            },
            after: sum(&rows.after, |_| true),
            logits,
            logits_formula,
            embedding: match training.trainable {
                Trainable::Lora(_) => hidden,
                _ => hidden + tied * training.trained().1,
            },
            points: vec![last, first],
        })
    }
}

fn check(model: &Transformer, training: &Training) -> Result<(), EstimateError> {
    model.check()?;
    if let Positions::Learned(positions) = model.positions
        && training.sequence > positions
    {
        return Err(EstimateError::Positions { sequence: training.sequence, positions });
    }
    let devices = training.tensor;
    crate::model::divides("heads", model.heads, "tensor", devices)?;
    crate::model::divides("kv_heads", model.kv_heads, "tensor", devices)?;
    crate::model::divides("intermediate", model.intermediate, "tensor", devices)?;
    if training.tensor > 1 && matches!(training.trainable, Trainable::Lora(_)) {
        return Err(EstimateError::Conflict {
            setting: "LoRA",
            with: "tensor parallelism",
            remedy: "set the tensor-parallel devices to 1",
        });
    }
    if model.attention == Attention::Flash && training.checkpoint == Checkpoint::Selective {
        return Err(EstimateError::Conflict {
            setting: "selective checkpointing",
            with: "flash attention, which keeps no scores",
            remedy: "leave it out, or choose eager attention or full checkpointing",
        });
    }
    Ok(())
}

fn elements(model: &Transformer, training: &Training) -> Elements {
    let weights = model.weights();
    let tensor = training.tensor;
    let of = |place: Place, keep: fn(&Weight) -> bool| -> Count {
        let chosen = weights.iter().filter(|weight| weight.place == place && keep(weight));
        chosen.map(|weight| weight.elements(tensor)).sum()
    };
    let before = of(Place::Embedding, |_| true);
    let after = of(Place::Head, |_| true);
    let block = of(Place::Block, |_| true);
    let own = before + after + block * model.layers;
    let output = (Count::from(model.vocabulary) * model.hidden).shared(tensor);
    let tied = if model.tied { output } else { Count::ZERO };
    let layers = |weight: &Weight| if weight.place == Place::Block { model.layers } else { 1 };
    let mut elements = Elements {
        own,
        root: before + after,
        block,
        linear: of(Place::Block, |weight| weight.columns > 1),
        output,
        ..Elements::default()
    };
    match training.trainable {
        Trainable::Lora(rank) => {
            for weight in weights.iter().filter(|weight| weight.is_linear()) {
                for width in [weight.rows, weight.columns] {
                    let each = Count::from(rank) * width;
                    let copies = Count::from(weight.copies) * model.layers;
                    elements.trained_block = elements.trained_block + each * weight.copies;
                    elements.largest = elements.largest.max(each);
                    elements.add_state(each, (Count::from(rank), width.into()), copies);
                }
            }
            elements.adapters = elements.trained_block * model.layers;
            elements.trained = elements.adapters;
        }
        Trainable::All | Trainable::Part(_) => {
            for weight in &weights {
                let each = weight.each(tensor);
                let copies = Count::from(weight.copies) * layers(weight);
                elements.largest = elements.largest.max(each);
                elements.add_state(each, (weight.rows.into(), weight.columns.into()), copies);
            }
            elements.trained = own;
            elements.trained_before = before - tied;
            elements.trained_after = after + tied;
            elements.trained_block = block;
        }
    }
    elements.train(training.trainable);
    elements
}

impl Elements {
    /// Counts the optimizer's state for so many tensors of this size and shape.
    pub(crate) fn add_state(&mut self, each: Count, shape: (Count, Count), copies: Count) {
        let one = Count::from(1);
        let scaled =
            if each < Count::from(4096) { each * 8 } else { each * 2 + each.shared(256) * 8 };
        self.adam8bit = self.adam8bit + scaled * copies;
        let factored = if shape.1 > one { shape.0 + shape.1 } else { each };
        self.adafactor = self.adafactor + factored * 4 * copies;
    }

    /// Leaves the part that is trained.
    pub(crate) fn train(&mut self, trainable: Trainable) {
        let Trainable::Part(part) = trainable else { return };
        for count in [
            &mut self.trained,
            &mut self.trained_before,
            &mut self.trained_after,
            &mut self.trained_block,
            &mut self.adam8bit,
            &mut self.adafactor,
        ] {
            *count = count.part(part);
        }
    }
}

/// Two gradients of what is widest inside a block: that of a layer's output, and that of its input.
fn flight(model: &Transformer, training: &Training) -> Count {
    let tokens = Count::from(training.batch) * training.sequence;
    let active = model.experts.map_or(Count::from(1), |experts| Count::from(experts.active));
    let all = model.experts.map_or(1, |experts| experts.count);
    let inside = (tokens * active).shared(all) * model.intermediate;
    let low = training.precision.low();
    let bytes = match training.trainable {
        // The adapter's input is f32, and so is its gradient.
        Trainable::Lora(_) if low == 2 && model.mlp == Mlp::Gated => 6,
        _ => 2 * low,
    };
    (inside * bytes).shared(training.tensor)
}

/// What the backward pass of eager attention's softmax has at once: the gradient of its output, that
/// times the output, and the gradient of its input. The scores that met the values are gone by then.
fn scores_flight(model: &Transformer, training: &Training) -> Count {
    if model.attention == Attention::Flash {
        return Count::ZERO;
    }
    let low = training.precision.low();
    let is_f32 =
        model.attention == Attention::EagerF32 || training.precision == Precision::Autocast;
    let bytes = 3 * if is_f32 { 4 } else { low };
    let gone = if model.attention_dropout || (is_f32 && low == 2) { low } else { 0 };
    let tokens = Count::from(training.batch) * training.sequence;
    (tokens * model.heads * training.sequence * (bytes - gone)).shared(training.tensor)
}

/// Logits and loss, forward and backward, with their formulas.
fn logits(model: &Transformer, training: &Training) -> ((Count, Count), (String, String)) {
    let low = training.precision.low();
    let tokens = Count::from(training.batch) * training.sequence;
    let all = (tokens * model.vocabulary).shared(training.tensor);
    let kept = if training.keeps_logits { low } else { 0 };
    let same = |bytes: (u32, u32)| {
        let formula = |bytes| format!("{bytes} bsV");
        ((all * bytes.0, all * bytes.1), (formula(bytes.0), formula(bytes.1)))
    };
    match training.loss {
        // The logarithms that were saved, their gradient, and the logits' gradient.
        Loss::F32 if low == 2 => same((2 + 4 + 4, 3 * 4 + kept)),
        Loss::Low if low == 2 && training.precision.weight() == 4 => {
            // Autocast does it in f32 anyway.
            same((2 + 4 + 4, 3 * 4 + kept))
        }
        Loss::F32 | Loss::Low => same((2 * low, 3 * low + kept)),
        Loss::Chunked => {
            let chunks = model.vocabulary.div_ceil(model.hidden.max(1));
            let rows = tokens.shared(chunks);
            let made = (rows * model.vocabulary).shared(training.tensor) * (low + 4)
                + tokens * model.hidden * low;
            let formula = format!("{} bsV / {chunks} + {low} bsh", low + 4);
            ((made, made), (formula.clone(), formula))
        }
    }
}
