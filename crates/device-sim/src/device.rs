//! [`SimDevice`]: the device, one lock around its state, and the two traits it implements.

use freeboard_device::{DeviceError, Handle, Memory, MemoryInfo, Order, Result};
use freeboard_units::{Address, AddressRange, Bytes, DeviceId, EventId, StreamId};
use parking_lot::Mutex;

use crate::call::{Counters, Refusal};
use crate::call_log::{Argument, CallLog, LoggedCall};
use crate::fault::Faults;
use crate::model::Model;
use crate::{Call, CostModel};

/// What a simulated device is like. Start from [`SimConfig::new`] and change what matters:
///
/// ```
/// use freeboard_device_sim::{SimConfig, SimDevice};
/// use freeboard_units::Bytes;
///
/// let config = SimConfig { event_lag_ticks: 3, ..SimConfig::new(Bytes::gib(80)) };
/// let device = SimDevice::with_config(config);
/// # assert!(device.is_empty());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimConfig {
    /// The physical memory there is, in bytes.
    pub capacity: Bytes,
    /// The unit of physical memory and of addresses: 2 MiB, as on today's GPUs. Not zero.
    pub granularity: Bytes,
    /// How many ticks after its recording an event is done; zero: at once.
    pub event_lag_ticks: u64,
    /// Bytes that are gone from the start, as a CUDA context takes some; none.
    pub context: Bytes,
    /// Which device this is; number 0.
    pub id: DeviceId,
    /// Where whole allocations lie: 31 TiB from address 2⁴⁴ on.
    pub allocations: AddressRange,
    /// Where reservations lie: 32 TiB from address 3 × 2⁴⁴ on.
    pub reservations: AddressRange,
    /// What the calls cost, see [`SimDevice::driver_time_ns`].
    pub cost: CostModel,
}

impl SimConfig {
    /// A device of this capacity; everything else as the fields' documentation says.
    #[must_use]
    pub fn new(capacity: Bytes) -> Self {
        Self {
            capacity,
            granularity: Bytes::mib(2),
            event_lag_ticks: 0,
            context: Bytes::ZERO,
            id: DeviceId::new(0),
            allocations: AddressRange::new(Address::new(0x1000_0000_0000), Bytes::gib(31 << 10)),
            reservations: AddressRange::new(Address::new(0x3000_0000_0000), Bytes::gib(32 << 10)),
            cost: CostModel::default(),
        }
    }
}

/// A device with no memory behind its addresses and no patience for wrong calls.
///
/// Besides [`Memory`] and [`Order`] it has methods to look inside and to steer time and failure;
/// lend it to an allocator as `&SimDevice` or `Arc<SimDevice>` and keep using them. It may be
/// shared between threads. A stream exists as soon as it is named.
///
/// # Examples
///
/// ```
/// use freeboard_device::Order;
/// use freeboard_device_sim::{SimConfig, SimDevice};
/// use freeboard_units::{Bytes, StreamId};
///
/// let config = SimConfig { event_lag_ticks: 5, ..SimConfig::new(Bytes::gib(1)) };
/// let device = SimDevice::with_config(config);
/// let event = device.create_event()?;
/// device.record(event, StreamId::new(7))?;
/// device.advance(4);
/// assert!(!device.is_done(event)?);
/// device.wait(event)?;
/// assert_eq!(device.now(), 5);
/// # Ok::<(), freeboard_device::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct SimDevice {
    id: DeviceId,
    granularity: Bytes,
    pub(crate) state: Mutex<State>,
}

/// The model, and all that is kept about the calls made to it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) model: Model,
    pub(crate) counters: Counters,
    pub(crate) faults: Faults,
    pub(crate) log: CallLog,
    pub(crate) driver_time_ns: u64,
    pub(crate) violations: u64,
    pub(crate) first_violation: Option<DeviceError>,
    cost: CostModel,
}

/// How much a call had to do, for its cost.
struct Work {
    bytes: Bytes,
    handles: u64,
}

impl SimDevice {
    /// A device of this capacity, otherwise as [`SimConfig::new`] has it.
    #[must_use]
    pub fn new(capacity: Bytes) -> Self {
        Self::with_config(SimConfig::new(capacity))
    }

    /// A device like this.
    ///
    /// # Panics
    /// When the granularity is zero.
    #[must_use]
    pub fn with_config(config: SimConfig) -> Self {
        assert!(!config.granularity.is_zero(), "the granularity of a device is not zero");
        let state = State {
            model: Model::new(&config),
            counters: Counters::default(),
            faults: Faults::default(),
            log: CallLog::default(),
            driver_time_ns: 0,
            violations: 0,
            first_violation: None,
            cost: config.cost,
        };
        Self { id: config.id, granularity: config.granularity, state: Mutex::new(state) }
    }

    fn call<T>(
        &self,
        call: Call,
        argument: Argument,
        act: impl FnOnce(&mut Model, &mut Work) -> std::result::Result<T, Refusal>,
    ) -> Result<T> {
        self.state.lock().call(call, argument, act)
    }
}

impl State {
    /// Every call of either trait passes here: it is counted, faulted or done, paid and logged.
    fn call<T>(
        &mut self,
        call: Call,
        argument: Argument,
        act: impl FnOnce(&mut Model, &mut Work) -> std::result::Result<T, Refusal>,
    ) -> Result<T> {
        self.counters.count(call);
        let mut work = Work { bytes: argument.size(), handles: 1 };
        let result = match self.faults.next(call, argument.size()) {
            Some(fault) => Err(fault),
            None => act(&mut self.model, &mut work).map_err(|refusal| refusal.into_error(call)),
        };
        let cost = self.cost.of(call);
        let time_ns = match &result {
            Ok(_) => cost.time_ns(work.bytes, work.handles),
            Err(error) => {
                self.note_failure(call, error);
                cost.fixed_ns
            }
        };
        self.driver_time_ns = self.driver_time_ns.saturating_add(time_ns);
        self.log.push(LoggedCall { call, argument, ok: result.is_ok() });
        result
    }

    fn note_failure(&mut self, call: Call, error: &DeviceError) {
        match error {
            DeviceError::OutOfMemory { .. } => self.counters.count_oom(call),
            DeviceError::InvalidCall { .. } => {
                self.violations += 1;
                self.first_violation.get_or_insert_with(|| error.clone());
            }
            _ => {}
        }
    }
}

impl Memory for SimDevice {
    fn id(&self) -> DeviceId {
        self.id
    }

    fn info(&self) -> Result<MemoryInfo> {
        self.call(Call::MemGetInfo, Argument::Nothing, |model, _| Ok(model.physical.info()))
    }

    fn granularity(&self) -> Bytes {
        self.granularity
    }

    fn allocate(&self, size: Bytes) -> Result<Address> {
        self.call(Call::Malloc, Argument::Size(size), |model, _| model.allocate(size))
    }

    fn free(&self, address: Address) -> Result<()> {
        self.call(Call::Free, Argument::Address(address), |model, work| {
            work.bytes = model.free(address)?;
            Ok(())
        })
    }

    fn reserve(&self, size: Bytes) -> Result<AddressRange> {
        self.call(Call::AddressReserve, Argument::Size(size), |model, _| model.reserve(size))
    }

    fn unreserve(&self, range: AddressRange) -> Result<()> {
        self.call(Call::AddressFree, Argument::Range(range), |model, _| model.unreserve(range))
    }

    fn create(&self, size: Bytes) -> Result<Handle> {
        self.call(Call::MemCreate, Argument::Size(size), |model, _| model.create(size))
    }

    fn release(&self, handle: Handle) -> Result<()> {
        self.call(Call::MemRelease, Argument::Handle(handle), |model, work| {
            work.bytes = model.physical.release(handle)?;
            Ok(())
        })
    }

    fn map(&self, range: AddressRange, handle: Handle) -> Result<()> {
        self.call(Call::MemMap, Argument::Mapping(range, handle), |model, _| {
            model.map(range, handle)
        })
    }

    /// As a driver does, asks for whole mappings: a range that ends inside one is refused.
    fn set_access(&self, range: AddressRange) -> Result<()> {
        self.call(Call::MemSetAccess, Argument::Range(range), |model, work| {
            work.handles = model.set_access(range)?;
            Ok(())
        })
    }

    fn unmap(&self, range: AddressRange) -> Result<()> {
        self.call(Call::MemUnmap, Argument::Range(range), |model, work| {
            work.handles = model.unmap(range)?;
            Ok(())
        })
    }
}

impl Order for SimDevice {
    fn create_stream(&self) -> Result<StreamId> {
        self.call(Call::StreamCreate, Argument::Nothing, |model, _| Ok(model.clock.create_stream()))
    }

    /// Streams that were only named may be given up, too.
    fn destroy_stream(&self, stream: StreamId) -> Result<()> {
        self.call(Call::StreamDestroy, Argument::Stream(stream), |_, _| {
            let default = stream == StreamId::DEFAULT;
            let refusal = || Refusal::Invalid("the default stream stays".to_owned());
            (!default).then_some(()).ok_or_else(refusal)
        })
    }

    fn create_event(&self) -> Result<EventId> {
        self.call(Call::EventCreate, Argument::Nothing, |model, _| Ok(model.clock.create_event()))
    }

    fn destroy_event(&self, event: EventId) -> Result<()> {
        self.call(Call::EventDestroy, Argument::Event(event), |model, _| {
            model.clock.destroy_event(event)
        })
    }

    fn record(&self, event: EventId, stream: StreamId) -> Result<()> {
        self.call(Call::EventRecord, Argument::Mark(event, stream), |model, _| {
            model.clock.record(event)
        })
    }

    fn is_done(&self, event: EventId) -> Result<bool> {
        self.call(Call::EventQuery, Argument::Event(event), |model, _| model.clock.is_done(event))
    }

    fn wait(&self, event: EventId) -> Result<()> {
        self.call(Call::EventSynchronize, Argument::Event(event), |model, _| {
            model.clock.wait(event)
        })
    }

    fn synchronize_stream(&self, stream: StreamId) -> Result<()> {
        self.call(Call::StreamSynchronize, Argument::Stream(stream), |model, _| {
            model.clock.drain();
            Ok(())
        })
    }

    fn stream_wait(&self, stream: StreamId, event: EventId) -> Result<()> {
        self.call(Call::StreamWaitEvent, Argument::Mark(event, stream), |model, _| {
            model.clock.is_done(event).map(drop)
        })
    }

    /// Nothing is ever captured here.
    fn is_capturing(&self, stream: StreamId) -> Result<bool> {
        self.call(Call::StreamIsCapturing, Argument::Stream(stream), |_, _| Ok(false))
    }
}

#[cfg(test)]
mod tests;
