//! Which memory there is, where it lies, and who may touch it.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;

use crate::physical::{self, GRANULARITY};
use crate::state::{Answer, INVALID_VALUE, OUT_OF_MEMORY};

/// A whole allocation.
struct Allocation {
    size: u64,
    device: i32,
    /// Made in the order of a stream.
    pooled: bool,
}

/// Physical memory, alive as long as its handle or a mapping is.
struct Physical {
    /// A file of its own, if it may be shared with other processes.
    own: Option<OwnedFd>,
    offset: u64,
    size: u64,
    /// None: it came from elsewhere and is counted there.
    device: Option<i32>,
    shareable: bool,
    holds: u32,
    mappings: u32,
}

struct Mapping {
    size: u64,
    handle: u64,
    read: bool,
    write: bool,
}

/// Where memory begins and ends.
#[repr(C)]
pub(crate) struct Range {
    start: u64,
    end: u64,
}

pub(crate) struct Memory {
    /// Bytes that each device has.
    pub(crate) capacity: u64,
    used: HashMap<i32, u64>,
    allocations: BTreeMap<u64, Allocation>,
    pinned: BTreeMap<u64, u64>,
    reserved: BTreeMap<u64, u64>,
    mappings: BTreeMap<u64, Mapping>,
    handles: HashMap<u64, Physical>,
    next_handle: u64,
    common: Option<OwnedFd>,
    common_end: u64,
}

/// How many of each there are.
#[derive(Clone, Copy)]
pub(crate) struct Count {
    pub(crate) allocations: usize,
    pub(crate) pinned: usize,
    pub(crate) reservations: usize,
    pub(crate) mappings: usize,
    pub(crate) handles: usize,
}

impl Memory {
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            used: HashMap::new(),
            allocations: BTreeMap::new(),
            pinned: BTreeMap::new(),
            reserved: BTreeMap::new(),
            mappings: BTreeMap::new(),
            handles: HashMap::new(),
            next_handle: 0x4000,
            common: None,
            common_end: 0,
        }
    }

    pub(crate) fn count(&self) -> Count {
        Count {
            allocations: self.allocations.len(),
            pinned: self.pinned.len(),
            reservations: self.reserved.len(),
            mappings: self.mappings.len(),
            handles: self.handles.values().filter(|physical| physical.holds > 0).count(),
        }
    }

    pub(crate) fn used(&self, device: i32) -> u64 {
        self.used.get(&device).copied().unwrap_or(0)
    }

    fn take(&mut self, device: i32, size: u64) -> Answer {
        let used = self.used.entry(device).or_default();
        let after = used.checked_add(size).filter(|&after| after <= self.capacity);
        *used = after.ok_or(OUT_OF_MEMORY)?;
        Ok(())
    }

    fn give(&mut self, device: i32, size: u64) {
        *self.used.entry(device).or_default() -= size;
    }

    pub(crate) fn allocate(&mut self, size: u64, device: i32, pooled: bool) -> Answer<u64> {
        if size == 0 {
            return Err(INVALID_VALUE);
        }
        self.take(device, size)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let start = physical::reserve(size, protection, false);
        match start {
            Ok(start) => {
                self.allocations.insert(start, Allocation { size, device, pooled });
            }
            Err(_) => self.give(device, size),
        }
        start
    }

    pub(crate) fn free(&mut self, start: u64, in_order: bool) -> Answer {
        let found = self.allocations.get(&start).ok_or(INVALID_VALUE)?;
        if in_order && !found.pooled {
            return Err(INVALID_VALUE);
        }
        let (size, device) = (found.size, found.device);
        self.allocations.remove(&start);
        self.give(device, size);
        physical::unreserve(start, size);
        Ok(())
    }

    pub(crate) fn pin(&mut self, size: u64) -> Answer<u64> {
        if size == 0 {
            return Err(INVALID_VALUE);
        }
        let start = physical::reserve(size, libc::PROT_READ | libc::PROT_WRITE, false)?;
        self.pinned.insert(start, size);
        Ok(start)
    }

    pub(crate) fn unpin(&mut self, start: u64) -> Answer {
        let size = self.pinned.remove(&start).ok_or(INVALID_VALUE)?;
        physical::unreserve(start, size);
        Ok(())
    }

    pub(crate) fn reserve(&mut self, size: u64) -> Answer<u64> {
        whole(size)?;
        let start = physical::reserve(size, libc::PROT_NONE, true)?;
        self.reserved.insert(start, size);
        Ok(start)
    }

    pub(crate) fn unreserve(&mut self, start: u64, size: u64) -> Answer {
        let exact = self.reserved.get(&start) == Some(&size);
        if !exact || self.mappings.range(start..start + size).next().is_some() {
            return Err(INVALID_VALUE);
        }
        self.reserved.remove(&start);
        physical::unreserve(start, size);
        Ok(())
    }

    pub(crate) fn create(&mut self, size: u64, device: i32, shareable: bool) -> Answer<u64> {
        whole(size)?;
        self.take(device, size)?;
        let made = self.lay_down(size, shareable);
        let Ok((own, offset)) = made else {
            self.give(device, size);
            return Err(OUT_OF_MEMORY);
        };
        let device = Some(device);
        Ok(self.enlist(Physical { own, offset, size, device, shareable, holds: 1, mappings: 0 }))
    }

    /// Memory in a file of its own, or in the one that all others share.
    fn lay_down(&mut self, size: u64, shareable: bool) -> Answer<(Option<OwnedFd>, u64)> {
        if shareable {
            let own = physical::file()?;
            physical::extend(&own, size)?;
            return Ok((Some(own), 0));
        }
        if self.common.is_none() {
            self.common = Some(physical::file()?);
        }
        let (Some(common), offset) = (&self.common, self.common_end) else {
            return Err(OUT_OF_MEMORY);
        };
        physical::extend(common, offset + size)?;
        self.common_end += size;
        Ok((None, offset))
    }

    fn enlist(&mut self, physical: Physical) -> u64 {
        self.next_handle += 0x10;
        self.handles.insert(self.next_handle, physical);
        self.next_handle
    }

    /// Memory that another process, or another copy of this driver, gave away.
    pub(crate) fn import(&mut self, file: OwnedFd) -> Answer<u64> {
        let size = std::fs::File::from(file.try_clone().map_err(|_| OUT_OF_MEMORY)?)
            .metadata()
            .map_err(|_| INVALID_VALUE)?
            .len();
        whole(size)?;
        let own = Some(file);
        Ok(self.enlist(Physical {
            own,
            offset: 0,
            size,
            device: None,
            shareable: true,
            holds: 1,
            mappings: 0,
        }))
    }

    pub(crate) fn export(&self, handle: u64) -> Answer<OwnedFd> {
        let physical = self.handles.get(&handle).filter(|physical| physical.holds > 0);
        let physical = physical.filter(|physical| physical.shareable).ok_or(INVALID_VALUE)?;
        let file = physical.own.as_ref().ok_or(INVALID_VALUE)?;
        file.try_clone().map_err(|_| OUT_OF_MEMORY)
    }

    pub(crate) fn release(&mut self, handle: u64) -> Answer {
        let physical = self.handles.get_mut(&handle).filter(|physical| physical.holds > 0);
        physical.ok_or(INVALID_VALUE)?.holds -= 1;
        self.sweep(handle);
        Ok(())
    }

    /// Lets physical memory go that has neither a handle nor a mapping.
    fn sweep(&mut self, handle: u64) {
        let idle = |physical: &&Physical| physical.holds == 0 && physical.mappings == 0;
        let Some(physical) = self.handles.get(&handle).filter(idle) else { return };
        let (device, size, offset) = (physical.device, physical.size, physical.offset);
        if physical.own.is_none()
            && let Some(common) = &self.common
        {
            physical::punch(common, offset, size);
        }
        self.handles.remove(&handle);
        if let Some(device) = device {
            self.give(device, size);
        }
    }

    pub(crate) fn map(&mut self, start: u64, size: u64, handle: u64) -> Answer {
        whole(size)?;
        let end = start.checked_add(size).ok_or(INVALID_VALUE)?;
        let inside = self.reserved.range(..=start).next_back();
        if inside.is_none_or(|(&first, &length)| end > first + length)
            || !start.is_multiple_of(GRANULARITY)
            || self.mapped_before(start).is_some()
            || self.mappings.range(start..end).next().is_some()
        {
            return Err(INVALID_VALUE);
        }
        let physical = self.handles.get_mut(&handle).filter(|physical| physical.holds > 0);
        let physical = physical.filter(|physical| physical.size == size).ok_or(INVALID_VALUE)?;
        let file = physical.own.as_ref().or(self.common.as_ref()).ok_or(INVALID_VALUE)?;
        physical::map(start, size, file, physical.offset)?;
        physical.mappings += 1;
        self.mappings.insert(start, Mapping { size, handle, read: false, write: false });
        Ok(())
    }

    /// The start of the mapping that holds `address` and begins before it.
    fn mapped_before(&self, address: u64) -> Option<u64> {
        let (&start, mapping) = self.mappings.range(..address).next_back()?;
        (start + mapping.size > address).then_some(start)
    }

    /// The starts of the mappings that make up a range exactly, without a gap.
    fn tile(&self, start: u64, size: u64) -> Answer<Vec<u64>> {
        let end = start.checked_add(size).filter(|&end| end > start).ok_or(INVALID_VALUE)?;
        let (mut at, mut found) = (start, Vec::new());
        while at < end {
            found.push(at);
            at += self.mappings.get(&at).ok_or(INVALID_VALUE)?.size;
        }
        if at == end { Ok(found) } else { Err(INVALID_VALUE) }
    }

    pub(crate) fn unmap(&mut self, start: u64, size: u64) -> Answer {
        for at in self.tile(start, size)? {
            if let Some(mapping) = self.mappings.remove(&at) {
                physical::unmap(at, mapping.size)?;
                if let Some(physical) = self.handles.get_mut(&mapping.handle) {
                    physical.mappings -= 1;
                }
                self.sweep(mapping.handle);
            }
        }
        Ok(())
    }

    /// `flags`: 0 none, 1 read, 3 read and write.
    pub(crate) fn set_access(&mut self, start: u64, size: u64, flags: i32) -> Answer {
        let (protection, read, write) = match flags {
            0 => (libc::PROT_NONE, false, false),
            1 => (libc::PROT_READ, true, false),
            3 => (libc::PROT_READ | libc::PROT_WRITE, true, true),
            _ => return Err(INVALID_VALUE),
        };
        for at in self.tile(start, size)? {
            if let Some(mapping) = self.mappings.get_mut(&at) {
                physical::protect(at, mapping.size, protection)?;
                (mapping.read, mapping.write) = (read, write);
            }
        }
        Ok(())
    }

    /// Whether the device may read, or write, all of a range.
    pub(crate) fn open(&self, start: u64, size: u64, write: bool) -> bool {
        let Some(end) = start.checked_add(size) else { return false };
        let mut at = start;
        while at < end {
            let Some(range) = self.around(at, write) else { return false };
            at = range.end;
        }
        true
    }

    /// The allocation or mapping around an address, if the device may read it, or write it.
    pub(crate) fn around(&self, address: u64, write: bool) -> Option<Range> {
        let whole = self.allocations.range(..=address).next_back();
        let pinned = self.pinned.range(..=address).next_back();
        let mapping = self.mappings.range(..=address).next_back();
        let mapping = mapping.filter(|(_, found)| if write { found.write } else { found.read });
        let found = [
            whole.map(|(&start, found)| (start, found.size)),
            pinned.map(|(&start, &size)| (start, size)),
            mapping.map(|(&start, found)| (start, found.size)),
        ];
        let ranges =
            found.into_iter().flatten().map(|(start, size)| Range { start, end: start + size });
        ranges.into_iter().find(|range| address < range.end)
    }
}

/// Sizes are multiples of the granularity, and not zero.
fn whole(size: u64) -> Answer {
    if size > 0 && size.is_multiple_of(GRANULARITY) { Ok(()) } else { Err(INVALID_VALUE) }
}
