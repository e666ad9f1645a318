//! [`Row`]: what one operation of a block leaves for its backward pass.
//!
//! PyTorch's operators, read one by one, decide what is kept: a linear layer its input; a norm its
//! input and a number or two per token; dropout a mask of one byte per number; an activation function
//! its input; a product both factors. For layer norm, GELU, eager attention and dropout in 16 bits
//! the rows add up to `sbh (34 + 5as/h)`, which is the formula of Korthikanti et al. (arXiv
//! 2205.05198, equation 2).

use freeboard_units::Bytes;
use serde::Serialize;

use crate::Transformer;
use crate::count::Count;
use crate::{Attention, EstimateError, Mlp, Norm, Positions, Precision, Trainable, Training};

/// What a row is, apart from its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// The block's input itself: with checkpointing it is kept, and not made again.
    Input,
    /// Kept for the backward pass.
    Saved,
    /// Scores of eager attention: kept, unless checkpointing is selective.
    Scores,
    /// A few numbers per token, which closed formulas leave out.
    Statistics,
}

/// What one operation leaves for its backward pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What it is.
    pub what: &'static str,
    /// What kind of row it is.
    pub kind: Kind,
    /// How many bytes, in letters: b batch, s sequence, h hidden, a heads, d width of a head, g heads
    /// of keys and values, i intermediate, k experts per token, e experts, r rank, t tensor-parallel
    /// devices.
    pub formula: String,
    /// How many bytes, on one device.
    pub bytes: Bytes,
}

/// The rows of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Activations {
    /// Once, before the first block.
    pub before: Vec<Row>,
    /// In every block: attention, with the norm before it.
    pub attention: Vec<Row>,
    /// In every block: the feed-forward network, with the norm before it.
    pub feed_forward: Vec<Row>,
    /// Once, after the last block, without logits.
    pub after: Vec<Row>,
}

impl Activations {
    /// The rows of this model.
    ///
    /// # Errors
    /// [`EstimateError`] where a number cannot be, or they are too large.
    pub fn new(model: &Transformer, training: &Training) -> Result<Self, EstimateError> {
        let mut table = Table::new(model, training);
        Ok(Self {
            before: table.rows(Table::before)?,
            attention: table.rows(Table::attention)?,
            feed_forward: table.rows(Table::feed_forward)?,
            after: table.rows(Table::after)?,
        })
    }
}

/// Rows as they are made.
struct Table<'a> {
    model: &'a Transformer,
    precision: Precision,
    /// Bytes of a number in linear layers, and of one in hidden states between them.
    low: u32,
    wide: u32,
    sequence: u32,
    /// b s
    tokens: Count,
    /// b a s
    heads: Count,
    tensor: u32,
    /// Among how many devices the rows between linear layers are shared.
    between: u32,
    rank: Option<u32>,
    rows: Vec<(&'static str, Kind, String, Count)>,
}

use Kind::{Input, Saved, Scores, Statistics};

impl<'a> Table<'a> {
    fn new(model: &'a Transformer, training: &Training) -> Self {
        let precision = training.precision;
        let tokens = Count::from(training.batch) * training.sequence;
        Self {
            model,
            precision,
            low: precision.low(),
            wide: precision.weight(),
            sequence: training.sequence,
            tokens,
            heads: tokens * model.heads,
            tensor: training.tensor,
            between: if training.sequence_parallel { training.tensor } else { 1 },
            rank: match training.trainable {
                Trainable::Lora(rank) => Some(rank),
                _ => None,
            },
            rows: Vec::new(),
        }
    }

    /// The rows that `make` makes.
    fn rows(&mut self, make: fn(&mut Self)) -> Result<Vec<Row>, EstimateError> {
        make(self);
        let rows = self.rows.drain(..).map(|(what, kind, formula, count)| {
            Ok(Row { what, kind, formula, bytes: count.bytes("the activations")? })
        });
        rows.collect()
    }

    /// `bytes` for each of `count` numbers, which `letters` tell, shared among so many devices.
    fn row(&mut self, what: (&'static str, Kind), bytes: u32, letters: &str, count: (Count, u32)) {
        let (count, among) = count;
        let shared = if among > 1 { " / t" } else { "" };
        let formula = format!("{bytes} {letters}{shared}");
        self.rows.push((what.0, what.1, formula, (count * bytes).shared(among)));
    }

    fn hidden(&self) -> (Count, u32) {
        (self.tokens * self.model.hidden, self.between)
    }

    fn before(&mut self) {
        self.row(("tokens and labels", Statistics), 16, "bs", (self.tokens, 1));
        let places = Count::from(self.sequence);
        if self.model.positions != Positions::None {
            self.row(("positions", Statistics), 8, "s", (places, 1));
        }
        if self.model.positions == Positions::Rotary {
            let count = places * self.model.head_dim;
            self.row(("cosines and sines", Statistics), 2 * self.low, "sd", (count, 1));
        }
        if self.model.dropout {
            self.row(("embedding's dropout mask", Saved), 1, "bsh", self.hidden());
        }
    }

    fn after(&mut self) {
        self.norm(("final norm's input", Saved), true);
        if self.rank.is_none() {
            self.row(("output layer's input", Saved), self.low, "bsh", self.hidden());
        }
    }

    fn attention(&mut self) {
        let model = self.model;
        self.norm(("attention norm's input", Input), true);
        let users = if model.fused_qkv { 1 } else { 3 };
        self.normalised_input("query, key and value layers' input", users);
        self.heads_of_attention();
        if model.attention != Attention::Flash {
            self.scores();
        }
        let out = self.tokens * model.heads * model.head_dim;
        let flash = model.attention == Attention::Flash;
        if flash || self.rank.is_none() {
            self.row(("attention's output", Saved), self.low, "bsad", (out, self.tensor));
        }
        self.adapters("adapter beside attention's output layer", 1, "bsad", out);
        if model.dropout {
            self.row(("attention's dropout mask", Saved), 1, "bsh", self.hidden());
        }
    }

    fn feed_forward(&mut self) {
        let model = self.model;
        // Beside attention rather than after it, it reads what attention reads.
        let has_own_input = !model.parallel || model.norm == Norm::RmsOperations;
        self.norm(("feed-forward norm's input", Saved), has_own_input);
        if model.experts.is_some() {
            self.experts();
        } else {
            let users = if model.mlp == Mlp::Gated { 2 } else { 1 };
            self.normalised_input("feed-forward input", users);
            let inside = self.tokens * model.intermediate;
            self.inside("bsi", inside);
        }
        if model.dropout {
            self.row(("feed-forward dropout mask", Saved), 1, "bsh", self.hidden());
        }
    }

    fn norm(&mut self, (what, kind): (&'static str, Kind), has_own_input: bool) {
        let hidden = self.hidden();
        let numbers = if self.model.norm == Norm::Layer { 8 } else { 4 };
        if self.model.norm == Norm::RmsOperations {
            // Hidden states that are f32 already are not copied.
            let kind = if self.wide == 4 { kind } else { Saved };
            self.row((what, kind), 4, "bsh", hidden);
            if self.rank.is_none() {
                self.row(("normalised, before the norm's weight", Saved), self.wide, "bsh", hidden);
            }
        } else if has_own_input {
            self.row((what, kind), self.wide, "bsh", hidden);
        }
        let count = (self.tokens, self.between);
        self.row(("norm's numbers per token", Statistics), numbers, "bs", count);
    }

    /// What a norm gives to so many linear layers. Autocast makes a copy for each.
    fn normalised_input(&mut self, what: &'static str, users: u32) {
        let copies = if self.precision == Precision::Autocast { users } else { 1 };
        if self.rank.is_none() {
            self.row((what, Saved), self.low * copies, "bsh", self.hidden());
        }
        self.adapters("adapters beside these layers", users, "bsh", self.hidden().0);
    }

    /// The inputs of adapters beside so many layers, and what is between their two matrices. They are
    /// f32, so that input in 16 bits is copied for each.
    fn adapters(&mut self, what: &'static str, users: u32, letters: &str, input: Count) {
        let Some(rank) = self.rank else { return };
        let (bytes, copies) = match self.precision {
            Precision::F32 => (4, 1),
            Precision::Autocast => (2, users),
            Precision::Low | Precision::Master => (4, users),
        };
        let inner = self.tokens * rank;
        self.row((what, Saved), bytes * copies, letters, (input, 1));
        self.row(("between an adapter's matrices", Saved), bytes * users, "bsr", (inner, 1));
    }

    fn heads_of_attention(&mut self) {
        let model = self.model;
        let keys = if model.repeats_kv { model.heads } else { model.kv_heads };
        let made = self.tokens * model.head_dim;
        if model.qk_norm {
            let own = Count::from(model.heads) + Count::from(model.kv_heads);
            let bytes = if model.norm == Norm::RmsOperations { 4 + self.low } else { self.low };
            let what = ("query and key norms' inputs", Saved);
            self.row(what, bytes, "bs(a+g)d", (made * own, self.tensor));
        }
        if model.fused_qkv && model.positions == Positions::Rotary {
            // Values are a view of what the layer made, which keeps all of it.
            let before = made * (Count::from(model.heads) + Count::from(model.kv_heads));
            let what = ("queries and keys before rotation", Saved);
            self.row(what, self.low, "bs(a+g)d", (before, self.tensor));
        }
        let letters = if model.repeats_kv { "bs(a+2a)d" } else { "bs(a+2g)d" };
        let count = made * (Count::from(model.heads) + Count::from(keys) * 2);
        self.row(("queries, keys and values", Saved), self.low, letters, (count, self.tensor));
        if model.attention == Attention::Flash {
            let what = ("scores' log of sums", Statistics);
            self.row(what, 4, "bas", (self.heads, self.tensor));
        }
    }

    fn scores(&mut self) {
        let count = (self.heads * self.sequence, self.tensor);
        let drops = self.model.attention_dropout;
        let f32_softmax =
            self.model.attention == Attention::EagerF32 || self.precision == Precision::Autocast;
        let copied = f32_softmax && self.low == 2;
        self.row(("softmax", Scores), if copied { 4 } else { self.low }, "bass", count);
        if drops {
            self.row(("scores' dropout mask", Scores), 1, "bass", count);
        }
        if drops || copied {
            self.row(("scores as they meet the values", Scores), self.low, "bass", count);
        }
    }

    /// What lies inside a feed-forward network, and the input of its last layer.
    fn inside(&mut self, letters: &str, inside: Count) {
        let (low, count) = (self.low, (inside, self.tensor));
        match self.model.mlp {
            Mlp::Relu => {}
            Mlp::Gelu => self.row(("activation's input", Saved), low, letters, count),
            Mlp::GeluOperations => {
                // Autocast works out the cube, and what follows from it, in f32.
                let bytes = if self.precision == Precision::Autocast { 14 } else { 4 * low };
                self.row(("activation's steps", Saved), bytes, letters, count);
            }
            Mlp::Gated => {
                self.row(("gate before and after its activation", Saved), 2 * low, letters, count);
                self.row(("what is gated", Saved), low, letters, count);
            }
        }
        // A ReLU needs its output, whoever else does.
        if self.rank.is_none() || self.model.mlp == Mlp::Relu {
            self.row(("last layer's input", Saved), low, letters, count);
        }
        self.adapters("adapter beside the last layer", 1, letters, inside);
    }

    /// Every expert gathers its tokens, and its output is weighted.
    fn experts(&mut self) {
        let Some(experts) = self.model.experts else { return };
        let routed = self.tokens * experts.active;
        let gathered = (routed * self.model.hidden, 1);
        self.normalised_input("router's input", 1);
        let count = self.tokens * experts.count;
        self.row(("router's softmax", Statistics), 4, "bse", (count, 1));
        self.row(("choice of experts and weights", Statistics), 28 + self.low, "bsk", (routed, 1));
        self.row(("experts' input", Saved), self.low, "bskh", gathered);
        self.inside("bski", routed * self.model.intermediate);
        self.row(("experts' output, as it is and weighted", Saved), 2 * self.low, "bskh", gathered);
    }
}
