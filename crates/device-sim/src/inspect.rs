//! What a test may ask of a [`SimDevice`] and do to it, past the calls of a device.

use std::collections::BTreeMap;

use freeboard_device::{DeviceError, Handle};
use freeboard_units::{Address, AddressRange, Bytes};

use crate::call::Counters;
use crate::call_log::CallLog;
use crate::{Call, FaultPlan, LoggedCall, SimDevice};

/// What a device still holds for its user. All zero after an orderly end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Whole allocations not freed.
    pub allocations: usize,
    /// Ranges of addresses not given back.
    pub reservations: usize,
    /// Mappings not taken out.
    pub mappings: usize,
    /// Handles not released. One that was released while mapped counts with its mappings only.
    pub handles: usize,
    /// Events not destroyed.
    pub events: usize,
}

/// Memory and what is held of it.
impl SimDevice {
    /// The physical memory there is.
    #[must_use]
    pub fn capacity(&self) -> Bytes {
        self.state.lock().model.physical.info().total
    }

    /// Changes the capacity, as if another process took memory or gave some back.
    ///
    /// It may fall below what is used: then nothing is free until enough was given back.
    pub fn set_capacity(&self, capacity: Bytes) {
        self.state.lock().model.physical.set_capacity(capacity);
    }

    /// Physical bytes in use, the context's included.
    #[must_use]
    pub fn used(&self) -> Bytes {
        self.state.lock().model.physical.used()
    }

    /// The most that ever was in use, or since [`SimDevice::reset_peak`].
    #[must_use]
    pub fn peak_used(&self) -> Bytes {
        self.state.lock().model.physical.used_peak()
    }

    /// Lets the peak begin anew from what is in use now.
    pub fn reset_peak(&self) {
        self.state.lock().model.physical.reset_peak();
    }

    /// What was not given back yet.
    #[must_use]
    pub fn leaks(&self) -> Held {
        let model = &self.state.lock().model;
        Held {
            allocations: model.allocation_count(),
            reservations: model.virtual_memory.reservation_count(),
            mappings: model.virtual_memory.mapping_count(),
            handles: model.physical.handles_alive(),
            events: model.clock.events_alive(),
        }
    }

    /// Whether everything was given back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leaks() == Held::default()
    }

    /// Whether a kernel could read and write every byte of `range`: it lies in one allocation, or
    /// in mappings without a gap that were all given access. No byte at all cannot be accessed.
    #[must_use]
    pub fn can_access(&self, range: AddressRange) -> bool {
        self.state.lock().model.can_access(range)
    }
}

/// What lies where, for a device that puts real memory there.
impl SimDevice {
    /// The whole allocation that begins at `address`, in whole granules.
    #[must_use]
    pub fn allocation_at(&self, address: Address) -> Option<AddressRange> {
        self.state.lock().model.allocation_at(address)
    }

    /// The mappings that begin in `range`, lowest address first.
    #[must_use]
    pub fn mappings_in(&self, range: AddressRange) -> Vec<(AddressRange, Handle)> {
        self.state.lock().model.mappings_in(range)
    }

    /// Whether a handle's memory is in use: the handle was not released, or is mapped somewhere.
    #[must_use]
    pub fn is_used(&self, handle: Handle) -> bool {
        self.state.lock().model.physical.is_used(handle)
    }
}

/// Time.
impl SimDevice {
    /// The device's clock, in ticks; it begins at zero and ends at `u64::MAX`.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.state.lock().model.clock.now()
    }

    /// Lets time pass.
    pub fn advance(&self, ticks: u64) {
        self.state.lock().model.clock.advance(ticks);
    }

    /// Sets how long events take, for those recorded from now on, and for how long `free` and
    /// `synchronize_stream` wait.
    pub fn set_event_lag(&self, ticks: u64) {
        self.state.lock().model.clock.set_lag(ticks);
    }

    /// How long all calls so far would have kept a driver busy, by the
    /// [`CostModel`](crate::CostModel); assumed, not measured.
    #[must_use]
    pub fn driver_time_ns(&self) -> u64 {
        self.state.lock().driver_time_ns
    }
}

/// The calls that were made.
impl SimDevice {
    /// How often each call was made, by its CUDA name; calls never made are left out.
    ///
    /// A `cudaMalloc` or `cuMemCreate` that failed for memory is counted once more, as
    /// `cudaMalloc_oom` or `cuMemCreate_oom`.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.state.lock().counters.by_name()
    }

    /// How often this call was made, whatever became of it.
    #[must_use]
    pub fn count(&self, call: Call) -> u64 {
        self.state.lock().counters.of(call)
    }

    /// How many calls were made, each counted once.
    #[must_use]
    pub fn total_calls(&self) -> u64 {
        self.state.lock().counters.total()
    }

    /// Counts calls from zero again. Violations, driver time and the fault plan stay.
    pub fn reset_calls(&self) {
        self.state.lock().counters = Counters::default();
    }

    /// How many calls were refused because the contract forbids them: bugs of the caller.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.state.lock().violations
    }

    /// The first call that was refused, with the reason.
    #[must_use]
    pub fn first_violation(&self) -> Option<DeviceError> {
        self.state.lock().first_violation.clone()
    }

    /// Keeps the latest `limit` calls from now on; zero ends it. What was kept before is lost.
    pub fn record_calls(&self, limit: usize) {
        self.state.lock().log = CallLog::with_limit(limit);
    }

    /// The calls kept since the last time, oldest first; recording goes on.
    pub fn take_log(&self) -> Vec<LoggedCall> {
        self.state.lock().log.take()
    }
}

/// Failure on demand.
impl SimDevice {
    /// Puts a plan in force, in place of the last one; its calls and hits are counted from zero.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.state.lock().faults.set(plan);
    }

    /// Ends the plan; [`SimDevice::faults_hit`] keeps its answer.
    pub fn clear_faults(&self) {
        self.state.lock().faults.clear();
    }

    /// How many calls failed by the plan set last.
    #[must_use]
    pub fn faults_hit(&self) -> u64 {
        self.state.lock().faults.hit()
    }
}
