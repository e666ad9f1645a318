//! [`CostModel`]: how long the calls would have kept a driver busy.

use freeboard_units::Bytes;
use serde::{Deserialize, Serialize};

use crate::Call;

/// The time one kind of call takes, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCost {
    /// For the call itself; a call that fails costs this much.
    pub fixed_ns: u64,
    /// For each MiB it is about.
    pub per_mib_ns: u64,
    /// For each handle it is about: as many as lie in the range for `cuMemUnmap` and
    /// `cuMemSetAccess`, one for any other call.
    pub per_handle_ns: u64,
}

impl CallCost {
    /// A cost that does not grow with the call.
    #[must_use]
    pub const fn fixed(fixed_ns: u64) -> Self {
        Self { fixed_ns, per_mib_ns: 0, per_handle_ns: 0 }
    }

    /// The time a call takes that is about this many bytes in this many handles.
    #[must_use]
    pub const fn time_ns(self, bytes: Bytes, handles: u64) -> u64 {
        let for_bytes = bytes.get().saturating_mul(self.per_mib_ns) / Bytes::mib(1).get();
        let for_handles = handles.saturating_mul(self.per_handle_ns);
        self.fixed_ns.saturating_add(for_bytes).saturating_add(for_handles)
    }
}

/// What each call costs.
///
/// The defaults are assumptions, in the order of magnitude that is reported for drivers on
/// data-centre GPUs; they have not been measured on a GPU yet. They rank the calls: a whole
/// allocation is dear, and mapping is cheaper than giving access. They are no prediction for any
/// one machine. Put your own numbers in where you have them: `cargo bench --bench device` measures
/// them, as a model that can be read from its JSON.
///
/// Only the driver's work counts. Time spent waiting for the device is the clock's, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostModel {
    /// `cudaMalloc`: 100 us and 1 us for each MiB.
    pub malloc: CallCost,
    /// `cudaFree`: 150 us; it also waits for the device, which is not in this number.
    pub free: CallCost,
    /// `cuMemAddressReserve`: 5 us.
    pub address_reserve: CallCost,
    /// `cuMemAddressFree`: 5 us.
    pub address_free: CallCost,
    /// `cuMemCreate`: 20 us and 1 us for each MiB.
    pub create: CallCost,
    /// `cuMemRelease`: 10 us.
    pub release: CallCost,
    /// `cuMemMap`: 5 us for each handle.
    pub map: CallCost,
    /// `cuMemUnmap`: 15 us for each handle.
    pub unmap: CallCost,
    /// `cuMemSetAccess`: 20 us and 0.5 us for each MiB.
    pub set_access: CallCost,
    /// `cudaMemGetInfo`: 10 us.
    pub info: CallCost,
    /// `cudaEventCreate`, `…Destroy`, `…Record` and `…Query`, `cudaStreamWaitEvent` and
    /// `cudaStreamIsCapturing`: 1 us each.
    pub event: CallCost,
    /// `cudaStreamCreate` and `…Destroy`: 10 us each.
    pub stream: CallCost,
    /// `cudaEventSynchronize` and `cudaStreamSynchronize`: 1 us and the wait, which is not in this
    /// number.
    pub synchronize: CallCost,
}

impl CostModel {
    /// Calls that cost nothing.
    pub const FREE: Self = Self::all(CallCost::fixed(0));

    /// The same cost for every call.
    #[must_use]
    pub const fn all(cost: CallCost) -> Self {
        Self {
            malloc: cost,
            free: cost,
            address_reserve: cost,
            address_free: cost,
            create: cost,
            release: cost,
            map: cost,
            unmap: cost,
            set_access: cost,
            info: cost,
            event: cost,
            stream: cost,
            synchronize: cost,
        }
    }

    /// What this kind of call costs.
    #[must_use]
    pub const fn of(&self, call: Call) -> CallCost {
        match call {
            Call::Malloc => self.malloc,
            Call::Free => self.free,
            Call::AddressReserve => self.address_reserve,
            Call::AddressFree => self.address_free,
            Call::MemCreate => self.create,
            Call::MemRelease => self.release,
            Call::MemMap => self.map,
            Call::MemUnmap => self.unmap,
            Call::MemSetAccess => self.set_access,
            Call::MemGetInfo => self.info,
            Call::EventCreate
            | Call::EventDestroy
            | Call::EventRecord
            | Call::EventQuery
            | Call::StreamWaitEvent
            | Call::StreamIsCapturing => self.event,
            Call::StreamCreate | Call::StreamDestroy => self.stream,
            Call::EventSynchronize | Call::StreamSynchronize => self.synchronize,
        }
    }
}

impl Default for CostModel {
    fn default() -> Self {
        let with_mib = |fixed_ns, per_mib_ns| CallCost { fixed_ns, per_mib_ns, per_handle_ns: 0 };
        let per_handle = |per_handle_ns| CallCost { fixed_ns: 0, per_mib_ns: 0, per_handle_ns };
        Self {
            malloc: with_mib(100_000, 1_000),
            free: CallCost::fixed(150_000),
            address_reserve: CallCost::fixed(5_000),
            address_free: CallCost::fixed(5_000),
            create: with_mib(20_000, 1_000),
            release: CallCost::fixed(10_000),
            map: per_handle(5_000),
            unmap: per_handle(15_000),
            set_access: with_mib(20_000, 500),
            info: CallCost::fixed(10_000),
            event: CallCost::fixed(1_000),
            stream: CallCost::fixed(10_000),
            synchronize: CallCost::fixed(1_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use freeboard_device::{Memory, Order};
    use freeboard_units::AddressRange;

    use super::*;
    use crate::{SimConfig, SimDevice};

    #[test]
    fn time_adds_up_by_call_by_size_and_by_handle() {
        let device = SimDevice::new(Bytes::mib(20));
        let mut before = 0;
        let mut step = |expected_ns: u64| {
            let now = device.driver_time_ns();
            assert_eq!(now - before, expected_ns);
            before = now;
        };
        let range = device.reserve(Bytes::mib(8)).unwrap();
        step(5_000);
        for offset in [0, 4] {
            let handle = device.create(Bytes::mib(4)).unwrap();
            step(24_000);
            let half = AddressRange::new(range.start() + Bytes::mib(offset), Bytes::mib(4));
            device.map(half, handle).unwrap();
            step(5_000);
            device.release(handle).unwrap();
            step(10_000);
        }
        device.set_access(range).unwrap();
        step(24_000);
        device.unmap(range).unwrap();
        step(30_000);
        let address = device.allocate(Bytes::mib(10)).unwrap();
        step(110_000);
        device.allocate(Bytes::mib(11)).unwrap_err();
        step(100_000);
        device.free(address).unwrap();
        step(150_000);
        device.create_event().unwrap();
        step(1_000);
    }

    #[test]
    fn ones_own_numbers_replace_the_assumed_ones() {
        let per_mib = CallCost { fixed_ns: 1, per_mib_ns: 10, per_handle_ns: 100 };
        let cost = CostModel { free: per_mib, ..CostModel::FREE };
        let device = SimDevice::with_config(SimConfig { cost, ..SimConfig::new(Bytes::mib(20)) });
        let address = device.allocate(Bytes::mib(3)).unwrap();
        assert_eq!(device.driver_time_ns(), 0);
        device.free(address).unwrap();
        assert_eq!(device.driver_time_ns(), 1 + 4 * 10 + 100, "two granules of memory, one handle");
        assert_eq!(per_mib.time_ns(Bytes::MAX, u64::MAX), u64::MAX);
    }
}
