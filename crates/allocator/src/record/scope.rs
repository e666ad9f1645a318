//! Scopes: names for what a thread is doing, so that its blocks can be told apart.
//!
//! The current scope is the thread's, whatever allocator it asks; names are kept once for the whole
//! process. So one guard serves every allocator, and none needs to be at hand.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::LazyLock;

use freeboard_snapshot::{NameId, Names};
use parking_lot::{Mutex, MutexGuard};

/// The most names there may be.
const MOST_NAMES: usize = 1 << 16;

static NAMES: LazyLock<Mutex<Names>> = LazyLock::new(Mutex::default);

thread_local! {
    static CURRENT: Cell<NameId> = const { Cell::new(NameId::new(0)) };
}

/// Until the guard is dropped, this thread is in the scope `name`, inside the one it is in: what it
/// allocates is tagged `outer/name`, on every allocator that records its history.
///
/// Names are kept as long as the process lives: use few (layers, phases), not one for every step.
/// After 65,536 different ones, new names are ignored. An empty name changes nothing. A scope is
/// its thread's: threads that it starts begin outside all scopes.
///
/// ```
/// use freeboard_allocator::{CachingAllocator, Config, HistoryOptions, scope};
/// use freeboard_device_sim::SimDevice;
/// use freeboard_units::{Bytes, StreamId};
///
/// let allocator = CachingAllocator::new(SimDevice::new(Bytes::gib(1)), Config::default())?;
/// allocator.record_history(HistoryOptions::default());
/// let _layer = scope("layer3");
/// let scores = {
///     let _attention = scope("attn");
///     allocator.allocate(Bytes::mib(30), StreamId::DEFAULT)?
/// };
/// let snapshot = allocator.snapshot();
/// let mut blocks = snapshot.segments.iter().flat_map(|segment| &segment.blocks);
/// let block = blocks.find(|block| block.address == scores.address()).expect("it is live");
/// assert_eq!(snapshot.names.get(block.tag), "layer3/attn");
/// # Ok::<(), freeboard_allocator::Error>(())
/// ```
pub fn scope(name: &str) -> Scope {
    let outer = CURRENT.get();
    CURRENT.set(inside(outer, name));
    Scope { outer, is_its_threads: PhantomData }
}

/// A scope that lasts until this is dropped; then the thread is where it was before.
#[derive(Debug)]
#[must_use = "the scope ends where this is dropped"]
pub struct Scope {
    outer: NameId,
    /// Not to be dropped by another thread.
    is_its_threads: PhantomData<*const ()>,
}

impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
    }
}

/// The scope that this thread is in, by its process-wide number.
#[inline]
pub(super) fn current() -> NameId {
    CURRENT.get()
}

/// All names. Held for a moment only; nothing else is locked meanwhile.
pub(super) fn names() -> MutexGuard<'static, Names> {
    NAMES.lock()
}

/// The name with this number.
pub(super) fn name(id: NameId) -> String {
    names().get(id).to_owned()
}

fn inside(outer: NameId, name: &str) -> NameId {
    if name.is_empty() {
        return outer;
    }
    let mut names = names();
    let full = if outer.is_zero() { name.to_owned() } else { [names.get(outer), name].join("/") };
    if names.len() < MOST_NAMES {
        return names.intern(&full);
    }
    names.find(&full).unwrap_or(outer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_nest_and_end_with_their_guards_and_belong_to_their_thread() {
        let here = || name(current());
        assert_eq!(here(), "");
        let outer = scope("a");
        {
            let _inner = scope("b");
            assert_eq!(here(), "a/b");
            let _same = scope("");
            assert_eq!(here(), "a/b");
            let elsewhere = std::thread::spawn(|| name(current())).join();
            assert_eq!(elsewhere.expect("no panic"), "");
        }
        assert_eq!(here(), "a");
        drop(outer);
        assert_eq!(here(), "");
        let _again = scope("a/b");
        let known = current();
        let _other = scope("c");
        assert_eq!(names().find("a/b"), Some(known));
    }
}
