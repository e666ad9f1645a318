//! The public verbs.

use freeboard_device::Device;
use freeboard_snapshot::{Action, Snapshot};
use freeboard_units::{Address, AddressRange, Bytes};

use super::{HistoryOptions, Record, Scope};
use crate::allocator::CachingAllocator;
use crate::state::State;

/// History, scopes and snapshots.
impl<D: Device> CachingAllocator<D> {
    /// Records from now on what happens to memory, and in which scope each block is asked for. If that
    /// is so already, events begin anew; what is known of live blocks stays known.
    ///
    /// Costs about 0.1 µs an event ([`HistoryOptions`]); while it is off, a few instructions a request.
    ///
    /// ```
    /// use freeboard_allocator::{CachingAllocator, Config, HistoryOptions};
    /// use freeboard_device_sim::SimDevice;
    /// use freeboard_snapshot::Action;
    /// use freeboard_units::{Bytes, StreamId};
    ///
    /// let allocator = CachingAllocator::new(SimDevice::new(Bytes::gib(1)), Config::pytorch())?;
    /// allocator.record_history(HistoryOptions::default());
    /// drop(allocator.allocate(Bytes::mib(3), StreamId::DEFAULT)?);
    /// let snapshot = allocator.snapshot();
    /// let actions: Vec<Action> = snapshot.histories[0].events.iter().map(|e| e.action).collect();
    /// use Action::{Alloc, FreeCompleted, FreeRequested, SegmentAlloc};
    /// assert_eq!(actions, [SegmentAlloc, Alloc, FreeRequested, FreeCompleted]);
    /// # Ok::<(), freeboard_allocator::Error>(())
    /// ```
    pub fn record_history(&self, options: HistoryOptions) {
        let mut record = Box::new(Record::new(options));
        let mut state = self.state.lock();
        let before = state.record.take().map(|mut before| {
            record.inherit(&mut before);
            before
        });
        state.record = Some(record);
        drop(state);
        drop(before);
    }

    /// Stops recording, and forgets events, tags and stacks.
    pub fn stop_recording(&self) {
        let record = self.state.lock().record.take();
        drop(record); // without the lock
    }

    /// Whether history is recorded.
    pub fn is_recording(&self) -> bool {
        self.state.lock().is_recording()
    }

    /// Notes something in the history, such as "epoch 3"; nothing while none is recorded.
    pub fn annotate(&self, text: impl Into<String>) {
        let (text, nowhere) = (text.into(), AddressRange::new(Address::NULL, Bytes::ZERO));
        self.state.lock().note_text(Action::Annotate, nowhere, text);
    }

    /// As [`scope`](crate::scope()), which needs no allocator: the scope is the thread's.
    pub fn scope(&self, name: &str) -> Scope {
        super::scope(name)
    }

    /// What memory looks like now: every segment and block, the settings, and what the device says
    /// of itself; while history is recorded, the events that led there, tags and stacks too.
    ///
    /// Other threads wait only while blocks and events are copied. Backtraces get their names after
    /// that, which takes seconds for the first one of a large program.
    ///
    /// ```
    /// use freeboard_allocator::{CachingAllocator, Config};
    /// use freeboard_device_sim::SimDevice;
    /// use freeboard_units::{Bytes, StreamId};
    ///
    /// let allocator = CachingAllocator::new(SimDevice::new(Bytes::gib(1)), Config::pytorch())?;
    /// let tensor = allocator.allocate(Bytes::mib(3), StreamId::DEFAULT)?;
    /// let snapshot = allocator.snapshot();
    /// assert_eq!(snapshot.segments[0].size, Bytes::mib(20));
    /// assert_eq!(snapshot.segments[0].allocated(), tensor.size());
    /// # Ok::<(), freeboard_allocator::Error>(())
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        let mut state = self.state.lock();
        let copy = self.state.slowly(&mut state, State::copy);
        drop(state);
        let free = self.device().info().ok().map(|info| info.free);
        copy.into_snapshot(free)
    }
}
