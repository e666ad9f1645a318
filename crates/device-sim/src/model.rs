//! [`Model`]: what the device is like at a moment, and the one thing each call does to it.

use std::collections::BTreeMap;

use freeboard_device::Handle;
use freeboard_units::{Address, AddressRange, Bytes};

use crate::SimConfig;
use crate::address_space::AddressSpace;
use crate::call::Refusal;
use crate::clock::Clock;
use crate::mapping::VirtualMemory;
use crate::physical::PhysicalMemory;

/// All that calls can change. Whatever refuses a call leaves the whole model as it was; tests
/// compare it before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    granularity: Bytes,
    pub(crate) physical: PhysicalMemory,
    pub(crate) virtual_memory: VirtualMemory,
    pub(crate) clock: Clock,
    space: AddressSpace,
    /// Start to size in whole granules.
    allocations: BTreeMap<Address, Bytes>,
}

impl Model {
    pub(crate) fn new(config: &SimConfig) -> Self {
        let space = |range| AddressSpace::new(range, config.granularity);
        Self {
            granularity: config.granularity,
            physical: PhysicalMemory::new(config.capacity, config.context),
            virtual_memory: VirtualMemory::new(space(config.reservations)),
            clock: Clock::with_lag(config.event_lag_ticks),
            space: space(config.allocations),
            allocations: BTreeMap::new(),
        }
    }

    /// The whole allocation that begins at `address`.
    pub(crate) fn allocation_at(&self, address: Address) -> Option<AddressRange> {
        self.allocations.get(&address).map(|&size| AddressRange::new(address, size))
    }

    pub(crate) fn allocation_count(&self) -> usize {
        self.allocations.len()
    }

    pub(crate) fn allocate(&mut self, size: Bytes) -> Result<Address, Refusal> {
        if size.is_zero() {
            return Err(no_bytes());
        }
        let granules = size.checked_align_up(self.granularity);
        let granules = granules
            .filter(|&granules| self.physical.fits(granules))
            .ok_or(Refusal::OutOfMemory(size))?;
        let start = self.space.take(granules).ok_or(Refusal::OutOfMemory(size))?;
        self.physical.take(granules);
        self.allocations.insert(start, granules);
        Ok(start)
    }

    /// Frees an allocation, waits for the device, and tells how much memory came back.
    pub(crate) fn free(&mut self, address: Address) -> Result<Bytes, Refusal> {
        let Some(granules) = self.allocations.remove(&address) else {
            return Err(Refusal::Invalid(format!("no allocation begins at {address}")));
        };
        self.space.give(AddressRange::new(address, granules));
        self.physical.give(granules);
        self.clock.drain();
        Ok(granules)
    }

    pub(crate) fn reserve(&mut self, size: Bytes) -> Result<AddressRange, Refusal> {
        self.check_size(size)?;
        self.virtual_memory.reserve(size)
    }

    pub(crate) fn unreserve(&mut self, range: AddressRange) -> Result<(), Refusal> {
        self.check_range(range)?;
        self.virtual_memory.unreserve(range)
    }

    pub(crate) fn create(&mut self, size: Bytes) -> Result<Handle, Refusal> {
        self.check_size(size)?;
        self.physical.create(size)
    }

    pub(crate) fn map(&mut self, range: AddressRange, handle: Handle) -> Result<(), Refusal> {
        self.check_range(range)?;
        let size = self.physical.mappable(handle)?;
        if size != range.size() {
            let reason = format!("handle {} has {size}, {range} does not", handle.get());
            return Err(Refusal::Invalid(reason));
        }
        self.virtual_memory.map(range, handle)?;
        self.physical.add_mapping(handle);
        Ok(())
    }

    /// Opens a range and tells how many mappings it holds.
    pub(crate) fn set_access(&mut self, range: AddressRange) -> Result<u64, Refusal> {
        self.check_range(range)?;
        self.virtual_memory.set_access(range)
    }

    /// Unmaps a range and tells how many mappings it held.
    pub(crate) fn unmap(&mut self, range: AddressRange) -> Result<u64, Refusal> {
        self.check_range(range)?;
        let handles = self.virtual_memory.unmap(range)?;
        for &handle in &handles {
            self.physical.drop_mapping(handle);
        }
        Ok(handles.len() as u64)
    }

    /// The mappings that begin in `range`, lowest address first.
    pub(crate) fn mappings_in(&self, range: AddressRange) -> Vec<(AddressRange, Handle)> {
        let within = is_range(range).then(|| self.virtual_memory.within(range));
        within.into_iter().flatten().collect()
    }

    /// Whether the device may read and write every byte of `range`.
    pub(crate) fn can_access(&self, range: AddressRange) -> bool {
        if !is_range(range) {
            return false;
        }
        let below = self.allocations.range(..=range.start()).next_back();
        let allocated =
            below.is_some_and(|(&start, &size)| AddressRange::new(start, size).covers(range));
        allocated || self.virtual_memory.can_access(range)
    }

    fn check_size(&self, size: Bytes) -> Result<(), Refusal> {
        if size.is_zero() {
            return Err(no_bytes());
        }
        if !size.is_aligned(self.granularity) {
            let (bytes, unit) = (size.get(), self.granularity.get());
            let reason = format!("{bytes} bytes are no multiple of the granularity, {unit} bytes");
            return Err(Refusal::Invalid(reason));
        }
        Ok(())
    }

    fn check_range(&self, range: AddressRange) -> Result<(), Refusal> {
        self.check_size(range.size())?;
        if !is_range(range) {
            let reason = format!("the addresses from {} on are not that many", range.start());
            return Err(Refusal::Invalid(reason));
        }
        if !range.start().get().is_multiple_of(self.granularity.get()) {
            let (start, unit) = (range.start(), self.granularity.get());
            let reason = format!("{start} is no multiple of the granularity, {unit} bytes");
            return Err(Refusal::Invalid(reason));
        }
        Ok(())
    }
}

/// Whether `range` holds anything and ends before the addresses do. Only then may its end be asked.
fn is_range(range: AddressRange) -> bool {
    !range.size().is_zero() && range.start().get().checked_add(range.size().get()).is_some()
}

fn no_bytes() -> Refusal {
    Refusal::Invalid("zero bytes".to_owned())
}

#[cfg(test)]
mod tests;
