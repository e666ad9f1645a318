//! The pages of one expandable segment: which are mapped, and by which handle.

use std::collections::BTreeMap;
use std::ops::Range;

use freeboard_device::{Device, DeviceError, Handle};
use freeboard_units::{AddressRange, Bytes};

use crate::error::Error;

/// A reserved range of addresses and the pages mapped in it.
#[derive(Clone, Debug)]
pub(crate) struct ExpandableSegment {
    range: AddressRange,
    page: Bytes,
    /// By page; shorter than the range where its end was never mapped.
    pages: Vec<Option<Handle>>,
    /// Pages that could not be unmapped when a request failed: in use by nobody, and taken as they
    /// are when they are wanted next.
    leftovers: BTreeMap<usize, Handle>,
}

impl ExpandableSegment {
    pub(super) fn new(range: AddressRange, page: Bytes) -> Self {
        Self { range, page, pages: Vec::new(), leftovers: BTreeMap::new() }
    }

    pub(crate) const fn range(&self) -> AddressRange {
        self.range
    }

    /// Whether all of `range` is mapped, or none of it.
    pub(crate) fn is_mapped(&self, range: AddressRange) -> Option<bool> {
        let pages = self.pages_around(range);
        let mapped = pages.clone().filter(|&page| self.is_page_mapped(page)).count();
        match mapped {
            0 => Some(false),
            n if n == pages.len() => Some(true),
            _ => None,
        }
    }

    /// Bytes mapped.
    pub(crate) fn mapped_bytes(&self) -> Bytes {
        self.page * self.pages.iter().flatten().count() as u64
    }

    fn is_page_mapped(&self, page: usize) -> bool {
        self.pages.get(page).is_some_and(Option::is_some)
    }

    #[expect(clippy::cast_possible_truncation, reason = "pages of a device fit usize")]
    fn pages_around(&self, range: AddressRange) -> Range<usize> {
        let first = range.start().offset_from(self.range.start()).get() / self.page.get();
        let end = range.end().offset_from(self.range.start()).align_up(self.page);
        first as usize..(end.get() / self.page.get()) as usize
    }

    /// The pages that lie wholly in `range`.
    #[expect(clippy::cast_possible_truncation, reason = "pages of a device fit usize")]
    pub(super) fn whole_pages(&self, range: AddressRange) -> Range<usize> {
        let first = range.start().offset_from(self.range.start()).align_up(self.page);
        let end = range.end().offset_from(self.range.start()).get() / self.page.get();
        (first.get() / self.page.get()) as usize..end as usize
    }

    /// Bytes in the pages that lie wholly in `range`.
    pub(crate) fn whole_page_bytes(&self, range: AddressRange) -> Bytes {
        self.page * self.whole_pages(range).len() as u64
    }

    fn range_of(&self, pages: &Range<usize>) -> AddressRange {
        let start = self.range.start() + self.page * pages.start as u64;
        AddressRange::new(start, self.page * pages.len() as u64)
    }

    /// Maps the pages around `range`, which begins at a page; the range mapped may be longer.
    /// `None`: too little memory, and nothing has changed. An error changes nothing either.
    ///
    /// Handles that could not be released while undoing go to `orphans`.
    pub(super) fn map(
        &mut self,
        device: &impl Device,
        range: AddressRange,
        orphans: &mut Vec<Handle>,
    ) -> Result<Option<AddressRange>, Error> {
        let pages = self.pages_around(range);
        let mut made = Vec::with_capacity(pages.len());
        for page in pages.clone().filter(|page| !self.leftovers.contains_key(page)) {
            match device.create(self.page) {
                Ok(handle) => made.push((page, handle)),
                Err(error) => {
                    release(device, made, orphans);
                    return match error {
                        DeviceError::OutOfMemory { .. } => Ok(None),
                        error => Err(error.into()),
                    };
                }
            }
        }
        for (place, &(page, handle)) in made.iter().enumerate() {
            if let Err(error) = device.map(self.range_of(&(page..page + 1)), handle) {
                let unmapped = made.split_off(place);
                self.undo(device, made, orphans);
                release(device, unmapped, orphans);
                return Err(error.into());
            }
        }
        let mapped = self.range_of(&pages);
        if let Err(error) = device.set_access(mapped) {
            self.undo(device, made, orphans);
            return Err(error.into());
        }
        if self.pages.len() < pages.end {
            self.pages.resize(pages.end, None);
        }
        let found = pages.filter_map(|page| Some((page, self.leftovers.remove(&page)?)));
        for (page, handle) in made.into_iter().chain(found) {
            debug_assert!(self.pages[page].is_none(), "a page is mapped once");
            self.pages[page] = Some(handle);
        }
        Ok(Some(mapped))
    }

    /// Unmaps and releases pages that no allocation has seen.
    fn undo(
        &mut self,
        device: &impl Device,
        made: Vec<(usize, Handle)>,
        orphans: &mut Vec<Handle>,
    ) {
        for (page, handle) in made {
            match device.unmap(self.range_of(&(page..page + 1))) {
                Ok(()) => release(device, [(page, handle)], orphans),
                Err(error) => {
                    tracing::error!(%error, "a page stays mapped until it is wanted again");
                    self.leftovers.insert(page, handle);
                }
            }
        }
    }

    /// Unmaps the pages that a failed request has left behind.
    pub(super) fn clear_leftovers(
        &mut self,
        device: &impl Device,
        orphans: &mut Vec<Handle>,
    ) -> Result<(), Error> {
        while let Some((&page, &handle)) = self.leftovers.first_key_value() {
            device.unmap(self.range_of(&(page..page + 1)))?;
            self.leftovers.remove(&page);
            release(device, [(page, handle)], orphans);
        }
        Ok(())
    }

    /// Unmaps the whole pages in `range`, all mapped, from the front. Returns the range that is
    /// unmapped now, which an error cuts short.
    pub(super) fn unmap(
        &mut self,
        device: &impl Device,
        range: AddressRange,
        orphans: &mut Vec<Handle>,
    ) -> (AddressRange, Result<(), Error>) {
        let pages = self.whole_pages(range);
        let mut outcome = Ok(());
        let mut done = pages.start..pages.start;
        for page in pages {
            let Some(handle) = self.pages[page] else { continue };
            if let Err(error) = device.unmap(self.range_of(&(page..page + 1))) {
                outcome = Err(error.into());
                break;
            }
            self.pages[page] = None;
            done.end = page + 1;
            if let Err(error) = device.release(handle) {
                orphans.push(handle);
                outcome = Err(error.into());
                break;
            }
        }
        while self.pages.last().is_some_and(Option::is_none) {
            self.pages.pop();
        }
        (self.range_of(&done), outcome)
    }
}

/// Releases handles that map nothing.
fn release(
    device: &impl Device,
    handles: impl IntoIterator<Item = (usize, Handle)>,
    orphans: &mut Vec<Handle>,
) {
    for (_, handle) in handles {
        if let Err(error) = device.release(handle) {
            tracing::error!(%error, "memory that maps nothing will be released later");
            orphans.push(handle);
        }
    }
}
