//! [`Fp8Meta`]: scales of the tensors of one direction, and the magnitudes that they follow from.

use std::fmt;

use freeboard_units::Dtype;

use super::recipe::{advance, update};
use super::{
    Direction, Fp8, Fp8Error, Fp8Recipe, Overflow, UpdateRule, Wide, dequantize, quantize,
};

/// The most tensors that scales are kept for together.
pub(crate) const MOST_TENSORS: usize = 1 << 20;

/// Scales of the tensors of one direction, and the magnitudes that they follow from, on the host.
///
/// ```
/// use freeboard_grad_scaler::fp8::{Direction, Fp8E4M3, Fp8Meta, Fp8Recipe};
///
/// let mut meta = Fp8Meta::new(Fp8Recipe::default(), Direction::Forward, 2)?;
/// let (input, mut narrow) = ([0.5_f32, -3.5, 2.0], [Fp8E4M3::default(); 3]);
/// meta.quantize(1, &input, &mut narrow)?; // by a scale of 1; 3.5 is noted
/// meta.update();
/// assert_eq!(meta.scales(), [1.0, 448.0 / 3.5]); // for the next step
/// # Ok::<(), freeboard_grad_scaler::fp8::Fp8Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Fp8Meta {
    pub(crate) recipe: Fp8Recipe,
    pub(crate) direction: Direction,
    pub(crate) scale: Vec<f32>,
    pub(crate) scale_inv: Vec<f32>,
    /// Row after row, a column for each tensor.
    pub(crate) history: Vec<f32>,
}

impl Fp8Meta {
    /// Scales of 1 for this many tensors, and histories of zeros.
    ///
    /// # Errors
    /// When the recipe makes no sense, or there are no tensors or more than 2^20.
    pub fn new(recipe: Fp8Recipe, direction: Direction, tensors: usize) -> Result<Self, Fp8Error> {
        recipe.check()?;
        if tensors == 0 || tensors > MOST_TENSORS {
            return Err(Fp8Error::Tensors { tensors, most: MOST_TENSORS });
        }
        Ok(Self {
            recipe,
            direction,
            scale: vec![1.0; tensors],
            scale_inv: vec![1.0; tensors],
            history: vec![0.0; tensors * recipe.amax_history_len],
        })
    }

    /// What scales follow by.
    #[must_use]
    pub const fn recipe(&self) -> &Fp8Recipe {
        &self.recipe
    }

    /// Which tensors they are for.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// The type that tensors are cast to.
    #[must_use]
    pub const fn dtype(&self) -> Dtype {
        self.recipe.dtype(self.direction)
    }

    /// What each tensor is multiplied by before its cast.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scale
    }

    /// One over the scales: what each tensor is multiplied by after the cast back.
    #[must_use]
    pub fn scale_invs(&self) -> &[f32] {
        &self.scale_inv
    }

    /// The rows of the history, each with an amax for every tensor: first the one that is being
    /// gathered, then the oldest to the newest.
    #[must_use]
    pub fn amax_history(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.history.chunks_exact(self.scale.len())
    }

    /// Casts a tensor by its scale, saturating, and notes its largest magnitude.
    ///
    /// # Errors
    /// When there is no such tensor, it is of the other FP8 type, or the lengths differ.
    pub fn quantize<T: Wide, F: Fp8>(
        &mut self,
        index: usize,
        input: &[T],
        output: &mut [F],
    ) -> Result<(), Fp8Error> {
        self.check::<F>(index)?;
        let amax = quantize(input, self.scale[index], Overflow::Saturate, output)?;
        self.record_amax(index, amax)
    }

    /// Casts a tensor back.
    ///
    /// The scale must be the one of the cast: nothing was updated in between. Elsewhere, keep the
    /// [scale](Self::scale_invs) with the tensor and use [`dequantize`].
    ///
    /// # Errors
    /// As [`quantize`](Self::quantize).
    pub fn dequantize<F: Fp8, T: Wide>(
        &self,
        index: usize,
        input: &[F],
        output: &mut [T],
    ) -> Result<(), Fp8Error> {
        self.check::<F>(index)?;
        dequantize(input, self.scale_inv[index], output)
    }

    /// Notes a magnitude of a tensor that something else has cast; the largest until the next update
    /// is kept.
    ///
    /// # Errors
    /// When there is no such tensor, or the magnitude is negative or NaN.
    pub fn record_amax(&mut self, index: usize, amax: f32) -> Result<(), Fp8Error> {
        check_index(index, self.scale.len())?;
        if amax.is_nan() || amax < 0.0 {
            return Err(Fp8Error::Amax { amax });
        }
        self.history[index] = self.history[index].max(amax);
        Ok(())
    }

    /// Moves the histories on and sets the scales for what comes next: once for each step.
    pub fn update(&mut self) {
        let rule = self.recipe.rule(self.direction);
        update(rule, &mut self.history, &mut self.scale, &mut self.scale_inv);
    }

    /// [`update`](Self::update), after the newest magnitudes were made the largest of a group of
    /// processes: `reduce` gets them, in the order of the tensors, and leaves the group's.
    ///
    /// # Errors
    /// When `reduce` fails, in its words.
    pub fn update_reduced<E: fmt::Display>(
        &mut self,
        reduce: impl FnOnce(&mut [f32]) -> Result<(), E>,
    ) -> Result<(), Fp8Error> {
        let mut newest = self.history[..self.scale.len()].to_vec();
        reduce(&mut newest).map_err(|error| Fp8Error::Reduction(error.to_string()))?;
        self.history[..newest.len()].copy_from_slice(&newest);
        self.update();
        Ok(())
    }

    /// An update with another rule for scales: `scale` gets the amax that counts, the old scale and
    /// the largest number of the FP8 type. Histories move on as by [`UpdateRule::Unfused`], as with
    /// Transformer Engine's `scaling_factor_compute_algo`.
    pub fn update_with(&mut self, mut scale: impl FnMut(f32, f32, f32) -> f32) {
        let max = self.recipe.fp8_max(self.direction);
        let recipe = Fp8Recipe { update: UpdateRule::Unfused, ..self.recipe };
        let (scales, inverses) = (&mut self.scale, &mut self.scale_inv);
        advance(recipe.rule(self.direction), &mut self.history, scales.len(), |tensor, amax| {
            scales[tensor] = scale(amax, scales[tensor], max);
            inverses[tensor] = 1.0 / scales[tensor];
        });
    }

    fn check<F: Fp8>(&self, index: usize) -> Result<(), Fp8Error> {
        check_index(index, self.scale.len())?;
        check_type::<F>(self.dtype())
    }
}

pub(crate) const fn check_index(index: usize, tensors: usize) -> Result<(), Fp8Error> {
    if index < tensors { Ok(()) } else { Err(Fp8Error::Index { index, tensors }) }
}

pub(crate) fn check_type<F: Fp8>(expected: Dtype) -> Result<(), Fp8Error> {
    let dtype = F::DTYPE;
    if dtype == expected { Ok(()) } else { Err(Fp8Error::OtherType { dtype, expected }) }
}
