//! Streams that do their work at once, events on them, and streams that are held back.

use std::collections::{BTreeSet, HashMap};

use crate::state::{Answer, CAPTURED_EVENT, INVALID_HANDLE, INVALID_VALUE, NOT_READY};

/// What is known of one stream.
#[derive(Default)]
pub(crate) struct Stream {
    pub(crate) id: u64,
    pub(crate) device: i32,
    pub(crate) capturing: bool,
    /// Captured in a mode that forbids unsafe calls to every thread.
    pub(crate) strict: bool,
    held: bool,
    /// Held streams that it was told to wait for.
    behind: BTreeSet<usize>,
}

#[derive(Default)]
pub(crate) struct Event {
    recorded: Option<u64>,
    on: usize,
    captured: bool,
    /// Held streams that must be let go before it is done.
    behind: BTreeSet<usize>,
}

/// Streams and events by their handles. The default streams are there from the start; the handle of a
/// destroyed stream is used again for the next one, its id never.
pub(crate) struct Streams {
    pub(crate) known: HashMap<usize, Stream>,
    pub(crate) events: HashMap<usize, Event>,
    unused: Vec<usize>,
    made: usize,
    next_id: u64,
    next_event: usize,
    now: u64,
}

impl Default for Streams {
    fn default() -> Self {
        let streams =
            (0..3_usize).map(|n| (n, Stream { id: n.max(1) as u64, ..Stream::default() }));
        Self {
            known: streams.collect(),
            events: HashMap::new(),
            unused: Vec::new(),
            made: 0,
            next_id: 10,
            next_event: 0x7000_0000,
            now: 0,
        }
    }
}

/// The handles 0 and 1 are one stream.
fn one(handle: usize) -> usize {
    if handle == 1 { 0 } else { handle }
}

impl Streams {
    pub(crate) fn create(&mut self, device: i32) -> usize {
        let handle = self.unused.pop().unwrap_or_else(|| {
            self.made += 1;
            0x5000_0000 + self.made * 0x40
        });
        self.next_id += 1;
        self.known.insert(handle, Stream { id: self.next_id, device, ..Stream::default() });
        handle
    }

    pub(crate) fn destroy(&mut self, handle: usize) -> Answer {
        if handle <= 2 || self.known.remove(&handle).is_none() {
            return Err(INVALID_HANDLE);
        }
        self.pass(handle, u64::MAX);
        self.unused.push(handle);
        Ok(())
    }

    pub(crate) fn get(&mut self, handle: usize) -> Answer<&mut Stream> {
        self.known.get_mut(&one(handle)).ok_or(INVALID_HANDLE)
    }

    /// Whether calls that a capture may not hold are forbidden now.
    pub(crate) fn strict(&self) -> bool {
        self.known.values().any(|stream| stream.capturing && stream.strict)
    }

    pub(crate) fn made(&self) -> usize {
        self.known.len() - 3
    }

    pub(crate) fn create_event(&mut self) -> usize {
        self.next_event += 0x40;
        self.events.insert(self.next_event, Event::default());
        self.next_event
    }

    pub(crate) fn destroy_event(&mut self, event: usize) -> Answer {
        self.events.remove(&event).map(drop).ok_or(INVALID_HANDLE)
    }

    pub(crate) fn event(&self, event: usize) -> Answer<&Event> {
        self.events.get(&event).ok_or(INVALID_HANDLE)
    }

    pub(crate) fn record(&mut self, event: usize, on: usize) -> Answer {
        self.event(event)?;
        let stream = self.get(on)?;
        let mut behind = stream.behind.clone();
        if stream.held {
            behind.insert(one(on));
        }
        let captured = stream.capturing;
        self.now += 1;
        let recorded = Some(self.now);
        self.events.insert(event, Event { recorded, on: one(on), captured, behind });
        Ok(())
    }

    pub(crate) fn query(&self, event: usize) -> Answer {
        let event = self.event(event)?;
        if event.captured {
            return Err(CAPTURED_EVENT);
        }
        if event.behind.is_empty() { Ok(()) } else { Err(NOT_READY) }
    }

    /// Waiting for an event lets the work before it pass; there is nothing else to wait for.
    pub(crate) fn wait(&mut self, event: usize) -> Answer {
        let found = self.event(event)?;
        if found.captured {
            return Err(CAPTURED_EVENT);
        }
        let (on, until) = (found.on, found.recorded.unwrap_or(0));
        for held in found.behind.clone() {
            self.pass(held, until);
        }
        self.pass(on, until);
        Ok(())
    }

    /// Everything recorded on a stream up to a moment is done.
    fn pass(&mut self, handle: usize, until: u64) {
        for event in self.events.values_mut().filter(|event| event.recorded <= Some(until)) {
            event.behind.remove(&handle);
        }
        if until == u64::MAX {
            for stream in self.known.values_mut() {
                stream.behind.remove(&handle);
            }
        }
    }

    pub(crate) fn synchronize(&mut self, handle: usize) -> Answer {
        let mut behind = self.get(handle)?.behind.clone();
        behind.insert(one(handle));
        for held in behind {
            self.pass(held, u64::MAX);
        }
        Ok(())
    }

    pub(crate) fn synchronize_all(&mut self) {
        for handle in self.known.keys().copied().collect::<Vec<_>>() {
            self.pass(handle, u64::MAX);
        }
    }

    pub(crate) fn wait_event(&mut self, handle: usize, event: usize) -> Answer {
        let behind = self.event(event)?.behind.clone();
        self.get(handle)?.behind.extend(behind);
        Ok(())
    }

    /// The time from one event to another, in milliseconds: a thousandth per recording between.
    pub(crate) fn elapsed(&self, from: usize, to: usize) -> Answer<f32> {
        let (from_mark, to_mark) = (self.event(from)?.recorded, self.event(to)?.recorded);
        self.query(from)?;
        self.query(to)?;
        let (Some(from), Some(to)) = (from_mark, to_mark) else { return Err(INVALID_HANDLE) };
        let ticks = u16::try_from(to.checked_sub(from).ok_or(INVALID_VALUE)?).unwrap_or(u16::MAX);
        Ok(f32::from(ticks) / 1000.0)
    }

    pub(crate) fn hold(&mut self, handle: usize, held: bool) -> Answer {
        self.get(handle)?.held = held;
        if !held {
            self.pass(one(handle), u64::MAX);
        }
        Ok(())
    }
}
