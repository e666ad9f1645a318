//! Summaries: PyTorch's own text ([`pytorch()`]), and one screen that says where memory went
//! ([`ours`]).
//!
//! ```
//! use freeboard_snapshot::{Snapshot, summary};
//! use freeboard_units::DeviceId;
//!
//! let summary = summary::ours(&Snapshot::default(), DeviceId::new(0));
//! assert!(summary.to_string().lines().count() <= 40);
//! ```

use std::collections::BTreeMap;

use freeboard_units::{Bytes, DeviceId, StreamId};
use serde::{Deserialize, Serialize};

use crate::facts::{Growth, Holder};
use crate::growth;
use crate::history::Action;
use crate::holders::Grouping;
use crate::model::{BlockState, Segment, Snapshot};
use crate::names::PoolId;
use crate::timeline::{Moment, Timeline};

mod from_timeline;
mod pytorch;
mod text;
mod waste;

pub use pytorch::{Counter, PoolCounters, PytorchStats, pytorch};
pub use waste::Waste;

/// Where the memory of a device went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The device.
    pub device: DeviceId,
    /// Bytes the device has, where it was asked.
    pub total: Option<Bytes>,
    /// Bytes free on it, where it was asked.
    pub free: Option<Bytes>,
    /// The most bytes the allocator may hold, where that is limited.
    pub limit: Option<Bytes>,
    /// Bytes held from the device.
    pub reserved: Bytes,
    /// Bytes in blocks handed out.
    pub allocated: Bytes,
    /// Bytes asked for in blocks handed out, before rounding.
    pub requested: Bytes,
    /// Why the rest is not in use.
    pub waste: Waste,
    /// By pool, the largest first.
    pub pools: Vec<Part<PoolId>>,
    /// By stream, the largest first.
    pub streams: Vec<Part<StreamId>>,
    /// Who holds memory, the largest first.
    pub holders: Vec<Holder>,
    /// When most was in use, if there is a history.
    pub peak: Option<Peak>,
    /// The last request that ran out of memory.
    pub out_of_memory: Option<OutOfMemory>,
    /// Complete training steps seen.
    pub steps: usize,
    /// How memory in use grew, if it did in nearly every step.
    pub growth: Option<Growth>,
    /// Events of the history.
    pub events: usize,
}

/// The memory of one pool or of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part<T> {
    /// Which.
    pub of: T,
    /// Bytes held from the device.
    pub reserved: Bytes,
    /// Bytes in blocks handed out.
    pub allocated: Bytes,
    /// Bytes given back that other streams still use.
    pub pending: Bytes,
    /// Free bytes.
    pub free: Bytes,
    /// The largest request above 1 MiB that its cache can serve. Of a stream: from shared pools.
    pub largest: Bytes,
    /// The largest request up to 1 MiB that its cache can serve.
    pub largest_small: Bytes,
    /// Segments, or stretches of expandable ones.
    pub segments: u64,
}

/// The moment at which most was in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// The event it was after, counted from 0; `None` for before the first.
    pub event: Option<u32>,
    /// When, in microseconds since 1970.
    pub time_us: Option<i64>,
    /// How long before the last event, in microseconds.
    pub before_end_us: Option<i64>,
    /// Bytes in blocks handed out or pending; of blocks that are gone only what was asked for is
    /// known, rounded up to 512 bytes.
    pub active: Bytes,
    /// Those of them that were pending: given back, but still used by another stream.
    pub pending: Bytes,
    /// Bytes held from the device then.
    pub reserved: Bytes,
    /// Who held memory then, the largest first.
    pub holders: Vec<Holder>,
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfMemory {
    /// Its event, counted from 0.
    pub event: u32,
    /// Bytes asked for.
    pub requested: Bytes,
    /// Bytes free on the device.
    pub free: Bytes,
    /// Its stream.
    pub stream: StreamId,
    /// Bytes in blocks handed out or pending at that moment: a snapshot is often taken later, when
    /// the error has already freed some.
    pub active: Bytes,
}

/// Where the memory of a device went.
#[must_use]
pub fn ours(snapshot: &Snapshot, device: DeviceId) -> Summary {
    of_timeline(&Timeline::new(snapshot, device))
}

/// Where the memory of a device went, if its history is walked already.
#[must_use]
pub fn of_timeline(timeline: &Timeline<'_>) -> Summary {
    let (snapshot, device) = (timeline.snapshot(), timeline.device());
    let memory = snapshot.devices.iter().find(|memory| memory.device == device);
    let out_of_memory = last_out_of_memory(timeline);
    let streams = parts(snapshot, device, |segment| segment.stream, true);
    // What is free for another stream than this is of no use to it.
    let main = out_of_memory.as_ref().map(|failed| failed.stream);
    let main = main.or_else(|| {
        streams.iter().max_by_key(|part| (part.allocated, part.reserved)).map(|part| part.of)
    });
    let sum = |of: fn(&Segment) -> Bytes| {
        snapshot.segments_of(device).map(of).fold(Bytes::ZERO, Bytes::saturating_add)
    };
    let mut grouping = Grouping::new(snapshot);
    let end = timeline.end();
    Summary {
        device,
        total: memory.and_then(|memory| memory.total),
        free: memory.and_then(|memory| memory.free),
        limit: memory.and_then(|memory| memory.limit),
        reserved: sum(|segment| segment.size),
        allocated: sum(Segment::allocated),
        requested: sum(waste::requested),
        waste: Waste::of(snapshot.segments_of(device), main.unwrap_or_default()),
        pools: parts(snapshot, device, |segment| segment.pool, false),
        streams,
        holders: grouping.at(timeline, end.event),
        peak: (!timeline.events().is_empty()).then(|| peak(timeline, &mut grouping)),
        out_of_memory,
        steps: timeline.steps().iter().filter(|step| step.is_complete).count(),
        growth: growth::measure(timeline, None),
        events: timeline.events().len(),
    }
}

fn last_out_of_memory(timeline: &Timeline<'_>) -> Option<OutOfMemory> {
    let at = timeline.events().iter().rposition(|event| event.action == Action::Oom)?;
    let event = &timeline.events()[at];
    let moment = timeline.moments().nth(at)?;
    Some(OutOfMemory {
        event: moment.event?,
        requested: event.size,
        free: Bytes::new(event.address),
        stream: event.stream,
        active: moment.totals.active(),
    })
}

fn peak(timeline: &Timeline<'_>, grouping: &mut Grouping<'_>) -> Peak {
    let Moment { event, totals } = timeline.peak_active();
    let time_us = event.and_then(|event| timeline.time_us(event));
    let last = timeline.events().last().map(|event| event.time_us);
    Peak {
        event,
        time_us,
        before_end_us: last.zip(time_us).map(|(last, time)| last.saturating_sub(time)),
        active: totals.active(),
        pending: totals.pending,
        reserved: totals.reserved,
        holders: grouping.at(timeline, event),
    }
}

/// Segments grouped; `shared_only`: requests are served from shared pools only.
fn parts<T: Copy + Ord>(
    snapshot: &Snapshot,
    device: DeviceId,
    by: impl Fn(&Segment) -> T,
    shared_only: bool,
) -> Vec<Part<T>> {
    let mut parts: BTreeMap<T, Part<T>> = BTreeMap::new();
    for segment in snapshot.segments_of(device) {
        let of = by(segment);
        let part = parts.entry(of).or_insert_with(|| Part {
            of,
            reserved: Bytes::ZERO,
            allocated: Bytes::ZERO,
            pending: Bytes::ZERO,
            free: Bytes::ZERO,
            largest: Bytes::ZERO,
            largest_small: Bytes::ZERO,
            segments: 0,
        });
        part.segments += 1;
        part.reserved = part.reserved.saturating_add(segment.size);
        let serves = !(shared_only && segment.pool.is_private());
        for block in &segment.blocks {
            let bytes = match block.state {
                BlockState::Allocated => &mut part.allocated,
                BlockState::Pending => &mut part.pending,
                BlockState::Free => &mut part.free,
            };
            *bytes = bytes.saturating_add(block.size);
            if block.state == BlockState::Free && serves {
                let largest =
                    if segment.small { &mut part.largest_small } else { &mut part.largest };
                *largest = block.size.max(*largest);
            }
        }
    }
    let mut parts: Vec<Part<T>> = parts.into_values().collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.reserved));
    parts
}

#[cfg(test)]
mod tests;
