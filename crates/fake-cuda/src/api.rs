//! The driver's functions, as C sees them.

mod context;
mod device;
mod graph;
mod launch;
mod memory;
mod order;
mod transfer;
mod words;

use std::cell::{Cell, RefCell};

use crate::state::{Answer, CAPTURE_UNSUPPORTED, INVALID_CONTEXT, INVALID_VALUE, State};

/// Where the C caller wants something written.
#[repr(transparent)]
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Refuses a null pointer, as the driver does.
    pub(crate) fn put(self, value: T) -> Answer {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: only C callers of the exported functions make an `Out`, and the driver's interface
        // obliges them to give a pointer that may be written.
        unsafe { self.0.write(value) };
        Ok(())
    }

    /// Writes unless the caller wants nothing.
    pub(crate) fn offer(self, value: T) -> Answer {
        if self.0.is_null() { Ok(()) } else { self.put(value) }
    }
}

/// Something the C caller shows.
#[repr(transparent)]
pub(crate) struct In<T>(*const T);

impl<T: Copy> In<T> {
    pub(crate) const fn new(pointer: *const T) -> Self {
        Self(pointer)
    }

    pub(crate) fn get(&self) -> Answer<T> {
        self.at(0)
    }

    /// The array, to be read by others.
    pub(crate) fn array(&self) -> Answer<*const T> {
        if self.0.is_null() { Err(INVALID_VALUE) } else { Ok(self.0) }
    }

    /// The element of an array.
    pub(crate) fn at(&self, index: usize) -> Answer<T> {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        let element = self.0.wrapping_add(index);
        // SAFETY: only C callers of the exported functions make an `In`, and the driver's interface
        // obliges them to show as many elements as the call is about.
        Ok(unsafe { element.read_unaligned() })
    }
}

thread_local! {
    /// The contexts of this thread; the last one is current.
    static CURRENT: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    /// What this thread allows itself while a stream is being captured; 2 is everything.
    static CAPTURE_MODE: Cell<i32> = const { Cell::new(0) };
}

/// Refuses a call that a strict capture forbids to this thread.
fn uncaptured(state: &State) -> Answer {
    let forbidden = state.streams.strict() && CAPTURE_MODE.get() != 2;
    if forbidden { Err(CAPTURE_UNSUPPORTED) } else { Ok(()) }
}

/// The device whose context is current.
fn current(state: &State) -> Answer<i32> {
    let context = CURRENT.with_borrow(|stack| stack.last().copied()).ok_or(INVALID_CONTEXT)?;
    state.device_of(context)
}

/// Defines exported functions: each counts as a driver call and may be made to fail.
macro_rules! driver {
    ($($(#[$meta:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $call:expr;)*) => {
        $(
            $(#[$meta])*
            // The name is the driver's, which this library is loaded instead of.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($argument: $type),*) -> u32 {
                $crate::state::enter(stringify!($name), $call)
            }
        )*
    };
}
use driver;
