//! The memory of one expandable segment: what is mapped where, and by which handle.

use std::collections::BTreeMap;

use freeboard_device::{Device, DeviceError, Handle};
use freeboard_units::{Address, AddressRange, Bytes};

use crate::error::Error;
use crate::policy::growth::Growth;

/// All of a handle's memory, mapped at a place.
#[derive(Clone, Copy, Debug)]
struct Page {
    size: Bytes,
    handle: Handle,
}

/// A reserved range of addresses and the pages mapped in it.
#[derive(Clone, Debug)]
pub(crate) struct ExpandableSegment {
    range: AddressRange,
    growth: Growth,
    /// By start; no two overlap.
    pages: BTreeMap<Address, Page>,
    /// Pages that could not be unmapped when a request failed: in use by nobody, and unmapped
    /// before anything else is mapped there.
    leftovers: BTreeMap<Address, Page>,
}

impl Page {
    const fn at(self, start: Address) -> AddressRange {
        AddressRange::new(start, self.size)
    }
}

impl ExpandableSegment {
    pub(super) fn new(range: AddressRange, growth: Growth) -> Self {
        Self { range, growth, pages: BTreeMap::new(), leftovers: BTreeMap::new() }
    }

    pub(crate) const fn range(&self) -> AddressRange {
        self.range
    }

    pub(crate) const fn growth(&self) -> Growth {
        self.growth
    }

    /// The pages that share an address with `range`, lowest first.
    fn overlapping(&self, range: AddressRange) -> impl Iterator<Item = AddressRange> {
        let first = self.pages.range(..=range.start()).next_back().map(|(&start, _)| start);
        let pages = self.pages.range(first.unwrap_or(range.start())..range.end());
        pages.map(|(&start, page)| page.at(start)).filter(move |page| page.overlaps(range))
    }

    /// Whether all of `range` is mapped, or none of it.
    pub(crate) fn is_mapped(&self, range: AddressRange) -> Option<bool> {
        let mut at = range.start();
        for page in self.overlapping(range) {
            if page.start() > at {
                return None;
            }
            at = page.end();
        }
        match at {
            at if at == range.start() => Some(false),
            at if at >= range.end() => Some(true),
            _ => None,
        }
    }

    /// Bytes mapped.
    pub(crate) fn mapped_bytes(&self) -> Bytes {
        self.pages.values().map(|page| page.size).sum()
    }

    /// The pages that lie wholly in `range`, lowest first.
    fn whole_pages(&self, range: AddressRange) -> impl Iterator<Item = (Address, Page)> {
        let pages = self.pages.range(range.start()..range.end());
        let within = move |(start, page): &(Address, Page)| range.covers(page.at(*start));
        pages.map(|(&start, &page)| (start, page)).filter(within)
    }

    /// Bytes in the pages that lie wholly in `range`.
    pub(crate) fn whole_page_bytes(&self, range: AddressRange) -> Bytes {
        self.whole_pages(range).map(|(_, page)| page.size).sum()
    }

    /// Bytes at the front of `range` that belong to a page which begins before it.
    pub(crate) fn front(&self, range: AddressRange) -> Bytes {
        let first = self.overlapping(range).next();
        first
            .filter(|page| page.start() < range.start())
            .map_or(Bytes::ZERO, |page| page.end().offset_from(range.start()))
    }

    /// Maps memory at `range`, which begins where a page may; the range mapped may be longer.
    /// `None`: too little memory, and nothing has changed. An error changes nothing either.
    ///
    /// Handles that could not be released while undoing go to `orphans`.
    pub(super) fn map(
        &mut self,
        device: &impl Device,
        range: AddressRange,
        orphans: &mut Vec<Handle>,
    ) -> Result<Option<AddressRange>, Error> {
        let mapped = AddressRange::new(range.start(), range.size().align_up(self.growth.unit));
        self.clear_leftovers(device, mapped, orphans)?;
        let mut made = Vec::new();
        let mut at = mapped.start();
        for size in self.growth.handles(mapped.size()) {
            match device.create(size) {
                Ok(handle) => made.push((at, Page { size, handle })),
                Err(error) => {
                    release(device, made, orphans);
                    return match error {
                        DeviceError::OutOfMemory { .. } => Ok(None),
                        error => Err(error.into()),
                    };
                }
            }
            at = at + size;
        }
        for (place, &(start, page)) in made.iter().enumerate() {
            if let Err(error) = device.map(page.at(start), page.handle) {
                let unmapped = made.split_off(place);
                self.undo(device, made, orphans);
                release(device, unmapped, orphans);
                return Err(error.into());
            }
        }
        if let Err(error) = device.set_access(mapped) {
            self.undo(device, made, orphans);
            return Err(error.into());
        }
        self.pages.extend(made);
        Ok(Some(mapped))
    }

    /// Unmaps and releases pages that no allocation has seen.
    fn undo(
        &mut self,
        device: &impl Device,
        made: Vec<(Address, Page)>,
        orphans: &mut Vec<Handle>,
    ) {
        for (start, page) in made {
            match device.unmap(page.at(start)) {
                Ok(()) => release(device, [(start, page)], orphans),
                Err(error) => {
                    tracing::error!(%error, "a page stays mapped until its place is wanted");
                    self.leftovers.insert(start, page);
                }
            }
        }
    }

    /// Unmaps the pages that a failed request has left behind in `range`.
    pub(super) fn clear_leftovers(
        &mut self,
        device: &impl Device,
        range: AddressRange,
        orphans: &mut Vec<Handle>,
    ) -> Result<(), Error> {
        let within = |(start, page): (&Address, &Page)| {
            page.at(*start).overlaps(range).then_some((*start, *page))
        };
        while let Some((start, page)) = self.leftovers.iter().find_map(within) {
            device.unmap(page.at(start))?;
            self.leftovers.remove(&start);
            release(device, [(start, page)], orphans);
        }
        Ok(())
    }

    /// Unmaps the whole pages in `range`, all of it mapped, from the front. Returns the range that
    /// is unmapped now, which an error cuts short.
    pub(super) fn unmap(
        &mut self,
        device: &impl Device,
        range: AddressRange,
        orphans: &mut Vec<Handle>,
    ) -> (AddressRange, Result<(), Error>) {
        let whole: Vec<(Address, Page)> = self.whole_pages(range).collect();
        let first = whole.first().map_or(range.start(), |(start, _)| *start);
        let mut done = AddressRange::new(first, Bytes::ZERO);
        for (start, page) in whole {
            if let Err(error) = device.unmap(page.at(start)) {
                return (done, Err(error.into()));
            }
            self.pages.remove(&start);
            done = AddressRange::new(first, done.size() + page.size);
            if let Err(error) = device.release(page.handle) {
                orphans.push(page.handle);
                return (done, Err(error.into()));
            }
        }
        (done, Ok(()))
    }
}

/// Releases handles that map nothing.
fn release(
    device: &impl Device,
    pages: impl IntoIterator<Item = (Address, Page)>,
    orphans: &mut Vec<Handle>,
) {
    for (_, page) in pages {
        if let Err(error) = device.release(page.handle) {
            tracing::error!(%error, "memory that maps nothing will be released later");
            orphans.push(page.handle);
        }
    }
}
