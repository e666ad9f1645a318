//! [`Case`]: one failure to explain: the facts of a rank's device, and the run behind them.

use freeboard_replay::Recorded;
use freeboard_replay::verify::{VerifyOptions, verify};
use freeboard_snapshot::message::Message;
use freeboard_snapshot::{Action, Cause, Diagnosis, Facts, Holder, Phase, Snapshot, Timeline};
use freeboard_units::{Bytes, DeviceId};

use super::Arguments;
use crate::failure::Failure;

/// One failure to explain.
pub(super) struct Case {
    /// The file, and the device where there are several.
    pub(super) source: String,
    /// The rank, or what else tells it from the others.
    pub(super) name: String,
    pub(super) rank: Option<u32>,
    pub(super) facts: Facts,
    pub(super) diagnosis: Diagnosis,
    /// The run that failed, if it was recorded.
    recorded: Option<Recorded>,
    /// When it failed, if that is known.
    pub(super) failed_at_us: Option<i64>,
    /// The most bytes in use at one time.
    pub(super) peak_allocated: Option<Bytes>,
    pub(super) holders: Vec<Holder>,
}

impl Case {
    /// A device of a snapshot.
    pub(super) fn of_snapshot(
        source: &str,
        rank: Option<u32>,
        snapshot: &Snapshot,
        device: DeviceId,
    ) -> Self {
        let mut facts = Facts::of_snapshot(snapshot, device);
        let timeline = Timeline::new(snapshot, device);
        let recorded = Recorded::of(snapshot, device, source);
        facts.step_needs = recorded.as_ref().and_then(Recorded::step_needs);
        // While a model is loaded, nothing depends on a batch.
        let with_batch = recorded.as_ref().filter(|recorded| recorded.has_batch());
        let is_loading = facts.phase == Some(Phase::Load);
        facts.transient = with_batch.filter(|_| !is_loading).map(Recorded::transient);
        let mut failures = timeline.events().iter().filter(|event| event.action == Action::Oom);
        Self {
            source: source.to_owned(),
            name: rank.map_or_else(|| device.to_string(), |rank| format!("rank {rank}")),
            rank,
            diagnosis: Diagnosis::of(&facts),
            recorded,
            failed_at_us: failures.next_back().map(|event| event.time_us),
            peak_allocated: Some(timeline.peak_active().totals.active()),
            holders: facts.holders.clone(),
            facts,
        }
    }

    /// A message of a log.
    pub(super) fn of_message(source: &str, message: &Message) -> Self {
        let facts = Facts::of_message(message);
        let name = message
            .rank
            .map_or_else(|| format!("line {}", message.line), |rank| format!("rank {rank}"));
        Self {
            source: source.to_owned(),
            name,
            rank: message.rank,
            diagnosis: Diagnosis::of_message(message),
            recorded: None,
            failed_at_us: None,
            peak_allocated: facts.allocated,
            holders: Vec::new(),
            facts,
        }
    }

    /// What is known about a request, without its blocks.
    pub(super) fn of_facts(source: &str, facts: Facts) -> Self {
        Self {
            source: source.to_owned(),
            name: facts.device.unwrap_or_default().to_string(),
            rank: None,
            diagnosis: Diagnosis::of(&facts),
            recorded: None,
            failed_at_us: None,
            peak_allocated: facts.allocated,
            holders: facts.holders.clone(),
            facts,
        }
    }

    /// Learns what another source knows.
    pub(super) fn add(&mut self, others: &Facts) {
        self.facts = std::mem::take(&mut self.facts).or(others);
        self.diagnosis = Diagnosis::of(&self.facts);
    }

    /// Whether a request failed here, or is taken to have failed.
    pub(super) fn failed(&self) -> bool {
        self.facts.requested.is_some() || self.diagnosis.cause != Cause::Unknown
    }

    /// Explains it, and tries the advice on the run.
    pub(super) fn diagnose(
        &mut self,
        arguments: &Arguments,
        tried: impl FnMut(&str),
    ) -> Result<(), Failure> {
        let (Some(recorded), false) = (&self.recorded, arguments.no_replay) else { return Ok(()) };
        if recorded.failed.is_none() || self.facts.by_freeboard {
            return Ok(());
        }
        let Some(options) = VerifyOptions::of(&self.facts) else { return Ok(()) };
        verify(&mut self.diagnosis, recorded, &options.batch(arguments.batch), tried)
            .map_err(Failure::run(&self.source))
    }
}

/// Puts messages to the snapshots of the same rank; those that are left are cases of their own.
pub(super) fn join(cases: &mut Vec<Case>, messages: Vec<(String, Message)>, arguments: &Arguments) {
    let alone = cases.iter().filter(|case| case.failed()).count() == 1;
    for (source, message) in messages {
        let fits = |case: &&mut Case| {
            let same_rank = case.rank.is_some() && case.rank == message.rank;
            let same_device =
                message.facts.device.is_none_or(|device| Some(device) == case.facts.device);
            same_rank || (alone && case.failed() && same_device && message.kind.is_device())
        };
        match cases.iter_mut().find(fits) {
            Some(case) => {
                case.add(&Facts::of_message(&message));
                case.source = format!("{} and {source}", case.source);
            }
            None => cases.push(Case::of_message(&source, &message)),
        }
    }
    let Some(capacity) = arguments.capacity else { return };
    for case in cases.iter_mut().filter(|case| case.facts.total.is_none()) {
        case.facts.total = Some(capacity);
        case.diagnosis = Diagnosis::of(&case.facts);
    }
}
