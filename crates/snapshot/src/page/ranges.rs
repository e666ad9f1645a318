//! [`Ranges`]: memory held from the device, piece by piece, from when to when.

use std::collections::BTreeMap;

use freeboard_units::StreamId;

use super::clock::Moment;
use crate::facts::SMALL_SEGMENT;
use crate::{Action, Event, PoolId, Segment, StackId};

/// Addresses that were held at a stretch: a segment, or pages mapped by one call and unmapped by
/// one. Moment 0 is before the history, `None` is not within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) birth: Moment,
    pub(super) death: Option<Moment>,
    pub(super) stream: StreamId,
    pub(super) pool: PoolId,
    pub(super) small: bool,
    pub(super) expandable: bool,
    pub(super) stack: StackId,
}

/// The pieces of one device, found in one pass; pieces that were there before the history are
/// those that are given back, or still there in the end, without having been taken.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    gone: Vec<Piece>,
    /// What is held now, by where it begins; no two overlap.
    held: BTreeMap<u64, Piece>,
}

impl Ranges {
    /// Takes in the next event, if it is about segments.
    pub(super) fn see(&mut self, event: &Event, pool: PoolId, now: Moment) {
        let expandable = matches!(event.action, Action::SegmentMap | Action::SegmentUnmap);
        let taken = matches!(event.action, Action::SegmentAlloc | Action::SegmentMap);
        let given = matches!(event.action, Action::SegmentFree | Action::SegmentUnmap);
        let piece = Piece {
            start: event.address,
            end: event.address.saturating_add(event.size.get()),
            birth: now,
            death: None,
            stream: event.stream,
            pool,
            small: event.size <= SMALL_SEGMENT,
            expandable,
            stack: event.stack,
        };
        if piece.start == piece.end {
            return;
        }
        if taken {
            self.cut(piece.start, piece.end, now);
            self.held.insert(piece.start, piece);
        } else if given {
            let before = Piece { birth: 0, death: Some(now), ..piece };
            let missing: Vec<Piece> = self.missing(&before).collect();
            self.cut(before.start, before.end, now);
            self.gone.extend(missing);
        }
    }

    /// The parts of a piece that are not held.
    fn missing<'a>(&'a self, piece: &'a Piece) -> impl Iterator<Item = Piece> + 'a {
        let first = self.held.range(..piece.start).next_back().map(|(_, held)| held);
        let rest = self.held.range(piece.start..piece.end).map(|(_, held)| held);
        let ends = first.into_iter().chain(rest).map(|held| (held.start, held.end));
        let mut from = piece.start;
        ends.chain([(piece.end, piece.end)]).filter_map(move |(start, end)| {
            let gap = (from, start);
            from = from.max(end);
            (gap.0 < gap.1).then(|| Piece { start: gap.0, end: gap.1, ..piece.clone() })
        })
    }

    /// Ends what is held between two addresses; what sticks out on either side stays.
    fn cut(&mut self, start: u64, end: u64, now: Moment) {
        let first = self.held.range(..start).next_back().filter(|(_, held)| held.end > start);
        let touched: Vec<u64> = first
            .into_iter()
            .chain(self.held.range(start..end))
            .map(|(&address, _)| address)
            .collect();
        for address in touched {
            let Some(old) = self.held.remove(&address) else { continue };
            if old.start < start {
                self.held.insert(old.start, Piece { end: start, ..old.clone() });
            }
            if old.end > end {
                self.held.insert(end, Piece { start: end, ..old.clone() });
            }
            let (start, end) = (old.start.max(start), old.end.min(end));
            self.gone.push(Piece { start, end, death: Some(now), ..old });
        }
    }

    /// Takes in what there was in the end, and gives the pieces in order of birth.
    pub(super) fn finish(mut self, segments: &[&Segment], now: Moment) -> Vec<Piece> {
        let mut last: Vec<Piece> = Vec::new();
        for segment in segments {
            let (start, size) = (segment.address.get(), segment.size.get());
            let whole = Piece {
                start,
                end: start.saturating_add(size),
                birth: 0,
                death: None,
                stream: segment.stream,
                pool: segment.pool,
                small: segment.small,
                expandable: segment.expandable,
                stack: segment.stack,
            };
            last.extend(self.missing(&whole));
            // What is known of the segment holds for its pieces.
            for (_, held) in self.held.range_mut(whole.start..whole.end) {
                (held.small, held.expandable) = (whole.small, whole.expandable);
            }
        }
        if !segments.is_empty() {
            self.end_lost(segments, now);
        }
        let mut all = self.gone;
        all.extend(self.held.into_values());
        all.extend(last);
        all.sort_by_key(|piece| (piece.birth, piece.start));
        all
    }

    /// Ends what the snapshot does not have.
    fn end_lost(&mut self, segments: &[&Segment], now: Moment) {
        let mut kept: Vec<(u64, u64)> = segments
            .iter()
            .map(|segment| (segment.address.get(), segment.size.get()))
            .map(|(start, size)| (start, start.saturating_add(size)))
            .collect();
        kept.sort_unstable();
        let mut from = 0;
        for (start, end) in kept.into_iter().chain([(u64::MAX, u64::MAX)]) {
            if from < start {
                self.cut(from, start, now);
            }
            from = from.max(end);
        }
    }
}
