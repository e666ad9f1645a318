//! [`Mail`]: gradients on their way from one node of a graph to another, in one backward pass.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use candle_core::Tensor;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// A backward pass under way. One that is started within another ends before that goes on, so the
/// thread and the depth tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Passage {
    thread: ThreadId,
    depth: usize,
}

impl Passage {
    fn current() -> Self {
        Self { thread: thread::current().id(), depth: DEPTH.get() }
    }
}

/// One backward pass within another, until it is dropped.
#[derive(Debug)]
pub(crate) struct Deeper(());

impl Deeper {
    pub(crate) fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self(())
    }
}

impl Drop for Deeper {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Gradients that wait to be fetched, by number, apart for every backward pass under way.
#[derive(Debug, Default)]
pub(crate) struct Mail(Mutex<HashMap<(Passage, usize), Tensor>>);

impl Mail {
    pub(crate) fn put(&self, number: usize, gradient: Tensor) {
        let replaced = self.lock().insert((Passage::current(), number), gradient);
        drop(replaced);
    }

    pub(crate) fn take(&self, number: usize) -> Option<Tensor> {
        self.lock().remove(&(Passage::current(), number))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Passage, usize), Tensor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
