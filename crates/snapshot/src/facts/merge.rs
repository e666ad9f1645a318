//! Facts from more than one source: a snapshot knows its blocks, a message knows the device.

use super::{Facts, Phase};
use crate::diagnosis::Cause;
use crate::message::{self, Kind, Message, Origin};

impl Facts {
    /// These facts, with what only `others` tell.
    ///
    /// Numbers of a message have two decimals; those of a snapshot are exact, and are kept.
    #[must_use]
    pub fn or(mut self, others: &Self) -> Self {
        if self.says_all && self.requested.is_none() && others.requested.is_some() {
            self = self.before(others);
        }
        macro_rules! fill {
            ($($field:ident),*) => {
                $(self.$field = self.$field.take().or_else(|| others.$field.clone());)*
            };
        }
        fill!(
            device, stream, requested, total, free, limit, fraction, process, reserved, allocated
        );
        fill!(
            asked,
            pending,
            late,
            free_own,
            largest_own,
            free_other_streams,
            private,
            free_private
        );
        fill!(expandable, settings, once_reserved, transient, step_needs, phase, growth, elsewhere);
        if self.others.is_empty() {
            self.others.clone_from(&others.others);
        }
        if self.holders.is_empty() {
            self.holders.clone_from(&others.holders);
        }
        self.refused_early |= others.refused_early;
        self
    }

    /// Facts of a later moment, brought back to that of a failure: what was in use and free then is
    /// the message's to tell.
    fn before(mut self, failure: &Self) -> Self {
        self.reserved = failure.reserved.or(self.reserved);
        self.allocated = failure.allocated.or(self.allocated);
        self.free = failure.free.or(self.free);
        if failure.reserved.is_some() && failure.allocated.is_some() {
            (self.asked, self.free_own, self.largest_own) = (None, None, None);
            self.pending = failure.pending;
        }
        self
    }

    /// What a message tells.
    #[must_use]
    pub fn of_message(message: &Message) -> Self {
        let mut facts = message.facts.clone();
        facts.refused_early |= message.kind == Kind::RefusedEarly;
        facts.by_freeboard = matches!(
            message.origin,
            Origin::Freeboard | Origin::Cudarc | Origin::Candle | Origin::Burn
        );
        facts.elsewhere = match message.kind {
            Kind::Host { .. } | Kind::SharedMemory => Some(Cause::HostMemory),
            Kind::NotMemory { .. } => Some(Cause::NotMemory),
            Kind::Device | Kind::RefusedEarly | Kind::Driver => None,
        };
        facts.phase = match (message.step, message.phase) {
            (_, Some(message::Phase::Load)) => Some(Phase::Load),
            (Some(steps), _) if steps > 0 => Some(Phase::MidRun { steps }),
            (Some(_), Some(_)) => Some(Phase::FirstStep),
            _ => None,
        };
        facts
    }
}
