//! [`VirtualMemory`]: reserved addresses, and which memory lies under them.

use std::collections::BTreeMap;

use freeboard_device::Handle;
use freeboard_units::{Address, AddressRange, Bytes};

use crate::address_space::AddressSpace;
use crate::call::Refusal;

/// The reservations and the mappings in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VirtualMemory {
    space: AddressSpace,
    /// Start to size; no two overlap.
    reservations: BTreeMap<Address, Bytes>,
    /// By start; no two overlap, and each lies inside one reservation.
    mappings: BTreeMap<Address, Mapping>,
}

/// All of a handle's memory at one range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapping {
    size: Bytes,
    handle: Handle,
    accessible: bool,
}

impl VirtualMemory {
    pub(crate) fn new(space: AddressSpace) -> Self {
        Self { space, reservations: BTreeMap::new(), mappings: BTreeMap::new() }
    }

    pub(crate) fn reservation_count(&self) -> usize {
        self.reservations.len()
    }

    pub(crate) fn mapping_count(&self) -> usize {
        self.mappings.len()
    }

    pub(crate) fn reserve(&mut self, size: Bytes) -> Result<AddressRange, Refusal> {
        let start = self.space.take(size).ok_or(Refusal::OutOfMemory(size))?;
        self.reservations.insert(start, size);
        Ok(AddressRange::new(start, size))
    }

    pub(crate) fn unreserve(&mut self, range: AddressRange) -> Result<(), Refusal> {
        match self.reservations.get(&range.start()) {
            None => return Err(invalid(format!("no reservation begins at {}", range.start()))),
            Some(&size) if size != range.size() => {
                return Err(invalid(format!("the reservation at {} has {size}", range.start())));
            }
            Some(_) => {}
        }
        if let Some(mapping) = self.first_in(range) {
            return Err(invalid(format!("{mapping} is still mapped")));
        }
        self.reservations.remove(&range.start());
        self.space.give(range);
        Ok(())
    }

    pub(crate) fn map(&mut self, range: AddressRange, handle: Handle) -> Result<(), Refusal> {
        let reservation = self.reservations.range(..=range.start()).next_back();
        let inside =
            reservation.is_some_and(|(&start, &size)| AddressRange::new(start, size).covers(range));
        if !inside {
            return Err(invalid(format!("{range} lies in no one reservation")));
        }
        if let Some(mapping) = self.first_in(range) {
            return Err(invalid(format!("{mapping} is mapped already")));
        }
        let mapping = Mapping { size: range.size(), handle, accessible: false };
        self.mappings.insert(range.start(), mapping);
        Ok(())
    }

    /// Opens all of `range` and tells how many mappings it holds.
    pub(crate) fn set_access(&mut self, range: AddressRange) -> Result<u64, Refusal> {
        self.check_whole_mappings(range)?;
        let mut count = 0;
        for (_, mapping) in self.mappings.range_mut(range.start()..range.end()) {
            mapping.accessible = true;
            count += 1;
        }
        Ok(count)
    }

    /// Takes the mappings out of `range`, lowest address first, and tells which memory was there.
    pub(crate) fn unmap(&mut self, range: AddressRange) -> Result<Vec<Handle>, Refusal> {
        self.check_whole_mappings(range)?;
        let mut handles = Vec::new();
        let mut at = range.start();
        while at < range.end()
            && let Some(mapping) = self.mappings.remove(&at)
        {
            handles.push(mapping.handle);
            at = at + mapping.size;
        }
        Ok(handles)
    }

    /// The mappings that begin in `range`, lowest address first.
    pub(crate) fn within(
        &self,
        range: AddressRange,
    ) -> impl Iterator<Item = (AddressRange, Handle)> {
        let within = self.mappings.range(range.start()..range.end());
        within.map(|(&start, mapping)| (AddressRange::new(start, mapping.size), mapping.handle))
    }

    /// Whether every byte of `range` is mapped and accessible.
    pub(crate) fn can_access(&self, range: AddressRange) -> bool {
        let first = self.mappings.range(..=range.start()).next_back().map(|(&start, _)| start);
        // Where the first one ends below the range, the next one begins too late.
        let mut at = range.start();
        for (&start, mapping) in self.mappings.range(first.unwrap_or(at)..range.end()) {
            if start > at || !mapping.accessible {
                return false;
            }
            at = start + mapping.size;
        }
        at >= range.end()
    }

    /// The lowest mapping that shares an address with `range`.
    fn first_in(&self, range: AddressRange) -> Option<AddressRange> {
        let whole =
            |(&start, mapping): (&Address, &Mapping)| AddressRange::new(start, mapping.size);
        let below = self.mappings.range(..range.start()).next_back().map(whole);
        below
            .filter(|below| below.overlaps(range))
            .or_else(|| self.mappings.range(range.start()..range.end()).next().map(whole))
    }

    fn check_whole_mappings(&self, range: AddressRange) -> Result<(), Refusal> {
        let mut at = range.start();
        for (&start, mapping) in self.mappings.range(at..range.end()) {
            if start != at {
                break;
            }
            at = at + mapping.size;
        }
        if at == range.end() {
            return Ok(());
        }
        Err(invalid(if at > range.end() {
            format!("{range} ends inside the mapping that ends at {at}")
        } else {
            format!("no mapping begins at {at}")
        }))
    }
}

fn invalid(reason: String) -> Refusal {
    Refusal::Invalid(reason)
}
