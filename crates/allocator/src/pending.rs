//! Blocks that were given back while other streams may still use them.
//!
//! When such a block is freed, an event is recorded on every stream it was used on; it is free
//! once all have passed. Events of one stream pass in order, so only the first of each is asked.

use std::collections::VecDeque;

use freeboard_device::{Device, DeviceError};
use freeboard_units::EventId;

use crate::block::{BlockId, BlockState};
use crate::error::Error;
use crate::policy::visiting::VisitingOrder;
use crate::state::{State, Uses};

/// Events recorded on one stream, oldest first, and the blocks that wait for them.
#[derive(Clone, Debug)]
pub(crate) struct EventQueue {
    pub(crate) stream: u16,
    pub(crate) waiting: VecDeque<(EventId, BlockId)>,
}

impl<D: Device> State<D> {
    /// Whether any block waits for a stream, and may be asked for now.
    #[inline]
    pub(crate) fn has_pending(&self) -> bool {
        !(self.events.is_empty() && self.deferred.is_empty())
    }

    /// Notes that a block is used on another stream than its own.
    pub(crate) fn record_use(&mut self, id: BlockId, stream: u16) {
        let capturing = self.is_capturing();
        let block = &mut self.blocks[id];
        if block.stream == stream {
            return; // work on its own stream is in order anyway
        }
        block.used_elsewhere = true;
        let uses = self.uses.entry(id).or_default();
        if !uses.streams.contains(&stream) {
            uses.streams.push(stream);
        }
        if capturing && !uses.captured.contains(&stream) {
            uses.captured.push(stream);
        }
    }

    /// Makes a freed block wait for the streams it was used on.
    #[cold]
    pub(crate) fn await_uses(&mut self, id: BlockId) {
        self.blocks[id].state = BlockState::Pending;
        if self.is_capturing() {
            // Events must not be recorded while a graph is captured.
            self.deferred.push(id);
            return;
        }
        match self.record_events(id) {
            Ok(()) if self.blocks[id].events == 0 => self.complete(id),
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, "an event could not be recorded; tried again later");
                self.deferred.push(id);
            }
        }
    }

    /// Records an event on every stream the block was used on. After an error, those that are
    /// left stay noted.
    fn record_events(&mut self, id: BlockId) -> Result<(), Error> {
        let Uses { streams, captured } = self.uses.remove(&id).unwrap_or_default();
        let mut order = VisitingOrder::default();
        // A captured graph orders its own streams: they are done when the capture is.
        for stream in streams.into_iter().filter(|stream| !captured.contains(stream)) {
            order.insert(stream, self.streams.id(stream));
        }
        let mut left: VecDeque<u16> = order.iter().collect();
        while let Some(&stream) = left.front() {
            if let Err(error) = self.record_event(id, stream) {
                self.uses.insert(id, Uses { streams: left.into(), captured: Vec::new() });
                return Err(error.into());
            }
            left.pop_front();
        }
        self.blocks[id].used_elsewhere = false;
        Ok(())
    }

    fn record_event(&mut self, id: BlockId, stream: u16) -> Result<(), DeviceError> {
        let event = match self.spare_events.pop() {
            Some(event) => event,
            None => self.device.create_event()?,
        };
        if let Err(error) = self.device.record(event, self.streams.id(stream)) {
            self.spare_events.push(event);
            return Err(error);
        }
        self.blocks[id].events += 1;
        let place = match self.events.iter().position(|queue| queue.stream == stream) {
            Some(place) => place,
            None => self.add_queue(stream),
        };
        self.events[place].waiting.push_back((event, id));
        Ok(())
    }

    /// Adds a queue where it will be visited; returns its place.
    fn add_queue(&mut self, stream: u16) -> usize {
        self.visiting.insert(stream, self.streams.id(stream));
        self.events.push(EventQueue { stream, waiting: VecDeque::new() });
        self.events.sort_by_key(|queue| self.visiting.position(queue.stream));
        self.events.iter().position(|queue| queue.stream == stream).unwrap_or_default()
    }

    /// Removes the queues that nothing waits in.
    pub(crate) fn drop_empty_queues(&mut self) {
        self.events.retain(|queue| {
            if queue.waiting.is_empty() {
                self.visiting.remove(queue.stream);
            }
            !queue.waiting.is_empty()
        });
    }

    /// Frees the blocks whose events have passed.
    #[cold]
    pub(crate) fn collect(&mut self) -> Result<(), Error> {
        if self.is_capturing() {
            return Ok(()); // events must not be asked for while a graph is captured
        }
        self.record_deferred()?;
        let outcome = (0..self.events.len()).try_for_each(|queue| self.collect_queue(queue));
        self.drop_empty_queues();
        outcome
    }

    fn collect_queue(&mut self, queue: usize) -> Result<(), Error> {
        while let Some(&(event, id)) = self.events[queue].waiting.front() {
            if !self.device.is_done(event)? {
                return Ok(());
            }
            self.events[queue].waiting.pop_front();
            self.event_passed(event, id);
        }
        Ok(())
    }

    pub(crate) fn event_passed(&mut self, event: EventId, id: BlockId) {
        self.spare_events.push(event);
        let block = &mut self.blocks[id];
        block.events -= 1;
        if block.events == 0 && !block.used_elsewhere {
            self.complete(id);
        }
    }

    /// Records the events that could not be recorded when their blocks were freed.
    fn record_deferred(&mut self) -> Result<(), Error> {
        while let Some(&id) = self.deferred.first() {
            self.record_events(id)?;
            self.deferred.remove(0);
            if self.blocks[id].events == 0 {
                self.complete(id);
            }
        }
        Ok(())
    }

    /// Waits for everything pending, if anything is; whether it was.
    pub(crate) fn wait_for_pending(&mut self) -> Result<bool, Error> {
        if self.is_capturing() || !self.has_pending() {
            return Ok(false);
        }
        self.ledger.stalls += 1;
        self.synchronize_events()?;
        Ok(true)
    }

    /// Waits for every event and frees the blocks that waited.
    pub(crate) fn synchronize_events(&mut self) -> Result<(), Error> {
        self.ledger.num_sync_all_streams += 1;
        self.record_deferred()?;
        let outcome = (0..self.events.len()).try_for_each(|queue| {
            while let Some(&(event, id)) = self.events[queue].waiting.front() {
                self.device.wait(event)?;
                self.events[queue].waiting.pop_front();
                self.event_passed(event, id);
            }
            Ok(())
        });
        self.drop_empty_queues();
        outcome
    }
}
