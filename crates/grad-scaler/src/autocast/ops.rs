//! The op lists: names, and how an op is found by one.

use std::cmp::Ordering;
use std::fmt;

use super::rule::{Backend, Rule};
use super::{cpu, cuda};

/// An op: its name, the overloads that are listed, its rule.
pub(super) type Row = (&'static str, &'static [&'static str], Rule);

/// Functions that run as one listed op does, with that op.
const ALIASES: &[(&str, &str)] = &[
    ("__matmul__", "matmul"),
    ("arccos", "acos"),
    ("arcsin", "asin"),
    ("cross_entropy", "nll_loss"),
    ("interpolate", "upsample_nearest2d"),
    ("linalg_matmul", "matmul"),
    ("linalg_norm", "linalg_vector_norm"),
    ("softmin", "softmax"),
];
/// Overloads that are made of a listed op, where they are not listed themselves.
const COMPOSED: &[&str] = &["padding", "vec"];
/// What may stand before a name, in this order.
const PREFIXES: &[&str] =
    &["torch.", "ops.", "aten::", "aten.", "Tensor.", "nn.functional.", "F.", "special."];

/// An op's name in parts: `torch.linalg.vector_norm` is `linalg_` and `vector_norm`.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    family: &'static str,
    base: &'a str,
    overload: Option<&'a str>,
}

impl<'a> Name<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let strip = |rest: &'a str, prefix: &&str| rest.strip_prefix(*prefix).unwrap_or(rest);
        let rest = PREFIXES.iter().fold(text, strip);
        let (family, rest) = if let Some(rest) = rest.strip_prefix("linalg.") {
            ("linalg_", rest)
        } else if let Some(rest) = rest.strip_prefix("fft.") {
            ("fft_", rest)
        } else {
            ("", rest)
        };
        match rest.split_once('.') {
            Some((base, "default")) => Self { family, base, overload: Some("") },
            Some((base, overload)) => Self { family, base, overload: Some(overload) },
            None => Self { family, base: rest, overload: None },
        }
    }

    fn bytes(self) -> impl Iterator<Item = u8> {
        self.family.bytes().chain(self.base.bytes())
    }

    fn compare(self, name: &str) -> Ordering {
        name.bytes().cmp(self.bytes())
    }

    /// Whether this name, which may leave the overload open, means that op.
    pub(super) fn covers(self, op: Name<'_>) -> bool {
        let is_overload = match (self.overload, op.overload) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        is_overload && self.bytes().eq(op.bytes())
    }

    /// How many inputs decide on the widest type: PyTorch casts, but does not look at, the bias of
    /// `bilinear`, which is optional.
    pub(super) fn deciding(self) -> usize {
        if self.compare("bilinear").is_eq() { 3 } else { usize::MAX }
    }

    pub(super) fn rule(self, backend: Backend) -> Option<Rule> {
        let rows = rows(backend);
        if let Ok(place) = rows.binary_search_by(|row| self.compare(row.0)) {
            let (_, overloads, rule) = rows[place];
            let is_listed =
                |overload| overloads.contains(&overload) || COMPOSED.contains(&overload);
            return self.overload.is_none_or(is_listed).then_some(rule);
        }
        let place = ALIASES.binary_search_by(|alias| self.compare(alias.0)).ok()?;
        if self.overload.is_some_and(|overload| !overload.is_empty()) {
            return None;
        }
        Name::parse(ALIASES[place].1).rule(backend)
    }
}

fn rows(backend: Backend) -> &'static [Row] {
    match backend {
        Backend::Cuda => cuda::OPS,
        Backend::Cpu => cpu::OPS,
    }
}

/// The rule of an op on PyTorch 2.15's lists for this backend, or `None` where it is on none of them
/// and runs in the types of its inputs.
///
/// Names are PyTorch's, however written. An overload can be named; without one, any that is listed
/// will do.
///
/// ```
/// use freeboard_grad_scaler::autocast::{Backend, Rule, rule_of};
///
/// for name in ["softmax", "torch.nn.functional.softmax", "aten::softmax.int"] {
///     assert_eq!(rule_of(Backend::Cuda, name), Some(Rule::F32Output));
/// }
/// assert_eq!(rule_of(Backend::Cuda, "addmm"), Some(Rule::Lower));
/// assert_eq!(rule_of(Backend::Cuda, "addmm_"), None); // in place
/// assert_eq!(rule_of(Backend::Cpu, "torch.linalg.inv"), Some(Rule::F32));
/// ```
#[must_use]
pub fn rule_of(backend: Backend, op: &str) -> Option<Rule> {
    Name::parse(op).rule(backend)
}

/// The ops on PyTorch 2.15's lists for this backend, by name.
#[must_use]
pub fn ops(backend: Backend) -> impl ExactSizeIterator<Item = (&'static str, Rule)> {
    rows(backend).iter().map(|&(name, _, rule)| (name, rule))
}

/// The lists of a backend as a table of text: name, rule, backend, a line each.
///
/// ```
/// use freeboard_grad_scaler::autocast::{Backend, Table};
///
/// let text = Table(Backend::Cuda).to_string();
/// assert!(text.lines().any(|line| line.split_whitespace().eq(["matmul", "lower", "cuda"])));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Table(pub Backend);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, rule) in ops(self.0) {
            writeln!(f, "{name:36} {rule:26} {}", self.0)?;
        }
        Ok(())
    }
}
