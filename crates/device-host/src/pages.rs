//! [`Pages`]: where in the memory file each handle's bytes lie.

use std::collections::{BTreeMap, HashMap};

use freeboard_device::Handle;
use freeboard_units::Bytes;

/// A stretch of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: Bytes,
    pub(crate) size: Bytes,
}

/// The file, handed out in extents. Holes are used again by size, so that the file grows only when
/// no hole has the size that is wanted; it is sparse, so holes take no memory.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    by_handle: HashMap<Handle, Extent>,
    /// Size to the offsets of holes of just that size.
    holes: BTreeMap<Bytes, Vec<Bytes>>,
    end: Bytes,
    /// The size of the file.
    limit: Bytes,
}

impl Pages {
    pub(crate) fn new(limit: Bytes) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Finds a place for a handle's bytes. `None` when the file is full.
    pub(crate) fn place(&mut self, handle: Handle, size: Bytes) -> Option<()> {
        let hole = self.holes.get_mut(&size).and_then(Vec::pop);
        let offset = match hole {
            Some(offset) => offset,
            None => self.grow(size)?,
        };
        self.by_handle.insert(handle, Extent { offset, size });
        Some(())
    }

    fn grow(&mut self, size: Bytes) -> Option<Bytes> {
        let offset = self.end;
        let end = offset.checked_add(size).filter(|&end| end <= self.limit)?;
        self.end = end;
        Some(offset)
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<Extent> {
        self.by_handle.get(&handle).copied()
    }

    /// Forgets a handle; its place may be used again.
    pub(crate) fn forget(&mut self, handle: Handle) -> Option<Extent> {
        let extent = self.by_handle.remove(&handle)?;
        self.holes.entry(extent.size).or_default().push(extent.offset);
        Some(extent)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_place_is_used_again_by_size_and_never_twice_at_once() {
        let mut pages = Pages::new(Bytes::new(10));
        let [a, b, c, d] = [1, 2, 3, 4].map(Handle::new);
        pages.place(a, Bytes::new(4)).unwrap();
        pages.place(b, Bytes::new(4)).unwrap();
        assert_eq!(pages.place(c, Bytes::new(4)), None, "full");
        assert_eq!(pages.forget(a), Some(Extent { offset: Bytes::ZERO, size: Bytes::new(4) }));
        assert_eq!(pages.forget(a), None);
        pages.place(c, Bytes::new(2)).unwrap();
        pages.place(d, Bytes::new(4)).unwrap();
        let offsets = [b, c, d].map(|handle| pages.get(handle).unwrap().offset.get());
        assert_eq!(offsets, [4, 8, 0]);
        assert_eq!(pages.get(a), None);
    }
}
