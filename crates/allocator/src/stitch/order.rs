//! Memory that one stream has freed serves another: in order of an event, on the device.
//!
//! Time is counted in *ticks*: each wait for an event ends one. A free block knows the tick it was
//! freed in; a stream that has since waited for the block's stream needs no second wait.

use freeboard_device::{Device, DeviceError};
use freeboard_units::EventId;

use crate::block::BlockId;
use crate::policy::stitching::SHARED_POOLS;
use crate::request::Request;
use crate::state::State;

/// Who has waited for whom, and what is known to be over.
#[derive(Debug)]
pub(super) struct Orders {
    /// The tick that frees are stamped with.
    pub(super) tick: u64,
    /// By the later and the earlier stream: the last tick whose frees are waited for.
    waited: Vec<Vec<u64>>,
    /// All that was freed up to this tick is over on every stream: it may be unmapped.
    pub(super) quiet: u64,
    fence: Option<Fence>,
    /// Streams that were retired and not seen since.
    retired: Vec<u16>,
}

impl Default for Orders {
    fn default() -> Self {
        // Tick 0 is over before anything happens.
        Self { tick: 1, waited: Vec::new(), quiet: 0, fence: None, retired: Vec::new() }
    }
}

/// Events on all streams; once they are done, everything up to a tick is over.
#[derive(Debug)]
struct Fence {
    tick: u64,
    events: Vec<EventId>,
}

impl Orders {
    /// Whether work on `later` comes after what was freed on `earlier` in a tick.
    fn is_ordered(&self, later: u16, earlier: u16, since: u64) -> bool {
        let row = self.waited.get(usize::from(later));
        let waited = row.and_then(|row| row.get(usize::from(earlier))).copied().unwrap_or(0);
        later == earlier || since <= self.quiet.max(waited)
    }

    /// Notes that a stream has no work any more.
    pub(super) fn retire(&mut self, stream: u16) {
        if !self.retired.contains(&stream) {
            self.retired.push(stream);
        }
    }

    /// Notes that a stream is used, perhaps again.
    pub(super) fn note_use(&mut self, stream: u16) {
        self.retired.retain(|&retired| retired != stream);
    }

    fn note(&mut self, later: u16, earlier: u16) {
        let (later, earlier) = (usize::from(later), usize::from(earlier));
        if self.waited.len() <= later {
            self.waited.resize_with(later + 1, Vec::new);
        }
        let row = &mut self.waited[later];
        if row.len() <= earlier {
            row.resize(earlier + 1, 0);
        }
        row[earlier] = self.tick;
    }
}

impl<D: Device> State<D> {
    /// Makes the request's stream wait, on the device, for all that may still use these free
    /// blocks. An error leaves waits behind, which harm nobody.
    pub(super) fn order_blocks(
        &mut self,
        request: &Request,
        blocks: impl IntoIterator<Item = BlockId>,
    ) -> Result<(), DeviceError> {
        let later = request.stream;
        for id in blocks {
            let block = &self.blocks[id];
            let (earlier, since) = (block.stream, block.free_since);
            if block.is_free() && !self.stitch.orders.is_ordered(later, earlier, since) {
                self.order_streams(later, earlier)?;
            }
        }
        Ok(())
    }

    pub(crate) fn order_streams(&mut self, later: u16, earlier: u16) -> Result<(), DeviceError> {
        let event = self.mark(earlier)?;
        let waited = self.device.stream_wait(self.streams.id(later), event);
        // The wait is for this mark, whatever the event marks next.
        self.spare_events.push(event);
        waited?;
        self.stitch.counts.stream_waits += 1;
        self.stitch.orders.note(later, earlier);
        self.end_tick();
        Ok(())
    }

    /// An event recorded on a stream.
    fn mark(&mut self, stream: u16) -> Result<EventId, DeviceError> {
        let event = match self.spare_events.pop() {
            Some(event) => event,
            None => self.device.create_event()?,
        };
        let recorded = self.device.record(event, self.streams.id(stream));
        if recorded.is_err() {
            self.spare_events.push(event);
        }
        recorded.map(|()| event)
    }

    /// Frees from now on come after every mark made until now.
    pub(crate) fn end_tick(&mut self) {
        self.stitch.orders.tick += 1;
        for pool in &mut self.pools[..SHARED_POOLS] {
            pool.searches = self.stitch.orders.tick;
        }
    }

    /// Whether all use of what was freed in this tick is over. Asks the device, does not wait.
    pub(super) fn is_quiet(&mut self, since: u64) -> Result<bool, DeviceError> {
        if since <= self.stitch.orders.quiet {
            return Ok(true);
        }
        if self.is_capturing() {
            return Ok(false); // events must be neither recorded nor asked for
        }
        self.poll_fence()?;
        if since > self.stitch.orders.quiet && self.stitch.orders.fence.is_none() {
            self.raise_fence()?;
            self.poll_fence()?;
        }
        Ok(since <= self.stitch.orders.quiet)
    }

    /// Waits until all that was freed until now is over.
    pub(super) fn wait_until_quiet(&mut self) -> Result<(), DeviceError> {
        self.lower_fence();
        self.raise_fence()?;
        let Some(fence) = self.stitch.orders.fence.take() else { return Ok(()) };
        let tick = fence.tick;
        let outcome = fence.events.iter().try_for_each(|&event| self.device.wait(event));
        self.spare_events.extend(fence.events);
        outcome?;
        self.stitch.orders.quiet = tick;
        Ok(())
    }

    fn raise_fence(&mut self) -> Result<(), DeviceError> {
        let mut events = Vec::new();
        for stream in 0..self.streams.count() {
            if self.stitch.orders.retired.contains(&stream) {
                continue;
            }
            match self.mark(stream) {
                Ok(event) => events.push(event),
                Err(error) => {
                    self.spare_events.extend(events);
                    return Err(error);
                }
            }
        }
        self.stitch.orders.fence = Some(Fence { tick: self.stitch.orders.tick, events });
        self.end_tick();
        Ok(())
    }

    /// Takes the fence down once all its events are done.
    fn poll_fence(&mut self) -> Result<(), DeviceError> {
        let Some(fence) = &mut self.stitch.orders.fence else { return Ok(()) };
        while let Some(&event) = fence.events.last() {
            if !self.device.is_done(event)? {
                return Ok(());
            }
            fence.events.pop();
            self.spare_events.push(event);
        }
        self.stitch.orders.quiet = fence.tick;
        self.stitch.orders.fence = None;
        Ok(())
    }

    /// Takes the fence down without learning anything.
    pub(super) fn lower_fence(&mut self) {
        let events = self.stitch.orders.fence.take().map(|fence| fence.events);
        self.spare_events.extend(events.into_iter().flatten());
    }

    /// Orders the oldest pending block that is of use behind the streams that use it, on the device,
    /// and frees it. Whether there was one.
    pub(super) fn hurry(&mut self, request: &Request) -> Result<bool, DeviceError> {
        if self.is_capturing() {
            return Ok(false);
        }
        let least = request.size.min(crate::policy::placement::PAGE);
        let useful = |id: &BlockId| self.blocks[*id].size >= least;
        let waiting = self.events.iter().flat_map(|queue| &queue.waiting);
        let mut pending: Vec<BlockId> = waiting.map(|(_, id)| *id).filter(useful).collect();
        if pending.is_empty() {
            // Small ones side by side may be of use together.
            pending = self.events.iter().flat_map(|queue| &queue.waiting).map(|w| w.1).collect();
        }
        let Some(&id) = pending.first() else { return Ok(false) };
        let stream = self.streams.id(self.blocks[id].stream);
        for queue in 0..self.events.len() {
            while let Some(place) = self.events[queue].waiting.iter().position(|w| w.1 == id) {
                let (event, _) = self.events[queue].waiting[place];
                self.device.stream_wait(stream, event)?;
                self.events[queue].waiting.remove(place);
                self.stitch.counts.pending_waits += 1;
                self.event_passed(event, id);
            }
        }
        self.drop_empty_queues();
        Ok(true)
    }
}
