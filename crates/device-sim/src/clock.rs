//! [`Clock`]: ticks, and the events that become done as they pass.

use freeboard_units::{EventId, StreamId};
use rustc_hash::FxHashMap;

use crate::call::Refusal;

/// The device's time, and the marks on it. All streams share it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    now: u64,
    /// Ticks between an event's recording and its being done.
    lag: u64,
    /// The tick at which each living event is done; zero for one that was never recorded.
    events: FxHashMap<EventId, u64>,
    /// Ids are not used again, so that a destroyed event stays unknown.
    events_made: u64,
    streams_made: u64,
}

/// The number before that of the first stream made here; programs name smaller ones themselves.
const NAMED_STREAMS: u64 = 1 << 32;

impl Clock {
    pub(crate) fn with_lag(lag: u64) -> Self {
        Self { lag, ..Self::default() }
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    pub(crate) fn advance(&mut self, ticks: u64) {
        self.now = self.now.saturating_add(ticks);
    }

    /// For events recorded from now on; those recorded before keep their tick.
    pub(crate) fn set_lag(&mut self, lag: u64) {
        self.lag = lag;
    }

    /// Waits until all work put on the device so far is done.
    pub(crate) fn drain(&mut self) {
        self.advance(self.lag);
    }

    pub(crate) fn events_alive(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn create_stream(&mut self) -> StreamId {
        self.streams_made += 1;
        StreamId::new(NAMED_STREAMS + self.streams_made)
    }

    pub(crate) fn create_event(&mut self) -> EventId {
        self.events_made += 1;
        let event = EventId::new(self.events_made);
        self.events.insert(event, 0);
        event
    }

    pub(crate) fn destroy_event(&mut self, event: EventId) -> Result<(), Refusal> {
        self.events.remove(&event).map(drop).ok_or_else(|| unknown(event))
    }

    pub(crate) fn record(&mut self, event: EventId) -> Result<(), Refusal> {
        let ready = self.events.get_mut(&event).ok_or_else(|| unknown(event))?;
        *ready = self.now.saturating_add(self.lag);
        Ok(())
    }

    pub(crate) fn is_done(&self, event: EventId) -> Result<bool, Refusal> {
        Ok(self.ready(event)? <= self.now)
    }

    pub(crate) fn wait(&mut self, event: EventId) -> Result<(), Refusal> {
        self.now = self.now.max(self.ready(event)?);
        Ok(())
    }

    fn ready(&self, event: EventId) -> Result<u64, Refusal> {
        self.events.get(&event).copied().ok_or_else(|| unknown(event))
    }
}

fn unknown(event: EventId) -> Refusal {
    Refusal::Invalid(format!("{event} does not exist, or no longer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_done_when_the_lag_has_passed_since_its_recording() {
        let mut clock = Clock::with_lag(3);
        let event = clock.create_event();
        assert_eq!(clock.is_done(event), Ok(true), "never recorded");
        clock.advance(10);
        clock.record(event).unwrap();
        for now in 10..16 {
            assert_eq!((clock.now(), clock.is_done(event)), (now, Ok(now >= 13)));
            clock.advance(1);
        }
        clock.record(event).unwrap();
        assert_eq!(clock.is_done(event), Ok(false), "recorded again");
    }

    #[test]
    fn waiting_moves_the_clock_to_the_event_and_never_back() {
        let mut clock = Clock::with_lag(5);
        let (early, late) = (clock.create_event(), clock.create_event());
        clock.wait(early).unwrap();
        assert_eq!(clock.now(), 0, "never recorded");
        clock.record(early).unwrap();
        clock.advance(2);
        clock.record(late).unwrap();
        clock.wait(late).unwrap();
        assert_eq!(clock.now(), 7);
        clock.wait(early).unwrap();
        assert_eq!((clock.now(), clock.is_done(early)), (7, Ok(true)));
    }

    #[test]
    fn draining_passes_exactly_the_lag_whatever_is_pending() {
        let mut clock = Clock::with_lag(4);
        clock.drain();
        assert_eq!(clock.now(), 4);
        let event = clock.create_event();
        clock.record(event).unwrap();
        clock.set_lag(1);
        clock.drain();
        assert_eq!((clock.now(), clock.is_done(event)), (5, Ok(false)), "the old lag holds for it");
        clock.advance(u64::MAX);
        assert_eq!(clock.now(), u64::MAX);
    }

    #[test]
    fn events_that_do_not_exist_are_refused() {
        let mut clock = Clock::default();
        let event = clock.create_event();
        clock.destroy_event(event).unwrap();
        let reason = Refusal::Invalid("event 1 does not exist, or no longer".to_owned());
        assert_eq!(clock.destroy_event(event), Err(reason));
        let before = clock.clone();
        assert!(clock.record(event).is_err() && clock.wait(event).is_err());
        assert!(clock.is_done(event).is_err());
        assert_eq!(clock, before);
        assert_ne!(clock.create_event(), event);
    }
}
