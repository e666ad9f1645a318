//! Random calls, right and wrong, against page tables by brute force.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const PAGE: u64 = 16;
const CAPACITY_PAGES: u64 = 24;
/// Calls reach a little past the reservations that fit here, so that some miss.
const WINDOW_PAGES: u64 = 40;

#[derive(Clone, Copy, Debug)]
enum Op {
    Allocate { bytes: u64 },
    Free { page: u64 },
    Reserve { pages: u64 },
    Unreserve { page: u64, pages: u64 },
    Create { pages: u64 },
    Release { handle: u64 },
    Map { page: u64, pages: u64, handle: u64 },
    SetAccess { page: u64, pages: u64 },
    Unmap { page: u64, pages: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let page = || 0..WINDOW_PAGES;
    let pages = || 0_u64..5;
    prop_oneof![
        (0_u64..5 * PAGE).prop_map(|bytes| Op::Allocate { bytes }),
        page().prop_map(|page| Op::Free { page: page / 2 }),
        (1_u64..9).prop_map(|pages| Op::Reserve { pages }),
        (page(), pages()).prop_map(|(page, pages)| Op::Unreserve { page: page / 4, pages }),
        pages().prop_map(|pages| Op::Create { pages }),
        (0_u64..12).prop_map(|handle| Op::Release { handle }),
        (page(), pages(), 0_u64..12).prop_map(|(page, pages, handle)| Op::Map {
            page,
            pages,
            handle
        }),
        (page(), pages(), 0_u64..12).prop_map(|(page, pages, handle)| Op::Map {
            page: page / 4,
            pages: pages.min(2),
            handle
        }),
        (page(), pages()).prop_map(|(page, pages)| Op::SetAccess { page, pages }),
        (page(), pages()).prop_map(|(page, pages)| Op::Unmap { page: page / 4, pages }),
    ]
}

/// One entry per page; everything is found by looking at every page.
#[derive(Clone, Default)]
struct Pages {
    /// Page to the first page of what holds it.
    allocated: BTreeMap<u64, u64>,
    reserved: BTreeMap<u64, u64>,
    /// Page to the first page of its mapping, the handle, and whether it is accessible.
    mapped: BTreeMap<u64, (u64, u64, bool)>,
    /// Handle to its pages, and whether it was released.
    handles: BTreeMap<u64, (u64, bool)>,
    handles_made: u64,
}

impl Pages {
    fn used(&self) -> u64 {
        self.allocated.len() as u64 + self.handles.values().map(|(pages, _)| pages).sum::<u64>()
    }

    fn place(pages: &mut BTreeMap<u64, u64>, count: u64) {
        let free = |at: &u64| (*at..at + count).all(|page| !pages.contains_key(&page));
        if let Some(at) = (0..u64::MAX).find(free) {
            pages.extend((at..at + count).map(|page| (page, at)));
        }
    }

    /// Whether `first..first + count` is exactly one or more whole things.
    fn is_whole(&self, first: u64, count: u64) -> bool {
        let heads = |page| self.mapped.get(&page).map(|&(head, ..)| head);
        count > 0
            && (first..first + count).all(|page| heads(page).is_some_and(|head| head >= first))
            && heads(first + count).is_none_or(|head| head == first + count)
    }

    fn bury(&mut self) {
        let mapped: Vec<u64> = self.mapped.values().map(|&(_, handle, _)| handle).collect();
        self.handles.retain(|handle, (_, released)| !*released || mapped.contains(handle));
    }

    /// Does what the call does and tells whether it was right.
    fn apply(&mut self, op: Op) -> bool {
        let fits = |pages| self.used() + pages <= CAPACITY_PAGES;
        match op {
            Op::Allocate { bytes } => {
                let pages = bytes.div_ceil(PAGE);
                let ok = bytes > 0 && fits(pages);
                if ok {
                    Self::place(&mut self.allocated, pages);
                }
                ok
            }
            Op::Free { page } => {
                let ok = self.allocated.get(&page) == Some(&page);
                self.allocated.retain(|_, &mut head| head != page);
                ok
            }
            Op::Reserve { pages } => {
                Self::place(&mut self.reserved, pages);
                true
            }
            Op::Unreserve { page, pages } => {
                let held = self.reserved.values().filter(|&&head| head == page).count() as u64;
                let empty = (page..page + pages).all(|page| !self.mapped.contains_key(&page));
                let ok = held > 0 && held == pages && empty;
                if ok {
                    self.reserved.retain(|_, &mut head| head != page);
                }
                ok
            }
            Op::Create { pages } => {
                let ok = pages > 0 && fits(pages);
                if ok {
                    self.handles_made += 1;
                    self.handles.insert(self.handles_made, (pages, false));
                }
                ok
            }
            Op::Release { handle } => {
                let ok = self.handles.get(&handle).is_some_and(|&(_, released)| !released);
                self.handles.entry(handle).and_modify(|(_, released)| *released = true);
                self.bury();
                ok
            }
            Op::Map { .. } | Op::SetAccess { .. } | Op::Unmap { .. } => self.apply_to_mappings(op),
        }
    }

    fn apply_to_mappings(&mut self, op: Op) -> bool {
        match op {
            Op::Map { page, pages, handle } => {
                let head = self.reserved.get(&page);
                let ok = head.is_some()
                    && (page..page + pages).all(|page| {
                        self.reserved.get(&page) == head && !self.mapped.contains_key(&page)
                    })
                    && pages > 0
                    && self.handles.get(&handle) == Some(&(pages, false));
                if ok {
                    let entry = (page, handle, false);
                    self.mapped.extend((page..page + pages).map(|page| (page, entry)));
                }
                ok
            }
            Op::SetAccess { page, pages } => {
                let ok = self.is_whole(page, pages);
                if ok {
                    let range = self.mapped.range_mut(page..page + pages);
                    range.for_each(|(_, (.., accessible))| *accessible = true);
                }
                ok
            }
            Op::Unmap { page, pages } => {
                let ok = self.is_whole(page, pages);
                if ok {
                    self.mapped.retain(|at, _| !(page..page + pages).contains(at));
                    self.bury();
                }
                ok
            }
            _ => unreachable!("not about mappings"),
        }
    }
}

fn bytes(pages: u64) -> Bytes {
    Bytes::new(PAGE) * pages
}

fn range(page: u64, pages: u64) -> AddressRange {
    AddressRange::new(SimConfig::new(Bytes::ZERO).reservations.start() + bytes(page), bytes(pages))
}

fn apply(model: &mut Model, op: Op) -> Result<(), Refusal> {
    match op {
        Op::Allocate { bytes } => model.allocate(Bytes::new(bytes)).map(drop),
        Op::Free { page } => {
            model.free(SimConfig::new(Bytes::ZERO).allocations.start() + bytes(page)).map(drop)
        }
        Op::Reserve { pages } => model.reserve(bytes(pages)).map(drop),
        Op::Unreserve { page, pages } => model.unreserve(range(page, pages)),
        Op::Create { pages } => model.create(bytes(pages)).map(drop),
        Op::Release { handle } => model.physical.release(Handle::new(handle)).map(drop),
        Op::Map { page, pages, handle } => model.map(range(page, pages), Handle::new(handle)),
        Op::SetAccess { page, pages } => model.set_access(range(page, pages)).map(drop),
        Op::Unmap { page, pages } => model.unmap(range(page, pages)).map(drop),
    }
}

/// Everything the two can be compared by, page by page.
fn check(model: &Model, pages: &Pages) {
    assert_eq!(model.physical.used(), bytes(pages.used()));
    let alive = pages.handles.values().filter(|(_, released)| !released).count();
    assert_eq!(model.physical.handles_alive(), alive);
    let heads = |map: &BTreeMap<u64, u64>| map.iter().filter(|(page, head)| page == head).count();
    assert_eq!(model.allocation_count(), heads(&pages.allocated));
    assert_eq!(model.virtual_memory.reservation_count(), heads(&pages.reserved));
    let mappings = pages.mapped.iter().filter(|(page, (head, ..))| *page == head).count();
    assert_eq!(model.virtual_memory.mapping_count(), mappings);
    for page in 0..WINDOW_PAGES {
        let accessible = pages.mapped.get(&page).is_some_and(|&(.., accessible)| accessible);
        assert_eq!(model.can_access(range(page, 1)), accessible, "page {page}");
        let at = AddressRange::new(
            SimConfig::new(Bytes::ZERO).allocations.start() + bytes(page),
            bytes(1),
        );
        assert_eq!(model.can_access(at), pages.allocated.contains_key(&page), "page {page}");
    }
}

proptest! {
    #[test]
    fn the_model_agrees_with_page_tables_and_a_failed_call_changes_nothing(
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        let config = SimConfig {
            granularity: Bytes::new(PAGE),
            ..SimConfig::new(bytes(CAPACITY_PAGES))
        };
        let (mut model, mut pages) = (Model::new(&config), Pages::default());
        for op in ops {
            let before = model.clone();
            let result = apply(&mut model, op);
            prop_assert_eq!(result.is_ok(), pages.apply(op), "{:?}: {:?}", op, result);
            if result.is_err() {
                prop_assert_eq!(&model, &before, "{:?}", op);
            }
            check(&model, &pages);
        }
    }
}
