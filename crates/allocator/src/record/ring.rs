//! [`Ring`]: the last so many events.

use std::borrow::Cow;
use std::collections::VecDeque;

use freeboard_snapshot::{Action, Event};

/// Room for this many events is reserved at once; beyond, it grows as it fills.
const RESERVED: usize = 1 << 20;

/// The last so many events; the oldest is overwritten by the newest.
#[derive(Debug)]
pub(super) struct Ring {
    events: Vec<Event>,
    /// The most there may be.
    most: usize,
    /// Once it is full: where the oldest is.
    oldest: usize,
    dropped: u64,
    /// The words of those events that have any, in the same order.
    texts: VecDeque<Cow<'static, str>>,
}

impl Ring {
    pub(super) fn new(most: usize) -> Self {
        let mut events = Vec::new();
        // Without this room there will be some in smaller pieces.
        let _ = events.try_reserve_exact(most.min(RESERVED));
        Self { events, most, oldest: 0, dropped: 0, texts: VecDeque::new() }
    }

    /// Whether an event has words of its own.
    pub(super) const fn has_text(event: &Event) -> bool {
        matches!(event.action, Action::Annotate | Action::Plan)
    }

    #[inline]
    pub(super) fn push(&mut self, event: Event) {
        if self.events.len() < self.most {
            return self.events.push(event);
        }
        self.dropped += 1;
        let Some(place) = self.events.get_mut(self.oldest) else { return };
        if Self::has_text(place) {
            self.texts.pop_front();
        }
        *place = event;
        self.oldest = if self.oldest + 1 == self.most { 0 } else { self.oldest + 1 };
    }

    /// Adds an event with words of its own.
    pub(super) fn push_with_text(&mut self, event: Event, text: Cow<'static, str>) {
        debug_assert!(Self::has_text(&event), "{event:?}");
        self.push(event);
        if self.most > 0 {
            self.texts.push_back(text);
        }
    }

    /// The events, oldest first, with how many there were before, and their words.
    pub(super) fn copy(&self) -> (Vec<Event>, u64, Vec<Cow<'static, str>>) {
        let (newer, older) = self.events.split_at(self.oldest);
        let events = [older, newer].concat();
        (events, self.dropped, self.texts.iter().cloned().collect())
    }

    pub(super) fn bytes(&self) -> usize {
        self.events.capacity() * size_of::<Event>()
    }
}

#[cfg(test)]
mod tests {
    use freeboard_units::{Address, AddressRange, Bytes};

    use super::*;

    fn event(number: u64, action: Action) -> Event {
        super::super::nowhere(action, AddressRange::new(Address::new(number), Bytes::ZERO))
    }

    #[test]
    fn the_newest_events_stay_in_order_with_their_words() {
        let mut ring = Ring::new(3);
        for number in 0..8 {
            if number % 2 == 0 {
                ring.push_with_text(event(number, Action::Annotate), number.to_string().into());
            } else {
                ring.push(event(number, Action::Alloc));
            }
        }
        let (events, dropped, texts) = ring.copy();
        assert_eq!(events.iter().map(|event| event.address).collect::<Vec<_>>(), [5, 6, 7]);
        assert_eq!((dropped, texts), (5, vec!["6".into()]));
    }

    #[test]
    fn a_ring_without_room_only_counts() {
        let mut ring = Ring::new(0);
        ring.push_with_text(event(1, Action::Plan), "made".into());
        assert_eq!(ring.copy(), (vec![], 1, vec![]));
    }
}
