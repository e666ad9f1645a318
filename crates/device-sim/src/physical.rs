//! [`PhysicalMemory`]: how many bytes are used, and the handles that use them.

use freeboard_device::{Handle, MemoryInfo};
use freeboard_units::Bytes;
use rustc_hash::FxHashMap;

use crate::call::Refusal;

/// The bytes of the device, without addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PhysicalMemory {
    capacity: Bytes,
    /// The context, all whole allocations and all of `handles`. May exceed the capacity only where
    /// that was lowered, or never was enough for the context.
    used: Bytes,
    used_peak: Bytes,
    handles: FxHashMap<Handle, Physical>,
    /// Numbers are not used again, so that a released handle stays unknown.
    handles_made: u64,
}

/// The memory behind a handle. Never both released and mapped nowhere: then it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Physical {
    size: Bytes,
    mappings: u64,
    released: bool,
}

impl PhysicalMemory {
    pub(crate) fn new(capacity: Bytes, context: Bytes) -> Self {
        let handles = FxHashMap::default();
        Self { capacity, used: context, used_peak: context, handles, handles_made: 0 }
    }

    pub(crate) fn info(&self) -> MemoryInfo {
        MemoryInfo { free: self.capacity.saturating_sub(self.used), total: self.capacity }
    }

    pub(crate) fn set_capacity(&mut self, capacity: Bytes) {
        self.capacity = capacity;
    }

    pub(crate) fn used(&self) -> Bytes {
        self.used
    }

    pub(crate) fn used_peak(&self) -> Bytes {
        self.used_peak
    }

    pub(crate) fn reset_peak(&mut self) {
        self.used_peak = self.used;
    }

    /// Handles created and not released.
    pub(crate) fn handles_alive(&self) -> usize {
        self.handles.values().filter(|physical| !physical.released).count()
    }

    /// Whether a handle's memory is in use: not released, or still mapped somewhere.
    pub(crate) fn is_used(&self, handle: Handle) -> bool {
        self.handles.contains_key(&handle)
    }

    pub(crate) fn fits(&self, size: Bytes) -> bool {
        self.used.checked_add(size).is_some_and(|used| used <= self.capacity)
    }

    /// Uses `size` bytes, which fit.
    pub(crate) fn take(&mut self, size: Bytes) {
        debug_assert!(self.fits(size), "taken without asking");
        self.used += size;
        self.used_peak = self.used_peak.max(self.used);
    }

    /// Frees `size` bytes that were taken.
    pub(crate) fn give(&mut self, size: Bytes) {
        self.used -= size;
    }

    pub(crate) fn create(&mut self, size: Bytes) -> Result<Handle, Refusal> {
        if !self.fits(size) {
            return Err(Refusal::OutOfMemory(size));
        }
        self.take(size);
        self.handles_made += 1;
        let handle = Handle::new(self.handles_made);
        self.handles.insert(handle, Physical { size, mappings: 0, released: false });
        Ok(handle)
    }

    /// Gives the handle up and tells its size.
    pub(crate) fn release(&mut self, handle: Handle) -> Result<Bytes, Refusal> {
        let physical = match self.handles.get_mut(&handle) {
            None => return Err(unknown(handle)),
            Some(physical) if physical.released => return Err(released(handle)),
            Some(physical) => physical,
        };
        physical.released = true;
        let size = physical.size;
        self.drop_if_dead(handle);
        Ok(size)
    }

    /// The size of a handle that may be mapped.
    pub(crate) fn mappable(&self, handle: Handle) -> Result<Bytes, Refusal> {
        match self.handles.get(&handle) {
            None => Err(unknown(handle)),
            Some(physical) if physical.released => Err(released(handle)),
            Some(physical) => Ok(physical.size),
        }
    }

    /// Notes one more mapping of a handle that may be mapped.
    pub(crate) fn add_mapping(&mut self, handle: Handle) {
        if let Some(physical) = self.handles.get_mut(&handle) {
            physical.mappings += 1;
        }
    }

    /// Notes one mapping less; the last one of a released handle frees the memory.
    pub(crate) fn drop_mapping(&mut self, handle: Handle) {
        if let Some(physical) = self.handles.get_mut(&handle) {
            physical.mappings -= 1;
        }
        self.drop_if_dead(handle);
    }

    fn drop_if_dead(&mut self, handle: Handle) {
        if let Some(&Physical { size, mappings: 0, released: true }) = self.handles.get(&handle) {
            self.handles.remove(&handle);
            self.give(size);
        }
    }
}

fn unknown(handle: Handle) -> Refusal {
    Refusal::Invalid(format!("handle {} does not exist, or no longer", handle.get()))
}

fn released(handle: Handle) -> Refusal {
    Refusal::Invalid(format!("handle {} was released and only its mappings live on", handle.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_after_the_last_unmap_and_the_release_in_any_order() {
        type Step = fn(&mut PhysicalMemory, Handle);
        let unmap: Step = PhysicalMemory::drop_mapping;
        let release: Step = |memory, handle| assert!(memory.release(handle).is_ok());
        for steps in [[unmap, unmap, release], [unmap, release, unmap], [release, unmap, unmap]] {
            let mut memory = PhysicalMemory::new(Bytes::new(10), Bytes::ZERO);
            let handle = memory.create(Bytes::new(10)).unwrap();
            memory.add_mapping(handle);
            memory.add_mapping(handle);
            for step in steps {
                assert_eq!(memory.used(), Bytes::new(10));
                step(&mut memory, handle);
            }
            assert_eq!((memory.used(), memory.handles.len()), (Bytes::ZERO, 0));
            assert_eq!(memory.used_peak(), Bytes::new(10));
        }
    }

    #[test]
    fn capacity_is_met_to_the_byte() {
        let mut memory = PhysicalMemory::new(Bytes::new(10), Bytes::new(3));
        assert_eq!(memory.create(Bytes::new(8)), Err(Refusal::OutOfMemory(Bytes::new(8))));
        assert!(memory.fits(Bytes::new(7)) && !memory.fits(Bytes::MAX));
        memory.take(Bytes::new(7));
        assert_eq!(memory.info(), MemoryInfo { free: Bytes::ZERO, total: Bytes::new(10) });
        assert!(memory.fits(Bytes::ZERO) && !memory.fits(Bytes::new(1)));
        memory.set_capacity(Bytes::new(5));
        assert_eq!(memory.info(), MemoryInfo { free: Bytes::ZERO, total: Bytes::new(5) });
        memory.give(Bytes::new(6));
        assert_eq!(memory.info().free, Bytes::new(1));
        assert_eq!(memory.used_peak(), Bytes::new(10));
        memory.reset_peak();
        assert_eq!(memory.used_peak(), Bytes::new(4));
    }
}
