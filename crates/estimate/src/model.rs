//! [`Transformer`]: the shape of a decoder, and its weights.

use serde::Serialize;

use crate::EstimateError;
use crate::count::Count;

/// How the layers between attention are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mlp {
    /// Two linear layers with GELU, one kernel, between them.
    Gelu,
    /// The same with GELU made of single operations, as `gelu_new` of Transformers: it keeps three
    /// more tensors.
    GeluOperations,
    /// Two linear layers with `ReLU`, which needs nothing but its output, between them.
    Relu,
    /// Three linear layers, of which one gates another (`SwiGLU`, `GeGLU`).
    Gated,
}

/// How hidden states are normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Norm {
    /// Layer norm, one kernel.
    Layer,
    /// RMS norm, one kernel.
    Rms,
    /// RMS norm made of single operations in f32, as in Transformers: it keeps two more tensors.
    RmsOperations,
}

/// Where a token's place comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Positions {
    /// A learned table with so many rows.
    Learned(u32),
    /// Queries and keys are rotated.
    Rotary,
    /// Nowhere, or from something without weights.
    None,
}

/// Which layers add a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Biases {
    /// None.
    None,
    /// Those that make queries, keys and values.
    Qkv,
    /// All linear layers of a block, and the norms if they are layer norms.
    All,
}

/// How scores are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Attention {
    /// In tiles: scores are never in memory as a whole (`FlashAttention`, arXiv 2205.14135; PyTorch's
    /// `scaled_dot_product_attention`).
    Flash,
    /// Scores, softmax and dropout one after the other, in the compute type.
    Eager,
    /// The same with the softmax in f32, as the Llama family in Transformers does.
    EagerF32,
}

/// Several feed-forward networks of which each token uses some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Experts {
    /// How many there are in a layer.
    pub count: u32,
    /// How many serve a token.
    pub active: u32,
}

/// The shape of a decoder. [`crate::presets::find`] has those of published ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a yes or no of its own")]
pub struct Transformer {
    /// What it is called.
    pub name: String,
    /// Blocks, each of attention and a feed-forward network.
    pub layers: u32,
    /// Width of the hidden states (h).
    pub hidden: u32,
    /// Attention heads (a).
    pub heads: u32,
    /// Heads that have keys and values of their own.
    pub kv_heads: u32,
    /// Width of a head (d).
    pub head_dim: u32,
    /// Width inside the feed-forward network, of one expert where there are several (i).
    pub intermediate: u32,
    /// Tokens there are (V).
    pub vocabulary: u32,
    /// Whether the output layer has the embedding's weights.
    pub tied: bool,
    /// Where a token's place comes from.
    pub positions: Positions,
    /// How hidden states are normalised.
    pub norm: Norm,
    /// Whether queries and keys are normalised head by head, with one weight per number of a head.
    pub qk_norm: bool,
    /// Which layers add a bias.
    pub biases: Biases,
    /// The feed-forward network.
    pub mlp: Mlp,
    /// More than one of them, if so.
    pub experts: Option<Experts>,
    /// Whether there is dropout after the embedding, attention and the feed-forward network.
    pub dropout: bool,
    /// Whether there is dropout on the attention scores.
    pub attention_dropout: bool,
    /// How scores are made.
    pub attention: Attention,
    /// Whether keys and values are copied for every head before the scores, where heads share them.
    pub repeats_kv: bool,
    /// Whether the feed-forward network works beside attention rather than after it.
    pub parallel: bool,
    /// Whether one linear layer makes queries, keys and values.
    pub fused_qkv: bool,
}

/// Where a weight is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Place {
    /// Before the first block.
    Embedding,
    /// In every block.
    Block,
    /// After the last.
    Head,
}

/// Weights of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Weight {
    /// What they do.
    pub name: &'static str,
    /// Where they are used.
    pub place: Place,
    /// Outputs.
    pub rows: u32,
    /// Inputs; 1 for a vector.
    pub columns: u32,
    /// How many there are of this shape in this place (in one block).
    pub copies: u32,
    /// Whether tensor parallelism splits them.
    pub divided: bool,
}

const ROUTER: &str = "router";

impl Weight {
    /// The elements of all copies on one of so many tensor-parallel devices.
    pub(crate) fn elements(self, tensor: u32) -> Count {
        self.each(tensor) * self.copies
    }

    /// The elements of one copy.
    pub(crate) fn each(self, tensor: u32) -> Count {
        let all = Count::from(self.rows) * self.columns;
        if self.divided { all.shared(tensor) } else { all }
    }

    /// Whether it is a matrix of a linear layer in a block, other than the one that chooses experts.
    pub(crate) fn is_linear(self) -> bool {
        self.place == Place::Block && self.columns > 1 && self.name != ROUTER
    }
}

impl Transformer {
    /// Looks at every number.
    ///
    /// # Errors
    /// [`EstimateError`] names the first that cannot be.
    pub fn check(&self) -> Result<(), EstimateError> {
        for (field, value) in [
            ("layers", self.layers),
            ("hidden", self.hidden),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("intermediate", self.intermediate),
            ("vocabulary", self.vocabulary),
            ("experts", self.experts.map_or(1, |experts| experts.count)),
            ("experts per token", self.experts.map_or(1, |experts| experts.active)),
        ] {
            if value == 0 {
                return Err(EstimateError::Zero { field });
            }
        }
        divides("heads", self.heads, "kv_heads", self.kv_heads)?;
        match self.experts {
            Some(Experts { count, active }) if active > count => {
                Err(EstimateError::Experts { active, experts: count })
            }
            _ => Ok(()),
        }
    }

    /// Every weight, by shape.
    #[must_use]
    pub fn weights(&self) -> Vec<Weight> {
        let mut weights = Vec::new();
        let mut add = |name, place, rows, columns, copies, divided| {
            weights.push(Weight { name, place, rows, columns, copies, divided });
        };
        let (h, i) = (self.hidden, self.intermediate);
        // Widths that do not fit are refused by the products they are part of.
        let q = self.heads.saturating_mul(self.head_dim);
        let kv = self.kv_heads.saturating_mul(self.head_dim);
        let is_layer = self.norm == Norm::Layer;
        let norm = if is_layer && self.biases == Biases::All { 2 } else { 1 };
        add("token embedding", Place::Embedding, self.vocabulary, h, 1, true);
        if let Positions::Learned(rows) = self.positions {
            add("position embedding", Place::Embedding, rows, h, 1, false);
        }
        add("norms", Place::Block, h, 1, 2 * norm, false);
        if self.fused_qkv {
            let all = q.saturating_add(kv.saturating_mul(2));
            add("query, key and value", Place::Block, all, h, 1, true);
        } else {
            add("query", Place::Block, q, h, 1, true);
            add("key and value", Place::Block, kv, h, 2, true);
        }
        add("attention output", Place::Block, h, q, 1, true);
        if self.qk_norm {
            add("query and key norms", Place::Block, self.head_dim, 1, 2, false);
        }
        if self.biases != Biases::None {
            add("query bias", Place::Block, q, 1, 1, true);
            add("key and value bias", Place::Block, kv, 1, 2, true);
        }
        let experts = self.experts.map_or(1, |experts| experts.count);
        if self.experts.is_some() {
            add(ROUTER, Place::Block, experts, h, 1, false);
        }
        let into = if self.mlp == Mlp::Gated { 2 } else { 1 };
        add("feed-forward in", Place::Block, i, h, experts.saturating_mul(into), true);
        add("feed-forward out", Place::Block, h, i, experts, true);
        if self.biases == Biases::All {
            add("attention output bias", Place::Block, h, 1, 1, false);
            add("feed-forward in bias", Place::Block, i, 1, experts.saturating_mul(into), true);
            add("feed-forward out bias", Place::Block, h, 1, experts, false);
        }
        add("final norm", Place::Head, h, 1, norm, false);
        if !self.tied {
            add("output", Place::Head, self.vocabulary, h, 1, true);
        }
        weights
    }

    /// How many parameters there are, over all devices.
    ///
    /// ```
    /// let gpt2 = freeboard_estimate::presets::find("gpt2")?;
    /// assert_eq!(gpt2.parameters()?, 124_439_808);
    /// # Ok::<(), freeboard_estimate::EstimateError>(())
    /// ```
    ///
    /// # Errors
    /// [`EstimateError`] where a number cannot be, or there are 2^63 or more.
    pub fn parameters(&self) -> Result<u64, EstimateError> {
        self.check()?;
        let all = self.weights().into_iter().map(|weight| {
            let layers = if weight.place == Place::Block { self.layers } else { 1 };
            weight.elements(1) * layers
        });
        Ok(all.sum::<Count>().bytes("the parameters")?.get())
    }
}

/// Refuses what does not divide.
pub(crate) fn divides(
    whole: &'static str,
    value: u32,
    part: &'static str,
    by: u32,
) -> Result<(), EstimateError> {
    if by == 0 {
        return Err(EstimateError::Zero { field: part });
    }
    if value.is_multiple_of(by) {
        Ok(())
    } else {
        Err(EstimateError::Indivisible { whole, value, part, by })
    }
}
