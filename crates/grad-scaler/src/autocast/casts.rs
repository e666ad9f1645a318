//! [`Casts`]: what a rule does to the inputs at hand.

use freeboard_units::Dtype;

use super::error::AutocastError;
use super::rule::Rule;

/// What to do before an op runs: the answer of [`cast_for`](super::cast_for).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Casts {
    rule: Rule,
    to: Option<Dtype>,
    output: Option<Dtype>,
}

impl Casts {
    /// Nothing is cast.
    pub(super) const NONE: Self = Self { rule: Rule::Passthrough, to: None, output: None };

    /// The rule behind the answer. [`Rule::Passthrough`] outside every scope and for unlisted ops.
    #[must_use]
    pub fn rule(self) -> Rule {
        self.rule
    }

    /// The type that an input of this type must have: its own where it is left alone.
    #[must_use]
    pub fn input(self, dtype: Dtype) -> Dtype {
        if is_eligible(dtype) { self.to.unwrap_or(dtype) } else { dtype }
    }

    /// The type that autocast tells the op to give, if it does. A type that the caller asks for
    /// goes before it.
    #[must_use]
    pub fn output(self) -> Option<Dtype> {
        self.output
    }

    /// What `rule` does to inputs, where those that decide have these types, in a scope with this
    /// lower type.
    pub(super) fn decide(
        op: &str,
        rule: Rule,
        lower: Dtype,
        dtypes: &[Dtype],
    ) -> Result<Self, AutocastError> {
        let first = dtypes.first().copied();
        let set = first.filter(|&dtype| is_eligible(dtype)).map(|_| Dtype::F32);
        let (to, output) = match rule {
            Rule::Lower => (Some(lower), None),
            Rule::F16 => (Some(Dtype::F16), None),
            Rule::F32 => (Some(Dtype::F32), None),
            Rule::F32Output => (None, set),
            Rule::F32Appended => (None, set.or(first)),
            Rule::Widest => (Some(widest(op, lower, dtypes)?), None),
            Rule::Banned => return Err(AutocastError::Banned { op: op.to_owned() }),
            Rule::Passthrough => (None, None),
        };
        Ok(Self { rule, to, output })
    }

    /// The one type in which an op runs on inputs of these types.
    pub(super) fn dtype(self, op: &str, dtypes: &[Dtype]) -> Result<Dtype, AutocastError> {
        if let Some(output) = self.output {
            return Ok(output);
        }
        let mut inputs = dtypes.iter().map(|&dtype| self.input(dtype));
        let first = inputs.next().ok_or_else(|| AutocastError::NoInputs { op: op.to_owned() })?;
        inputs.try_fold(first, |left, right| {
            promote(left, right).ok_or_else(|| AutocastError::NoCommonType {
                op: op.to_owned(),
                left,
                right,
            })
        })
    }
}

/// Whether autocast ever casts such a tensor.
fn is_eligible(dtype: Dtype) -> bool {
    dtype.is_float() && dtype != Dtype::F64
}

/// PyTorch looks at the inputs in order: once one is `F32`, no later one is refused.
fn widest(op: &str, lower: Dtype, dtypes: &[Dtype]) -> Result<Dtype, AutocastError> {
    let mut widest = lower;
    for &found in dtypes.iter().filter(|&&dtype| is_eligible(dtype)) {
        if widest == Dtype::F32 || found == Dtype::F32 {
            widest = Dtype::F32;
        } else if found != lower {
            return Err(AutocastError::Unexpected { op: op.to_owned(), found, lower });
        }
    }
    Ok(widest)
}

/// The smallest type that holds both, as `torch.promote_types`; `None` where that refuses: an 8-bit
/// float, or an unsigned integer above 8 bits, with a type of its own kind.
///
/// ```
/// use freeboard_grad_scaler::autocast::promote;
/// use freeboard_units::Dtype::{BF16, F16, F32, F8E4M3, I64};
///
/// assert_eq!(promote(F16, BF16), Some(F32));
/// assert_eq!(promote(I64, F16), Some(F16));
/// assert_eq!(promote(F8E4M3, F32), None);
/// ```
#[must_use]
pub fn promote(left: Dtype, right: Dtype) -> Option<Dtype> {
    use Dtype::{BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8};
    let has = |dtype| left == dtype || right == dtype;
    if left == right {
        return Some(left);
    }
    let is_small = |dtype| matches!(dtype, Dtype::F8E4M3 | Dtype::F8E5M2);
    if is_small(left) || is_small(right) {
        return None;
    }
    if left.is_float() != right.is_float() {
        return Some(if left.is_float() { left } else { right });
    }
    if has(F16) && has(BF16) {
        return Some(F32);
    }
    if has(U8) && has(I8) {
        return Some(I16);
    }
    let order = [F64, F32, F16, BF16, I64, I32, I16, I8, U8, Bool];
    let rank = |dtype| order.iter().position(|&one| one == dtype);
    Some(order[rank(left)?.min(rank(right)?)])
}
