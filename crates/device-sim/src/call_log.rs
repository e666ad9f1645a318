//! [`LoggedCall`]: which calls were made, with what, and whether they were answered.

use std::collections::VecDeque;

use freeboard_device::Handle;
use freeboard_units::{Address, AddressRange, Bytes, EventId, StreamId};

use crate::Call;

/// What a call was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// The call takes nothing.
    Nothing,
    /// How much is wanted.
    Size(Bytes),
    /// Which allocation.
    Address(Address),
    /// Which addresses.
    Range(AddressRange),
    /// Which memory.
    Handle(Handle),
    /// Which memory at which addresses.
    Mapping(AddressRange, Handle),
    /// Which event.
    Event(EventId),
    /// Which event on which stream.
    Mark(EventId, StreamId),
    /// Which stream.
    Stream(StreamId),
}

impl Argument {
    /// The bytes the call is about, as far as the argument tells; zero otherwise.
    #[must_use]
    pub const fn size(self) -> Bytes {
        match self {
            Self::Size(size) => size,
            Self::Range(range) | Self::Mapping(range, _) => range.size(),
            _ => Bytes::ZERO,
        }
    }
}

/// One call as the device saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedCall {
    /// Which call.
    pub call: Call,
    /// What it was about.
    pub argument: Argument,
    /// Whether it was done; a refused, failed or faulted call was not.
    pub ok: bool,
}

/// The latest calls, up to a limit. A limit of zero is off.
#[derive(Debug, Default)]
pub(crate) struct CallLog {
    limit: usize,
    calls: VecDeque<LoggedCall>,
}

impl CallLog {
    pub(crate) fn with_limit(limit: usize) -> Self {
        Self { limit, calls: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, call: LoggedCall) {
        if self.limit == 0 {
            return;
        }
        if self.calls.len() == self.limit {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }

    pub(crate) fn take(&mut self) -> Vec<LoggedCall> {
        self.calls.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use freeboard_device::Memory;

    use super::*;
    use crate::SimDevice;

    #[test]
    fn the_log_is_off_until_asked_for_and_keeps_the_latest_calls() {
        let device = SimDevice::new(Bytes::mib(4));
        device.info().unwrap();
        assert_eq!(device.take_log(), []);

        device.record_calls(3);
        device.info().unwrap();
        let range = device.reserve(Bytes::mib(2)).unwrap();
        let handle = device.create(Bytes::mib(2)).unwrap();
        device.map(range, handle).unwrap();
        device.map(range, handle).unwrap_err();
        let logged = |call, argument, ok| LoggedCall { call, argument, ok };
        let latest = [
            logged(Call::MemCreate, Argument::Size(Bytes::mib(2)), true),
            logged(Call::MemMap, Argument::Mapping(range, handle), true),
            logged(Call::MemMap, Argument::Mapping(range, handle), false),
        ];
        assert_eq!(device.take_log(), latest);
        assert_eq!(device.take_log(), []);

        device.unmap(range).unwrap();
        assert_eq!(device.take_log(), [logged(Call::MemUnmap, Argument::Range(range), true)]);
        device.record_calls(0);
        device.info().unwrap();
        assert_eq!(device.take_log(), []);
    }
}
