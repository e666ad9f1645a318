//! What a test may ask of the driver besides the driver's own functions.

use crate::client::Live;
use crate::state::{Failure, State, steer};

macro_rules! control {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty { $call:expr })*) => {
        $(
            // No other library uses names that begin like this.
            #[unsafe(no_mangle)]
            extern "C" fn $name($($argument: $type),*) -> $result {
                steer($call)
            }
        )*
    };
}

/// A name as two words, because a slice does not cross the boundary.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Name {
    pub(crate) start: *const u8,
    pub(crate) length: usize,
}

impl Name {
    fn read(self) -> Option<String> {
        if self.start.is_null() {
            return None;
        }
        // SAFETY: the client makes a `Name` of a string that it keeps during the call.
        let bytes = unsafe { std::slice::from_raw_parts(self.start, self.length) };
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

fn live(state: &mut State) -> Live {
    let count = state.memory.count();
    let devices = 0..i32::try_from(state.gpus.len()).unwrap_or(0);
    Live {
        allocations: count.allocations,
        pinned: count.pinned,
        reservations: count.reservations,
        mappings: count.mappings,
        handles: count.handles,
        events: state.streams.events.len(),
        streams: state.streams.made(),
        modules: state.modules.iter().flatten().count(),
        contexts: state.gpus.iter().map(|gpu| gpu.retained).sum(),
        used: devices.map(|device| state.memory.used(device)).sum(),
    }
}

control! {
    fn freeboard_fake_calls(name: Name) -> u64 {
        |state| match name.read() {
            Some(name) => state.calls.get(name.as_str()).copied().unwrap_or(0),
            None => state.total_calls,
        }
    }
    fn freeboard_fake_reset_counters() -> () {
        |state| {
            state.calls.clear();
            state.total_calls = 0;
        }
    }
    fn freeboard_fake_fail(name: Name, nth: u64, code: u32, times: u64) -> () {
        |state| {
            let last = nth.saturating_add(times.saturating_sub(1));
            state.failures.push(Failure { name: name.read(), first: nth, last, code, seen: 0 });
        }
    }
    fn freeboard_fake_clear_failures() -> () {
        |state| {
            state.failures.clear();
            state.failures_hit = 0;
        }
    }
    fn freeboard_fake_failures_hit() -> u64 { |state| state.failures_hit }
    fn freeboard_fake_set_capacity(bytes: u64) -> () { |state| state.memory.capacity = bytes }
    fn freeboard_fake_set_devices(count: usize) -> () { |state| state.set_devices(count) }
    fn freeboard_fake_set_peers(can: bool) -> () { |state| state.peers = can }
    fn freeboard_fake_set_attribute(device: i32, attribute: i32, value: i32) -> () {
        |state| {
            if let Ok(gpu) = state.gpu(device) {
                gpu.attributes.insert(attribute, value);
            }
        }
    }
    fn freeboard_fake_hold(stream: usize, held: bool) -> bool {
        |state| state.streams.hold(stream, held).is_ok()
    }
    fn freeboard_fake_capture(stream: usize, capturing: bool) -> bool {
        |state| {
            let found = state.streams.get(stream);
            found.map(|found| (found.capturing, found.strict) = (capturing, true)).is_ok()
        }
    }
    fn freeboard_fake_live() -> Live { live }
}
