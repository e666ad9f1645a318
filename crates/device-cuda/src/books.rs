//! What the device remembers of its memory: sizes that the driver does not tell, and what is where,
//! so that a wrong call is refused with a reason before it reaches the driver.

use std::collections::BTreeMap;

use freeboard_device::Handle;
use freeboard_units::{Address, AddressRange, Bytes};
use rustc_hash::{FxHashMap, FxHashSet};

/// Plain data; no driver calls. Every check says in words what is wrong.
#[derive(Debug)]
pub(crate) struct Books {
    granularity: Bytes,
    allocations: FxHashSet<Address>,
    reserved: BTreeMap<Address, Bytes>,
    mapped: BTreeMap<Address, Bytes>,
    /// The size, and how often the driver gave this handle out: importing gives one again.
    handles: FxHashMap<Handle, (Bytes, u32)>,
}

pub(crate) type Verdict<T = ()> = Result<T, String>;

/// Where a range ends, if that is a number at all.
fn end(range: AddressRange) -> Verdict<Address> {
    let end = Bytes::new(range.start().get()).checked_add(range.size());
    let end = end.filter(|_| !range.size().is_zero());
    end.map(|end| Address::new(end.get()))
        .ok_or_else(|| format!("a range of {} at {} is none", range.size(), range.start()))
}

impl Books {
    pub(crate) fn new(granularity: Bytes) -> Self {
        Self {
            granularity,
            allocations: FxHashSet::default(),
            reserved: BTreeMap::new(),
            mapped: BTreeMap::new(),
            handles: FxHashMap::default(),
        }
    }

    /// Sizes are whole pages, and not zero.
    pub(crate) fn check_size(&self, size: Bytes) -> Verdict {
        if size.is_zero() || !size.is_aligned(self.granularity) {
            return Err(format!("{size} are not a multiple of {}", self.granularity));
        }
        Ok(())
    }

    pub(crate) fn add_allocation(&mut self, address: Address) {
        self.allocations.insert(address);
    }

    pub(crate) fn take_allocation(&mut self, address: Address) -> Verdict {
        let taken = self.allocations.remove(&address);
        if taken { Ok(()) } else { Err(format!("nothing was allocated at {address}")) }
    }

    pub(crate) fn add_reservation(&mut self, range: AddressRange) {
        self.reserved.insert(range.start(), range.size());
    }

    pub(crate) fn check_unreserve(&self, range: AddressRange) -> Verdict {
        let end = end(range)?;
        if self.reserved.get(&range.start()) != Some(&range.size()) {
            return Err(format!("{range} is not a reserved range"));
        }
        match self.mapped.range(range.start()..end).next() {
            Some((start, _)) => Err(format!("{start} in {range} is still mapped")),
            None => Ok(()),
        }
    }

    pub(crate) fn remove_reservation(&mut self, range: AddressRange) {
        self.reserved.remove(&range.start());
    }

    pub(crate) fn add_handle(&mut self, handle: Handle, size: Bytes) {
        self.handles.entry(handle).or_insert((size, 0)).1 += 1;
    }

    pub(crate) fn check_handle(&self, handle: Handle) -> Verdict<Bytes> {
        let known = self.handles.get(&handle).map(|&(size, _)| size);
        known.ok_or_else(|| format!("there is no handle {}", handle.get()))
    }

    pub(crate) fn remove_handle(&mut self, handle: Handle) {
        if let Some((_, count)) = self.handles.get_mut(&handle) {
            *count -= 1;
            if *count == 0 {
                self.handles.remove(&handle);
            }
        }
    }

    pub(crate) fn check_map(&self, range: AddressRange, handle: Handle) -> Verdict {
        let end = end(range)?;
        let size = self.check_handle(handle)?;
        if size != range.size() {
            return Err(format!("{range} has {}, its handle {size}", range.size()));
        }
        let around = self.reserved.range(..=range.start()).next_back();
        if around.is_none_or(|(&start, &size)| start + size < end) {
            return Err(format!("{range} is not within a reserved range"));
        }
        let last = self.mapped.range(..end).next_back();
        match last.filter(|&(&start, &size)| start + size > range.start()) {
            Some((start, _)) => Err(format!("{range} overlaps what is mapped at {start}")),
            None => Ok(()),
        }
    }

    pub(crate) fn add_mapping(&mut self, range: AddressRange) {
        self.mapped.insert(range.start(), range.size());
    }

    /// A range must be made of whole mappings, without a gap.
    pub(crate) fn check_mapped(&self, range: AddressRange) -> Verdict {
        let end = end(range)?;
        let mut at = range.start();
        while at < end {
            let size = self.mapped.get(&at);
            at = at + *size.ok_or_else(|| format!("no mapping of {range} begins at {at}"))?;
        }
        if at == end { Ok(()) } else { Err(format!("{range} ends within a mapping")) }
    }

    pub(crate) fn remove_mappings(&mut self, range: AddressRange) {
        let mut at = range.start();
        while at < range.end() {
            let Some(size) = self.mapped.remove(&at) else { break };
            at = at + size;
        }
    }
}
