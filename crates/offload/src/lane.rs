//! [`Lane`]: a stream for copies in one direction, and a thread that notes how long they take.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use freeboard_allocator::CachingAllocator;
use freeboard_device::{DeviceError, Transfer};
use freeboard_units::{EventId, StreamId};
use parking_lot::{Condvar, Mutex};

use crate::OffloadError;

/// A stream for copies in one direction.
pub(crate) struct Lane<D: Transfer> {
    allocator: Arc<CachingAllocator<D>>,
    pub(crate) stream: StreamId,
    clock: Option<Clock<D>>,
}

impl<D: Transfer + Send + Sync + 'static> Lane<D> {
    pub(crate) fn new(
        allocator: &Arc<CachingAllocator<D>>,
        stream: StreamId,
        timed: bool,
    ) -> Result<Self, OffloadError> {
        let clock = timed.then(|| Clock::start(stream)).transpose();
        let clock = clock.map_err(|error| OffloadError::Thread(error.to_string()))?;
        Ok(Self { allocator: Arc::clone(allocator), stream, clock })
    }
}

impl<D: Transfer> Lane<D> {
    /// Notes that copies begin here, once `home` has done what they come after; `None` where nobody
    /// times them.
    pub(crate) fn begin_after(&self, home: StreamId) -> Option<Mark<D>> {
        self.clock.as_ref()?;
        self.allocator.order(home, self.stream).ok()?;
        self.begin()
    }

    /// Notes that copies begin here; `None` where nobody times them.
    pub(crate) fn begin(&self) -> Option<Mark<D>> {
        self.clock.as_ref()?;
        Mark::new(&self.allocator, self.stream)
            .inspect_err(|error| tracing::debug!(%error, "a copy is not timed"))
            .ok()
    }

    /// Notes that copies end here.
    pub(crate) fn end(&self, begin: Option<Mark<D>>) {
        if let (Some(clock), Some(begin)) = (&self.clock, begin)
            && let Some(end) = self.begin()
        {
            clock.watch(begin, end);
        }
    }

    /// How long copies took that are done.
    pub(crate) fn copying(&self) -> Duration {
        self.clock.as_ref().map_or(Duration::ZERO, |clock| clock.seen.state.lock().total)
    }

    /// Waits until all copies are done and timed.
    pub(crate) fn synchronize(&self) -> Result<(), OffloadError> {
        let outcome = self.allocator.device().synchronize_stream(self.stream);
        if let Some(clock) = &self.clock {
            let mut state = clock.seen.state.lock();
            clock.seen.changed.wait_while(&mut state, |state| state.watched > state.timed);
        }
        outcome.map_err(OffloadError::device("waiting for copies"))
    }
}

/// A point on a stream. Its drop gives the event back.
pub(crate) struct Mark<D: Transfer> {
    owner: Arc<CachingAllocator<D>>,
    event: EventId,
}

impl<D: Transfer> Mark<D> {
    fn new(owner: &Arc<CachingAllocator<D>>, stream: StreamId) -> Result<Self, DeviceError> {
        let mark = Self { owner: Arc::clone(owner), event: owner.take_event()? };
        owner.device().record(mark.event, stream)?;
        Ok(mark)
    }

    fn wait(&self) -> Result<(), DeviceError> {
        self.owner.device().wait(self.event)
    }
}

impl<D: Transfer> Drop for Mark<D> {
    fn drop(&mut self) {
        self.owner.return_event(self.event);
    }
}

/// A thread that waits for the two ends of copies, one after the other, and reads the clock.
struct Clock<D: Transfer> {
    /// None when the thread is to end.
    copies: Option<Sender<[Mark<D>; 2]>>,
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    state: Mutex<Times>,
    changed: Condvar,
}

#[derive(Default)]
struct Times {
    watched: u64,
    timed: u64,
    total: Duration,
}

impl<D: Transfer + Send + Sync + 'static> Clock<D> {
    fn start(stream: StreamId) -> std::io::Result<Self> {
        let (copies, arriving) = channel();
        let seen = Arc::new(Seen::default());
        let times = Arc::clone(&seen);
        let thread = thread::Builder::new().name(format!("times {stream}"));
        let thread = thread.spawn(move || time(&arriving, &times))?;
        Ok(Self { copies: Some(copies), seen, thread: Some(thread) })
    }
}

impl<D: Transfer> Clock<D> {
    fn watch(&self, begin: Mark<D>, end: Mark<D>) {
        self.seen.state.lock().watched += 1;
        let sent = self.copies.as_ref().is_some_and(|copies| copies.send([begin, end]).is_ok());
        if !sent {
            self.seen.state.lock().timed += 1;
        }
    }
}

fn time<D: Transfer>(copies: &Receiver<[Mark<D>; 2]>, seen: &Seen) {
    while let Ok([begin, end]) = copies.recv() {
        let begun = begin.wait().map(|()| Instant::now());
        let took = begun.and_then(|begun| end.wait().map(|()| begun.elapsed()));
        drop([begin, end]); // before anybody is told
        let mut state = seen.state.lock();
        state.timed += 1;
        state.total += took.unwrap_or_default();
        seen.changed.notify_all();
    }
}

impl<D: Transfer> Drop for Clock<D> {
    fn drop(&mut self) {
        self.copies = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that times copies panicked");
        }
    }
}
