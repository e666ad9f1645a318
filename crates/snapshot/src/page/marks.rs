//! [`Marks`]: what happened that is no block and no segment.

use std::collections::BTreeMap;

use serde::Serialize;

use super::clock::{Clock, Moment};
use super::strings::Strings;
use crate::{Action, Annotation, Event, NameId, Names};

/// Failures, notes and intervals, with the ticks they belong to.
#[derive(Debug, Default, Serialize)]
pub(super) struct Marks {
    ooms: Vec<Oom>,
    /// Tick and name.
    notes: Vec<(Moment, u32)>,
    /// First tick, last tick and name.
    spans: Vec<(Moment, Moment, u32)>,
}

/// A request that failed.
#[derive(Debug, Serialize)]
struct Oom {
    tick: Moment,
    asked: u64,
    /// Bytes free on the device.
    free: u64,
    stack: u32,
    stream: u64,
}

impl Marks {
    /// Takes in the event of this tick, if it is about neither a block nor a segment.
    pub(super) fn see(&mut self, event: &Event, tick: Moment, strings: &mut Strings<'_>) {
        let name = match event.action {
            Action::Oom => {
                self.ooms.push(Oom {
                    tick,
                    asked: event.size.get(),
                    free: event.address,
                    stack: strings.stack(event.stack),
                    stream: event.stream.get(),
                });
                return;
            }
            Action::Annotate | Action::Plan => event.tag,
            Action::Other(name) => name,
            _ => return,
        };
        self.notes.push((tick, strings.name(name)));
    }

    /// Takes in the ends of intervals; one without its other end reaches to the edge.
    pub(super) fn pair<'a>(
        &mut self,
        annotations: impl Iterator<Item = &'a Annotation>,
        names: &Names,
        clock: &Clock,
        strings: &mut Strings<'_>,
    ) {
        let last = clock.now().saturating_sub(1);
        let mut ends: Vec<&Annotation> = annotations.collect();
        ends.sort_by_key(|end| end.time_us);
        // In order of names, so that every page of a snapshot is the same.
        let mut open: BTreeMap<NameId, Vec<Moment>> = BTreeMap::new();
        for end in ends {
            let tick = clock.tick_at(end.time_us);
            let begun = open.entry(end.name).or_default();
            match names.get(end.stage) {
                "START" => begun.push(tick),
                "END" => {
                    let from = begun.pop().unwrap_or(0);
                    self.spans.push((from, tick, strings.name(end.name)));
                }
                _ => self.notes.push((tick, strings.name(end.name))),
            }
        }
        let unended =
            open.into_iter().flat_map(|(name, from)| from.into_iter().map(move |f| (f, name)));
        for (from, name) in unended {
            self.spans.push((from, last, strings.name(name)));
        }
        self.spans.sort_unstable();
        self.notes.sort_unstable();
    }
}
