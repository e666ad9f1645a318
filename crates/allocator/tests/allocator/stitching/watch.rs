//! [`Watch`]: an observer of the device. It reads the log of calls, keeps for every stream which
//! work is known to come before it, and holds every allocation against it.
//!
//! Each allocation is worked on by its stream when it is made and by all its streams when it is
//! freed. A byte may be handed out only to a stream that comes after all work on that byte; what is
//! unmapped must not be in use at all any more.

use std::collections::BTreeMap;

use freeboard_device::Handle;
use freeboard_device_sim::{Argument, Call};
use freeboard_units::{Address, AddressRange, Bytes, EventId, StreamId};

use crate::common::Device;

/// The streams that are watched: 0, 1, 2 and 3.
pub(super) const STREAMS: usize = 4;
/// No handle is larger.
const LARGEST_HANDLE: Bytes = Bytes::mib(64);

/// By stream: how many pieces of its work are known to come before.
type Before = [u64; STREAMS];

fn join(known: &mut Before, more: Before) {
    for (known, more) in known.iter_mut().zip(more) {
        *known = more.max(*known);
    }
}

/// A recorded event.
#[derive(Clone, Copy, Debug)]
struct Mark {
    before: Before,
    /// When it is done.
    ready: u64,
}

/// Bytes of a handle, and where they are mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) handle: Handle,
    /// Where in the handle.
    from: Bytes,
    to: Bytes,
    at: Address,
}

impl Piece {
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.handle == other.handle && self.from < other.to && other.from < self.to
    }

    /// The whole handle's addresses, `size` bytes, at the place where these bytes are.
    pub(super) fn slot(&self, size: Bytes) -> AddressRange {
        AddressRange::new(self.at - self.from, size)
    }

    pub(super) fn addresses(&self) -> AddressRange {
        AddressRange::new(self.at, self.to - self.from)
    }
}

/// Work on bytes.
#[derive(Clone, Copy, Debug)]
struct Work {
    piece: Piece,
    stream: usize,
    number: u64,
    /// When it was put on its stream.
    time: u64,
}

/// What is known of the device's work.
#[derive(Debug)]
pub(super) struct Watch {
    device: Device,
    lag: u64,
    now: u64,
    streams: [Before; STREAMS],
    /// What the host knows to be over.
    host: Before,
    marks: BTreeMap<EventId, Mark>,
    work: Vec<Work>,
    /// Whether a graph is being captured: events must be left alone.
    pub(super) capturing: bool,
}

fn index(stream: StreamId) -> usize {
    usize::try_from(stream.get()).expect("a watched stream")
}

impl Watch {
    /// Watches a device that nobody has used yet.
    pub(super) fn new(device: &Device, lag: u64) -> Self {
        device.record_calls(1 << 20);
        Self {
            device: device.clone(),
            lag,
            now: 0,
            streams: Default::default(),
            host: Before::default(),
            marks: BTreeMap::new(),
            work: Vec::new(),
            capturing: false,
        }
    }

    /// The physical bytes behind a range, in address order.
    pub(super) fn pieces(&self, range: AddressRange) -> Vec<Piece> {
        let margin = LARGEST_HANDLE.min(Bytes::new(range.start().get()));
        let near = AddressRange::new(range.start() - margin, range.size() + margin);
        let mappings = self.device.mappings_in(near).into_iter();
        let pieces = mappings.filter(|(at, _)| at.overlaps(range)).map(|(at, handle)| {
            let start = range.start().max(at.start());
            let end = range.end().min(at.end());
            let offset = |address: Address| address.offset_from(at.start());
            Piece { handle, from: offset(start), to: offset(end), at: start }
        });
        let pieces: Vec<Piece> = pieces.collect();
        let size: Bytes = pieces.iter().map(|piece| piece.to - piece.from).sum();
        assert_eq!(size, range.size(), "{range} is not mapped everywhere");
        pieces
    }

    /// Follows all calls since the last time.
    pub(super) fn follow(&mut self) {
        for logged in self.device.take_log().into_iter().filter(|logged| logged.ok) {
            self.follow_call(logged.call, logged.argument);
        }
        assert_eq!(self.now, self.device.now(), "the clock is followed");
        let (host, now, lag) = (self.host, self.now, self.lag);
        self.work.retain(|work| work.number > host[work.stream] || work.time + lag > now);
    }

    fn follow_call(&mut self, call: Call, argument: Argument) {
        let events =
            [Call::EventRecord, Call::EventQuery, Call::EventSynchronize, Call::StreamWaitEvent];
        assert!(!(self.capturing && events.contains(&call)), "{call} while a graph is captured");
        match (call, argument) {
            (Call::EventRecord, Argument::Mark(event, stream)) => {
                let before = self.streams[index(stream)];
                self.marks.insert(event, Mark { before, ready: self.now + self.lag });
            }
            (Call::StreamWaitEvent, Argument::Mark(event, stream)) => {
                if let Some(mark) = self.marks.get(&event) {
                    join(&mut self.streams[index(stream)], mark.before);
                }
            }
            (Call::EventQuery, Argument::Event(event)) => {
                if let Some(mark) = self.marks.get(&event).filter(|mark| mark.ready <= self.now) {
                    join(&mut self.host, mark.before);
                }
            }
            (Call::EventSynchronize, Argument::Event(event)) => {
                if let Some(mark) = self.marks.get(&event) {
                    self.now = self.now.max(mark.ready);
                    join(&mut self.host, mark.before);
                }
            }
            (Call::EventDestroy, Argument::Event(event)) => {
                self.marks.remove(&event);
            }
            (Call::MemUnmap, Argument::Range(range)) => {
                self.is_over(range);
            }
            (Call::StreamSynchronize, Argument::Stream(stream)) => {
                self.now += self.lag;
                join(&mut self.host, self.streams[index(stream)]);
            }
            _ => {}
        }
        // The host puts work on streams after all that it knows to be over.
        for stream in &mut self.streams {
            join(stream, self.host);
        }
    }

    /// No work on these addresses can still be going on, whether anybody knows or not.
    fn is_over(&self, range: AddressRange) {
        for work in &self.work {
            let over = work.time + self.lag <= self.now;
            assert!(
                over || !work.piece.addresses().overlaps(range),
                "{range} is unmapped at {} while {work:?} goes on",
                self.now
            );
        }
    }

    /// A stream was given these bytes: it has to come after all work on them. It works on them.
    pub(super) fn hand_out(&mut self, pieces: &[Piece], stream: usize) {
        let known = self.streams[stream];
        for work in &self.work {
            let ordered = work.number <= known[work.stream];
            let shared = || pieces.iter().any(|piece| piece.overlaps(&work.piece));
            assert!(ordered || !shared(), "stream {stream} was given bytes that {work:?} uses");
        }
        self.work_on(pieces, stream);
    }

    /// A stream works on bytes that it has.
    pub(super) fn work_on(&mut self, pieces: &[Piece], stream: usize) {
        self.streams[stream][stream] += 1;
        let (number, time) = (self.streams[stream][stream], self.now);
        self.work.extend(pieces.iter().map(|&piece| Work { piece, stream, number, time }));
    }

    /// The program itself makes one stream wait for another.
    pub(super) fn order(&mut self, earlier: usize, later: usize) {
        let before = self.streams[earlier];
        join(&mut self.streams[later], before);
    }

    /// The program itself waits until a stream has done all its work.
    pub(super) fn drain(&mut self, stream: usize) {
        self.advance(self.lag);
        join(&mut self.host, self.streams[stream]);
        for later in &mut self.streams {
            join(later, self.host);
        }
    }

    /// Time passes.
    pub(super) fn advance(&mut self, ticks: u64) {
        self.device.advance(ticks);
        self.now += ticks;
    }
}
