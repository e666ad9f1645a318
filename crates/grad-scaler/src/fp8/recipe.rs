//! [`Fp8Recipe`]: how scales follow from what was seen.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use freeboard_units::Dtype;
use serde::{Deserialize, Serialize};

use super::{Fp8, Fp8E4M3, Fp8E5M2, Fp8Error};

/// The longest history, in rows.
pub(crate) const LONGEST: usize = 1 << 20;

/// How scales follow from what was seen: Transformer Engine's `DelayedScaling`, with its defaults.
///
/// A tensor is cast with the scale that its earlier magnitudes ask for: the largest number of the
/// FP8 type, divided by the largest magnitude in the history (amax), divided by 2^margin. With an
/// amax of 0, infinity or NaN, the scale stays. A scale beyond f32 is the largest f32.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fp8Recipe {
    /// How many powers of two are left free above the amax: 0.
    pub margin: f32,
    /// Which type is used where: [`Fp8Format::Hybrid`].
    pub fp8_format: Fp8Format,
    /// How many magnitudes of a tensor are remembered, the one being gathered included: 1,024.
    pub amax_history_len: usize,
    /// Which of them counts: [`AmaxCompute::Max`].
    pub amax_compute_algo: AmaxCompute,
    /// What happens to a tensor that was not seen since the last update: [`UpdateRule::Fused`].
    pub update: UpdateRule,
}

impl Default for Fp8Recipe {
    fn default() -> Self {
        Self {
            margin: 0.0,
            fp8_format: Fp8Format::Hybrid,
            amax_history_len: 1024,
            amax_compute_algo: AmaxCompute::Max,
            update: UpdateRule::Fused,
        }
    }
}

/// Which FP8 type is used where. There is no E5M2 alone, as in Transformer Engine: its two bits of
/// fraction are too few for activations and weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fp8Format {
    /// E4M3 forward, E5M2 for gradients.
    #[default]
    #[serde(rename = "HYBRID")]
    Hybrid,
    /// E4M3 everywhere.
    E4M3,
}

/// Which part of training tensors belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Activations and weights.
    Forward,
    /// Gradients.
    Backward,
}

/// Which magnitude of a history counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AmaxCompute {
    /// The largest.
    #[default]
    Max,
    /// The newest.
    MostRecent,
}

/// Transformer Engine has two updates, which differ in corners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateRule {
    /// Its default, a kernel: a tensor whose newest amax is 0 keeps history and scale; NaN in a
    /// history does not count.
    #[default]
    Fused,
    /// What `NVTE_UNFUSED_FP8_UPDATE=1` selects: every history moves on; NaN in it keeps the scale.
    Unfused,
}

impl Fp8Recipe {
    /// The FP8 type of tensors of a direction.
    #[must_use]
    pub const fn dtype(&self, direction: Direction) -> Dtype {
        match (self.fp8_format, direction) {
            (Fp8Format::Hybrid, Direction::Backward) => Dtype::F8E5M2,
            _ => Dtype::F8E4M3,
        }
    }

    /// The largest number of that type.
    #[must_use]
    pub const fn fp8_max(&self, direction: Direction) -> f32 {
        match self.dtype(direction) {
            Dtype::F8E5M2 => <Fp8E5M2 as Fp8>::MAX,
            _ => <Fp8E4M3 as Fp8>::MAX,
        }
    }

    /// Whether scales can follow from it.
    ///
    /// # Errors
    /// When the history has no rows or too many, or the margin is not a number or beyond ±100.
    pub fn check(&self) -> Result<(), Fp8Error> {
        let (len, most) = (self.amax_history_len, LONGEST);
        if len == 0 || len > most {
            return Err(Fp8Error::HistoryLength { len, most });
        }
        if self.margin.is_nan() || self.margin.abs() > 100.0 {
            return Err(Fp8Error::Margin { margin: self.margin });
        }
        Ok(())
    }

    pub(crate) fn rule(&self, direction: Direction) -> Rule {
        let unfused = self.update == UpdateRule::Unfused;
        let max = self.fp8_max(direction);
        let (numerator, divisor) =
            if unfused { (max, self.margin.exp2()) } else { (max * (-self.margin).exp2(), 1.0) };
        let most_recent = u32::from(self.amax_compute_algo == AmaxCompute::MostRecent);
        Rule { numerator, divisor, most_recent, unfused: u32::from(unfused) }
    }
}

/// A recipe as the kernel takes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub(crate) struct Rule {
    /// A scale is this, divided by the amax.
    pub(crate) numerator: f32,
    /// What an unfused scale is divided by, too.
    pub(crate) divisor: f32,
    /// 0 or 1.
    pub(crate) most_recent: u32,
    /// 0 or 1.
    pub(crate) unfused: u32,
}

impl Rule {
    /// The scale after `old`.
    pub(crate) fn scale(self, amax: f32, old: f32) -> f32 {
        let scale = if !(amax > 0.0 && amax < f32::INFINITY) {
            old
        } else if self.unfused != 0 {
            // PyTorch divides a number by a tensor so.
            1.0 / amax * self.numerator / self.divisor
        } else {
            self.numerator / amax
        };
        if scale.is_infinite() { f32::MAX } else { scale }
    }
}

/// How many tensors are looked at together, so that memory is read in order.
const TOGETHER: usize = 64;

/// Moves the histories of all tensors on and sets their scales. A history is a column; row 0 is what
/// was gathered since the last update, then come the oldest to the newest.
pub(crate) fn update(rule: Rule, history: &mut [f32], scale: &mut [f32], scale_inv: &mut [f32]) {
    advance(rule, history, scale.len(), |tensor, amax| {
        scale[tensor] = rule.scale(amax, scale[tensor]);
        scale_inv[tensor] = 1.0 / scale[tensor];
    });
}

/// Moves the histories of all tensors on, and tells the magnitude that counts for each; 0 or NaN if
/// there is none.
pub(crate) fn advance(
    rule: Rule,
    history: &mut [f32],
    tensors: usize,
    mut tell: impl FnMut(usize, f32),
) {
    for first in (0..tensors).step_by(TOGETHER) {
        let count = TOGETHER.min(tensors - first);
        let amaxes = roll(rule, history, tensors, first..first + count);
        for (tensor, amax) in (first..first + count).zip(amaxes) {
            tell(tensor, amax);
        }
    }
}

fn roll(rule: Rule, history: &mut [f32], tensors: usize, these: Range<usize>) -> [f32; TOGETHER] {
    let unfused = rule.unfused != 0;
    let mut newest = [0.0; TOGETHER];
    newest[..these.len()].copy_from_slice(&history[these.clone()]);
    let mut largest = [0.0_f32; TOGETHER];
    let rows = history.len() / tensors;
    for row in 0..rows {
        for (place, tensor) in these.clone().enumerate() {
            if !unfused && newest[place] == 0.0 {
                continue;
            }
            let here = row * tensors + tensor;
            let next = if row + 1 < rows { history[here + tensors] } else { newest[place] };
            // A NaN stays, because nothing is larger.
            if next > largest[place] || unfused && next.is_nan() {
                largest[place] = next;
            }
            history[here] = if row > 0 { next } else { 0.0 };
        }
    }
    if rule.most_recent != 0 { newest } else { largest }
}
