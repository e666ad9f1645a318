//! [`Diagnosis`]: why a request failed and what to do, from what is known about it.
//!
//! [`Facts`] come in, whatever their source; `cause` decides, `evidence` shows the numbers,
//! `levers` ranks what would help. Nothing here measures anything: the same facts give the same
//! diagnosis.
//!
//! ```
//! use freeboard_snapshot::{Diagnosis, Facts, Verdict};
//! use freeboard_units::Bytes;
//!
//! let mut facts = Facts::default();
//! facts.requested = Some(Bytes::mib(784));
//! facts.free = Some(Bytes::mib(300));
//! facts.reserved = Some(Bytes::gib(22));
//! facts.allocated = Some(Bytes::gib(19));
//! let diagnosis = Diagnosis::of(&facts);
//! assert_eq!(diagnosis.verdict, Verdict::Fragmentation);
//! assert_eq!(diagnosis.levers[0].gain_bytes, Some(Bytes::gib(3)));
//! ```

mod advice;
mod cause;
mod evidence;
mod levers;
mod text;
mod words;

use freeboard_units::{Bytes, DeviceId};
use serde::{Deserialize, Serialize};

use crate::facts::{Facts, Growth, Holder, Phase};
use crate::message::Message;

pub use cause::Cause;

/// Why a request failed, what shows it, and what to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The answer in one word.
    pub verdict: Verdict,
    /// The answer, finer: what the verdict rests on.
    pub cause: Cause,
    /// What else contributed, weightiest first.
    pub also: Vec<Cause>,
    /// The answer in a sentence or two.
    pub summary: String,
    /// The device.
    pub device: Option<DeviceId>,
    /// When in the run it happened.
    pub phase: Option<Phase>,
    /// The numbers that show it.
    pub evidence: Vec<Evidence>,
    /// What would help, best first.
    pub levers: Vec<Lever>,
    /// What came of replaying the run up to the failed request, on the memory there was.
    pub replays: Vec<Trial>,
    /// How to see that a lever worked.
    pub verify: Vec<String>,
    /// How to keep it from happening again.
    pub prevent: Vec<String>,
    /// Who held most, largest first.
    pub holders: Vec<Holder>,
    /// How memory grew over steps, where that could be measured.
    pub growth: Option<Growth>,
}

/// The answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The program needs more memory than there is.
    Exhaustion,
    /// Enough is free, but in pieces, or lost to rounding.
    Fragmentation,
    /// A limit that was set is what stops it.
    Limit,
    /// Other processes hold what is missing.
    OtherProcess,
    /// Enough is free, but other streams or private pools own it.
    Stranded,
    /// Enough was given back, but other streams still use it.
    PendingFree,
    /// The program keeps more from step to step.
    Leak,
    /// The failure has nothing to do with device memory.
    NotMemory,
    /// What is known does not tell.
    Unknown,
}

impl Verdict {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exhaustion => "exhaustion",
            Self::Fragmentation => "fragmentation",
            Self::Limit => "limit",
            Self::OtherProcess => "other_process",
            Self::Stranded => "stranded",
            Self::PendingFree => "pending_free",
            Self::Leak => "leak",
            Self::NotMemory => "not_memory",
            Self::Unknown => "unknown",
        }
    }
}

/// A number that shows something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What it is, in a few words.
    pub what: String,
    /// How much, where it is an amount of memory.
    pub bytes: Option<Bytes>,
    /// What it means here.
    pub text: String,
}

/// One policy that the failed run was replayed under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The setting, or what it is.
    pub policy: String,
    /// Bytes to spare up to the failed request; `None` where the run fails there too.
    pub spare: Option<Bytes>,
}

/// Something that would help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lever {
    /// What to do.
    pub action: String,
    /// The setting to write, where it is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub setting: Option<String>,
    /// Bytes it would gain, where that can be told.
    pub gain_bytes: Option<Bytes>,
    /// Whether a replay of this very run showed that it helps.
    pub verified: bool,
    /// What kind of lever it is.
    pub kind: LeverKind,
}

/// The levers that a replay can try, and all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeverKind {
    /// A setting of the allocator.
    Setting,
    /// A smaller batch.
    Batch,
    /// Another allocator.
    Freeboard,
    /// More memory for this process: a higher limit, a larger device.
    Capacity,
    /// What only the program, or whoever runs it, can do.
    #[default]
    Program,
}

impl Diagnosis {
    /// The diagnosis of one message of a log.
    #[must_use]
    pub fn of_message(message: &Message) -> Self {
        let mut diagnosis = Self::of(&Facts::of_message(message));
        if message.facts.requested.is_none() {
            // What the words mean says more than numbers that are not there.
            diagnosis.summary = format!("{} {}", diagnosis.summary, message.kind.advice());
        }
        diagnosis.evidence.extend(message.place.as_ref().map(|place| {
            let code = place.code.as_deref().unwrap_or(&place.function);
            let text = format!("{}:{}: {code}", place.file, place.line);
            Evidence { what: "raised at".to_owned(), bytes: None, text }
        }));
        let line = format!("line {} ({})", message.line, message.wording);
        diagnosis.evidence.push(Evidence { what: "read from".to_owned(), bytes: None, text: line });
        diagnosis
    }

    /// The diagnosis of these facts.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        let causes = cause::causes(facts);
        let (&cause, also) = causes.split_first().unwrap_or((&Cause::Unknown, &[]));
        Self {
            verdict: cause.verdict(),
            cause,
            also: also.to_vec(),
            summary: evidence::summary(facts, cause),
            device: facts.device,
            phase: facts.phase,
            evidence: evidence::evidence(facts),
            levers: levers::levers(facts, &causes),
            replays: Vec::new(),
            verify: advice::verify(facts, cause),
            prevent: advice::prevent(facts, cause),
            holders: facts.holders.iter().take(3).cloned().collect(),
            growth: facts.growth.clone(),
        }
    }
}
