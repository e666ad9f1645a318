//! What a step stores: every a(i), saved(i) and gradient, and where it is.

use std::mem;

use super::{Fingerprint, Offload, Segment};
use crate::{Operation, Stored};

/// Something that moves what `S` stores: its values and what it saves. Never implemented by hand.
pub trait Moves<S: Segment>: Offload<S::Value, S::Error> + Offload<S::Saved, S::Error> {}

impl<S: Segment, O: Offload<S::Value, S::Error> + Offload<S::Saved, S::Error>> Moves<S> for O {}

/// Where a stored value is.
pub(super) enum Slot<T, E, O: Offload<T, E>> {
    Empty,
    Here(T),
    Leaving(T, O::Leaving),
    Away(O::Away),
    Arriving(O::Arriving),
}

impl<T, E, O: Offload<T, E>> Slot<T, E, O> {
    /// The value, where the device can read it.
    pub(super) const fn get(&self) -> Option<&T> {
        match self {
            Self::Here(value) | Self::Leaving(value, _) => Some(value),
            Self::Empty | Self::Away(_) | Self::Arriving(_) => None,
        }
    }

    /// Takes what lies on the device, and ends a copy to the host under way.
    pub(super) fn take(&mut self) -> Option<T> {
        match mem::replace(self, Self::Empty) {
            Self::Here(value) | Self::Leaving(value, _) => Some(value),
            slot => {
                *self = slot;
                None
            }
        }
    }

    /// Moves the value; `false` if it is not where it should be. After an error it is lost.
    fn transfer(&mut self, operation: Operation, offload: &mut O) -> Result<bool, E> {
        *self = match (operation, mem::replace(self, Self::Empty)) {
            (Operation::Offload { .. }, Self::Here(value)) => {
                let leaving = offload.begin_out(&value)?;
                Self::Leaving(value, leaving)
            }
            (Operation::Release { .. }, Self::Leaving(value, leaving)) => {
                Self::Away(offload.finish_out(value, leaving)?)
            }
            (Operation::Fetch { .. }, Self::Away(away)) => {
                Self::Arriving(offload.begin_back(away)?)
            }
            (Operation::Await { .. }, Self::Arriving(arriving)) => {
                Self::Here(offload.finish_back(arriving)?)
            }
            (_, slot) => {
                *self = slot;
                return Ok(false);
            }
        };
        Ok(true)
    }
}

/// All that one step stores. Vectors are as long as the chain and are used again by the next step.
pub(super) struct State<S: Segment, O: Moves<S>> {
    /// The plain a(i), at i.
    pub(super) plain: Vec<Slot<S::Value, S::Error, O>>,
    /// saved(i), at i; nothing at 0.
    pub(super) saved: Vec<Slot<S::Saved, S::Error, O>>,
    /// The gradients of a(`at`): one, or several that go backward together.
    pub(super) gradients: Vec<S::Value>,
    pub(super) at: usize,
    /// How often layer i has run forward, at i.
    pub(super) runs: Vec<u32>,
    /// Of the a(i) that the first runs made, at i. Empty while no segment says anything.
    prints: Vec<Option<Fingerprint>>,
}

impl<S: Segment, O: Moves<S>> State<S, O> {
    pub(super) fn new(layers: usize) -> Self {
        Self {
            plain: (0..=layers).map(|_| Slot::Empty).collect(),
            saved: (0..=layers).map(|_| Slot::Empty).collect(),
            gradients: Vec::with_capacity(1),
            at: layers,
            runs: vec![0; layers + 1],
            prints: Vec::new(),
        }
    }

    /// For a pass that builds on `base`: it knows what ran there, and stores nothing yet.
    pub(super) fn after(base: &Self) -> Self {
        let (runs, prints) = (base.runs.clone(), base.prints.clone());
        Self { runs, prints, ..Self::new(base.runs.len() - 1) }
    }

    /// Drops all values, and keeps the vectors.
    pub(super) fn clear(&mut self) {
        self.plain.fill_with(|| Slot::Empty);
        self.saved.fill_with(|| Slot::Empty);
        self.gradients.clear();
        self.at = self.runs.len() - 1;
        self.runs.fill(0);
        self.prints.clear();
    }

    /// Ready for a backward pass from a(n).
    pub(super) fn rewind(&mut self) {
        self.gradients.clear();
        self.at = self.runs.len() - 1;
    }

    /// a(`index`), plain or inside saved(`index`).
    pub(super) fn activation<'a>(&'a self, segments: &[S], index: usize) -> Option<&'a S::Value> {
        self.plain[index].get().or_else(|| {
            let segment = segments.get(index.checked_sub(1)?)?;
            segment.output(self.saved[index].get()?)
        })
    }

    /// Moves what is stored; `false` if it is not where it should be.
    pub(super) fn transfer(
        &mut self,
        operation: Operation,
        offload: &mut O,
    ) -> Result<bool, S::Error> {
        let layer = operation.layer();
        match stored(operation) {
            Stored::Input => self.plain[layer - 1].transfer(operation, offload),
            Stored::Saved => self.saved[layer].transfer(operation, offload),
        }
    }

    /// Compares what a run of `layer` made with what its first run made; the two where they differ.
    pub(super) fn compare(
        &mut self,
        layer: usize,
        made: Fingerprint,
    ) -> Result<(), Box<[Fingerprint; 2]>> {
        self.prints.resize(self.runs.len(), None);
        let first = *self.prints[layer].get_or_insert(made);
        if first == made { Ok(()) } else { Err(Box::new([first, made])) }
    }
}

/// What a transfer operation moves.
pub(super) const fn stored(operation: Operation) -> Stored {
    match operation {
        Operation::Offload { what, .. }
        | Operation::Release { what, .. }
        | Operation::Fetch { what, .. }
        | Operation::Await { what, .. } => what,
        _ => Stored::Input,
    }
}
