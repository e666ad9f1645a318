//! [`AutocastError`]: what autocast refuses.

use freeboard_units::Dtype;

/// Autocast refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AutocastError {
    /// Autocast casts to `F16` or `BF16` only. PyTorch warns and switches autocast off.
    #[error("autocast to {0}: it casts to float16 or bfloat16; for {0} run without a scope")]
    Lower(Dtype),
    /// The op is unsafe under autocast.
    #[error("{op} is unsafe to autocast: {}", advice(op))]
    Banned {
        /// The op, as it was asked for.
        op: String,
    },
    /// An op in the widest type has an input that is neither `F32` nor the scope's lower type.
    /// PyTorch: "Unexpected floating `ScalarType` in `at::autocast::prioritize`".
    #[error(
        "{op}: an input is {found} in a scope of {lower}, and none before it is float32; cast it to \
         {lower} or float32"
    )]
    Unexpected {
        /// The op, as it was asked for.
        op: String,
        /// The input's type.
        found: Dtype,
        /// The scope's lower type.
        lower: Dtype,
    },
    /// No type holds both, as in `torch.promote_types`.
    #[error("{op}: no type holds both {left} and {right}; cast one of its inputs")]
    NoCommonType {
        /// The op, as it was asked for.
        op: String,
        /// The type of the inputs so far.
        left: Dtype,
        /// The type of the next.
        right: Dtype,
    },
    /// The type of an op without inputs was asked for.
    #[error("{op}: it runs in the type of its inputs, and none were given; name their types")]
    NoInputs {
        /// The op, as it was asked for.
        op: String,
    },
}

fn advice(op: &str) -> &'static str {
    if op.ends_with("binary_cross_entropy") {
        "binary_cross_entropy on a sigmoid's output loses what float16 cannot hold; use \
         binary_cross_entropy_with_logits instead of both, which is safe, or run it inside \
         autocast_off on float32 inputs"
    } else {
        "a rule of this scope says so; run it inside autocast_off, or give it another rule"
    }
}
