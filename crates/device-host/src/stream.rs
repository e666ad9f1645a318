//! [`Stream`]: a queue of work and the thread that does it, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use freeboard_units::StreamId;
use parking_lot::{Condvar, Mutex, ReentrantMutex};

use crate::work::{Ground, Work};

/// A queue of work. The n-th piece put on it has ticket n; a mark on the stream is a ticket.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    queue: Mutex<Queue>,
    /// Work came, or the queue was closed.
    came: Condvar,
    /// Work was done.
    went: Condvar,
    /// Held by a caller that does the work itself.
    turn: ReentrantMutex<()>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Work>,
    /// The last ticket given.
    given: u64,
    /// The last ticket done. Every ticket is done at some time, failed ones too.
    done: u64,
    closed: bool,
}

impl Stream {
    /// A stream and its thread, which ends when the stream was closed and all its work is done.
    pub(crate) fn start(
        id: StreamId,
        ground: Arc<Ground>,
    ) -> std::io::Result<(Arc<Self>, JoinHandle<()>)> {
        let stream = Arc::new(Self::default());
        let worker = Arc::clone(&stream);
        let thread = thread::Builder::new().name(id.to_string());
        let thread = thread.spawn(move || worker.work(&ground))?;
        Ok((stream, thread))
    }

    pub(crate) fn put(&self, work: Work) {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(work);
        queue.given += 1;
        self.came.notify_one();
    }

    /// Does work now, in the caller's thread, after what other callers are at.
    pub(crate) fn run(&self, work: impl FnOnce()) {
        let _turn = self.turn.lock();
        self.queue.lock().given += 1;
        work();
        self.queue.lock().done += 1;
        self.went.notify_all();
    }

    /// The ticket of the work put on it last.
    pub(crate) fn mark(&self) -> u64 {
        self.queue.lock().given
    }

    pub(crate) fn is_done(&self, ticket: u64) -> bool {
        self.queue.lock().done >= ticket
    }

    pub(crate) fn wait(&self, ticket: u64) {
        let mut queue = self.queue.lock();
        self.went.wait_while(&mut queue, |queue| queue.done < ticket);
    }

    /// Waits for all work put on it until now.
    pub(crate) fn drain(&self) {
        let mut queue = self.queue.lock();
        let ticket = queue.given;
        self.went.wait_while(&mut queue, |queue| queue.done < ticket);
    }

    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.came.notify_one();
    }

    fn work(&self, ground: &Ground) {
        while let Some(work) = self.next() {
            // On a lost device nothing is done any more, but nobody waits for ever.
            if !ground.failure.happened() {
                work.run(ground);
            }
            self.queue.lock().done += 1;
            self.went.notify_all();
        }
    }

    fn next(&self) -> Option<Work> {
        let mut queue = self.queue.lock();
        self.came.wait_while(&mut queue, |queue| queue.waiting.is_empty() && !queue.closed);
        queue.waiting.pop_front()
    }
}
