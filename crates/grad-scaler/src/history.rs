//! [`ScaleChange`] and [`ScalerStats`]: what the scale did, and how often.

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::kernels::list::State;
use crate::rule::Change;

/// A change of the scale, or one that did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScaleChange {
    /// How many updates there were before.
    pub update: u64,
    /// The scale before.
    pub from: f32,
    /// The scale after.
    pub to: f32,
    /// What the rule did; None if the scale was set, or if several updates were left to the device
    /// and only what came of them is known.
    pub change: Option<Change>,
}

/// What a scaler has done.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalerStats {
    /// The scale.
    pub scale: f32,
    /// Updates without a skip since the scale last moved.
    pub growth_tracker: i32,
    /// Skips that are still tolerated, counting the one that is not.
    pub hysteresis: i32,
    /// Updates by the rule.
    pub updates: u64,
    /// Those where some gradient was not finite.
    pub skipped: u64,
    /// Those where the scale grew by the growth factor.
    pub grew: u64,
    /// Those where it was lowered.
    pub backed_off: u64,
    /// Those where it would have been lowered, but for the floor.
    pub at_floor: u64,
}

impl From<State> for ScalerStats {
    fn from(state: State) -> Self {
        let State { scale, growth_tracker, hysteresis, updates, skipped, .. } = state;
        let State { grew, backed_off, at_floor, .. } = state;
        Self { scale, growth_tracker, hysteresis, updates, skipped, grew, backed_off, at_floor }
    }
}

impl fmt::Display for ScalerStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scale, updates, skipped, grew, backed_off, at_floor, .. } = self;
        write!(
            f,
            "scale {scale} after {updates} updates: {skipped} skipped, {grew} times grown, \
             {backed_off} times lowered, {at_floor} times held at the floor"
        )
    }
}

type Observer = Box<dyn FnMut(&ScaleChange) + Send>;

/// The latest changes, and who wants to know.
pub(crate) struct History {
    changes: VecDeque<ScaleChange>,
    most: usize,
    /// The scale of the last entry, or the first scale.
    last: Option<f32>,
    observers: Vec<Observer>,
}

impl History {
    pub(crate) fn new(most: usize) -> Self {
        Self { changes: VecDeque::new(), most, last: None, observers: Vec::new() }
    }

    pub(crate) fn observe(&mut self, observer: Observer) {
        self.observers.push(observer);
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &ScaleChange> {
        self.changes.iter()
    }

    /// An update by the rule that the host knows of.
    pub(crate) fn add(&mut self, before: &State, after: &State, change: Change) {
        let (from, to) = (before.scale, after.scale);
        match change {
            Change::Unchanged => return,
            Change::Grew | Change::Capped => tracing::info!(from, to, "the loss scale grew"),
            Change::NotFinite => tracing::info!(scale = to, "the loss scale cannot grow further"),
            Change::BackedOff => tracing::info!(from, to, "a step was skipped: lower loss scale"),
            Change::Tolerated => tracing::info!(scale = to, "a step was skipped, and tolerated"),
            Change::AtFloor => {
                tracing::warn!(scale = to, "a step was skipped with the loss scale at its floor");
            }
        }
        self.push(ScaleChange { update: before.updates, from, to, change: Some(change) });
    }

    /// The scale was set.
    pub(crate) fn set(&mut self, before: &State, after: &State) {
        let (from, to) = (before.scale, after.scale);
        self.push(ScaleChange { update: before.updates, from, to, change: None });
    }

    /// The host has read what the device made of updates that were left to it.
    pub(crate) fn caught_up(&mut self, now: &State) {
        if let Some(from) = self.last.filter(|&last| last.to_bits() != now.scale.to_bits()) {
            let (update, to) = (now.updates, now.scale);
            self.push(ScaleChange { update, from, to, change: None });
        }
    }

    /// The scale from which the device goes on by itself.
    pub(crate) fn leave(&mut self, scale: f32) {
        self.last = Some(scale);
    }

    fn push(&mut self, change: ScaleChange) {
        self.last = Some(change.to);
        if self.most > 0 {
            if self.changes.len() == self.most {
                self.changes.pop_front();
            }
            self.changes.push_back(change);
        }
        for observer in &mut self.observers {
            observer(&change);
        }
    }
}
