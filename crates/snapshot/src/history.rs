//! [`History`]: what happened to memory, event by event.

use freeboard_units::{Bytes, StreamId};
use serde::{Deserialize, Serialize};

use crate::names::{NameId, PoolIndex, StackId};

/// What happened. The names are `PyTorch`'s, but for the last three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A block was handed out.
    Alloc,
    /// Its owner gave it back.
    FreeRequested,
    /// It became free: at once, or when other streams were done with it.
    FreeCompleted,
    /// A segment of fixed size was taken from the device.
    SegmentAlloc,
    /// It was given back.
    SegmentFree,
    /// Pages were mapped into an expandable segment.
    SegmentMap,
    /// Pages were unmapped.
    SegmentUnmap,
    /// A snapshot was taken.
    Snapshot,
    /// A request ran out of memory: `address` is what was free on the device.
    Oom,
    /// Something the program wanted noted: `tag` says what.
    Annotate,
    /// Free pages were joined into one range.
    Stitch,
    /// A plan was made, followed or left.
    Plan,
    /// An action with another name, which is kept.
    Other(NameId),
}

/// One event. Bytes beyond the numbers (tag, stack) are kept once, elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Where; for [`Action::Oom`] the bytes free on the device.
    pub address: u64,
    /// How much; for [`Action::Oom`] what was asked for.
    pub size: Bytes,
    /// The stream.
    pub stream: StreamId,
    /// When, in microseconds since 1970.
    pub time_us: i64,
    /// What happened.
    pub action: Action,
    /// The pool.
    pub pool: PoolIndex,
    /// The stack of the call.
    pub stack: StackId,
    /// The program's own words: `user_metadata` in `PyTorch`'s files, the scope in ours.
    pub tag: NameId,
    /// The compiled graph it happened in; `N/A` in `PyTorch`'s files means none and is empty here.
    pub context: NameId,
}

/// The events of one device, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The events.
    pub events: Vec<Event>,
    /// How many more there were before the first, if that is known.
    #[serde(default)]
    pub dropped: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_takes_less_than_64_bytes() {
        assert!(size_of::<Event>() < 64, "{}", size_of::<Event>());
    }
}
