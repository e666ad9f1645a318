//! [`Segment`]: one layer of a program, as the runtime calls it.

use super::Fingerprint;
use crate::Random;

/// One layer: it maps a(i-1) to a(i), and the gradient of a(i) to that of a(i-1).
///
/// A forward pass takes `&self`, so that running it again sees what it saw before; a backward pass
/// takes `&mut self`, to add to the gradients of the layer's own parameters. What differs from call
/// to call comes from `random`, which is the same whenever the layer runs in one step.
///
/// Layers of several types make one chain as `Box<dyn Segment<Value = …, Saved = …, Error = …>>`.
pub trait Segment {
    /// An activation, and a gradient of one.
    type Value;
    /// All that the backward pass needs apart from the input, with the output in it.
    type Saved;
    /// What can go wrong.
    type Error;

    /// What the layer is called in errors.
    fn name(&self) -> &str;

    /// Makes a(i) of a(i-1) and keeps nothing else.
    ///
    /// # Errors
    /// The layer's own.
    fn forward(&self, input: &Self::Value, random: Random) -> Result<Self::Value, Self::Error>;

    /// Makes saved(i) of a(i-1), with a(i) in it.
    ///
    /// # Errors
    /// The layer's own.
    fn forward_saving(
        &self,
        input: &Self::Value,
        random: Random,
    ) -> Result<Self::Saved, Self::Error>;

    /// The same where nobody reads a(i) any more: only the backward pass is to come.
    ///
    /// A layer that need not compute its output for its backward pass leaves it out here. Default:
    /// [`forward_saving`](Self::forward_saving).
    ///
    /// # Errors
    /// The layer's own.
    fn forward_for_backward(
        &self,
        input: &Self::Value,
        random: Random,
    ) -> Result<Self::Saved, Self::Error> {
        self.forward_saving(input, random)
    }

    /// a(i), inside saved(i); `None` only where
    /// [`forward_for_backward`](Self::forward_for_backward) left it out.
    fn output<'saved>(&self, saved: &'saved Self::Saved) -> Option<&'saved Self::Value>;

    /// Makes the gradient of a(i-1) of that of a(i); adds to the gradients of the layer's
    /// parameters.
    ///
    /// # Errors
    /// The layer's own.
    fn backward(
        &mut self,
        input: &Self::Value,
        saved: &Self::Saved,
        gradient: &Self::Value,
        random: Random,
    ) -> Result<Self::Value, Self::Error>;

    /// The same where nobody needs `saved` and `gradient` afterwards: the layer may reuse their
    /// memory.
    ///
    /// Default: [`backward`](Self::backward), then both are dropped.
    ///
    /// # Errors
    /// The layer's own.
    fn backward_last(
        &mut self,
        input: &Self::Value,
        saved: Self::Saved,
        gradient: Self::Value,
        random: Random,
    ) -> Result<Self::Value, Self::Error> {
        self.backward(input, &saved, &gradient, random)
    }

    /// What a recomputed a(i), plain or inside saved(i), must have in common with the first one;
    /// with a hash of its values only if `values`, which may cost a copy from the device. Default:
    /// `None`, no check.
    fn fingerprint(&self, output: &Self::Value, values: bool) -> Option<Fingerprint> {
        let _ = (output, values);
        None
    }
}

impl<S: Segment + ?Sized> Segment for Box<S> {
    type Value = S::Value;
    type Saved = S::Saved;
    type Error = S::Error;

    fn name(&self) -> &str {
        (**self).name()
    }

    fn forward(&self, input: &S::Value, random: Random) -> Result<S::Value, S::Error> {
        (**self).forward(input, random)
    }

    fn forward_saving(&self, input: &S::Value, random: Random) -> Result<S::Saved, S::Error> {
        (**self).forward_saving(input, random)
    }

    fn forward_for_backward(&self, input: &S::Value, random: Random) -> Result<S::Saved, S::Error> {
        (**self).forward_for_backward(input, random)
    }

    fn output<'saved>(&self, saved: &'saved S::Saved) -> Option<&'saved S::Value> {
        (**self).output(saved)
    }

    fn backward(
        &mut self,
        input: &S::Value,
        saved: &S::Saved,
        gradient: &S::Value,
        random: Random,
    ) -> Result<S::Value, S::Error> {
        (**self).backward(input, saved, gradient, random)
    }

    fn backward_last(
        &mut self,
        input: &S::Value,
        saved: S::Saved,
        gradient: S::Value,
        random: Random,
    ) -> Result<S::Value, S::Error> {
        (**self).backward_last(input, saved, gradient, random)
    }

    fn fingerprint(&self, output: &S::Value, values: bool) -> Option<Fingerprint> {
        (**self).fingerprint(output, values)
    }
}
