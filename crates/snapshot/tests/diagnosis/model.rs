//! The layout after every event, against a small allocator that knows where everything lies.

use std::collections::BTreeMap;

use freeboard_snapshot::layout::{Gap, Layout};
use freeboard_snapshot::{
    Action, Block, BlockState, Event, Facts, History, NameId, PoolId, PoolIndex, Segment, Snapshot,
    StackId, Timeline,
};
use freeboard_units::{Address, Bytes, DeviceId, StreamId};
use proptest::collection::vec;
use proptest::prelude::*;

const DEVICE: DeviceId = DeviceId::new(0);
const SEGMENT: u64 = 4 << 20;
const PAGE: u64 = 1 << 20;

/// Segments of one size at fixed places, and blocks of one page in them.
#[derive(Clone, Default)]
struct Model {
    /// The stream of each segment that is held, by its place.
    held: BTreeMap<u64, u64>,
    /// Whether each used page is pending, by its address.
    used: BTreeMap<u64, bool>,
    events: Vec<Event>,
}

impl Model {
    fn push(&mut self, action: Action, address: u64, size: u64, stream: u64) {
        self.events.push(Event {
            address,
            size: Bytes::new(size),
            stream: StreamId::new(stream),
            time_us: i64::try_from(self.events.len()).unwrap(),
            action,
            pool: PoolIndex::new(0),
            stack: StackId::default(),
            tag: NameId::default(),
            context: NameId::default(),
        });
    }

    /// One step of a random program on a page: each does what is possible there.
    fn step(&mut self, page: u64, choice: u8) {
        let (address, place) = (page * PAGE, page * PAGE / SEGMENT * SEGMENT);
        let stream = place / SEGMENT % 3;
        let used = |model: &Self| model.used.range(place..place + SEGMENT).next().is_some();
        match (self.held.contains_key(&place), self.used.get(&address).copied()) {
            (false, _) => {
                self.held.insert(place, stream);
                self.push(Action::SegmentAlloc, place, SEGMENT, stream);
            }
            (true, None) if choice == 0 && !used(self) => {
                self.held.remove(&place);
                self.push(Action::SegmentFree, place, SEGMENT, stream);
            }
            (true, None) => {
                self.used.insert(address, false);
                self.push(Action::Alloc, address, PAGE, stream);
            }
            (true, Some(false)) => {
                self.push(Action::FreeRequested, address, PAGE, stream);
                if choice < 2 {
                    self.used.insert(address, true);
                } else {
                    self.used.remove(&address);
                    self.push(Action::FreeCompleted, address, PAGE, stream);
                }
            }
            (true, Some(true)) => {
                self.used.remove(&address);
                self.push(Action::FreeCompleted, address, PAGE, stream);
            }
        }
    }

    fn gaps(&self) -> Vec<Gap> {
        let mut gaps: Vec<Gap> = Vec::new();
        for (&place, &stream) in &self.held {
            let mut last_end = u64::MAX;
            for address in (place..place + SEGMENT).step_by(usize::try_from(PAGE).unwrap()) {
                if self.used.contains_key(&address) {
                    continue;
                }
                if last_end == address {
                    gaps.last_mut().unwrap().size += Bytes::new(PAGE);
                } else {
                    let (size, pool) = (Bytes::new(PAGE), PoolId::SHARED);
                    gaps.push(Gap { address, size, stream: StreamId::new(stream), pool });
                }
                last_end = address + PAGE;
            }
        }
        gaps
    }

    fn snapshot(&self, first: usize) -> Snapshot {
        let segment = |(&place, &stream): (&u64, &u64)| {
            let block = |address: u64| Block {
                address: Address::new(address),
                size: Bytes::new(PAGE),
                requested: Bytes::new(PAGE),
                state: match self.used.get(&address) {
                    None => BlockState::Free,
                    Some(true) => BlockState::Pending,
                    Some(false) => BlockState::Allocated,
                },
                stack: StackId::default(),
                tag: NameId::default(),
            };
            Segment {
                device: DEVICE,
                address: Address::new(place),
                size: Bytes::new(SEGMENT),
                stream: StreamId::new(stream),
                small: false,
                pool: PoolId::SHARED,
                expandable: false,
                stack: StackId::default(),
                blocks: (0..SEGMENT / PAGE).map(|page| block(place + page * PAGE)).collect(),
            }
        };
        let mut snapshot =
            Snapshot { segments: self.held.iter().map(segment).collect(), ..Snapshot::default() };
        snapshot.histories.push(History { events: self.events[first..].to_vec(), dropped: 0 });
        snapshot
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_layout_after_every_event_is_that_of_the_model(
        program in vec((0..32_u64, 0..4_u8), 1..120),
        cut in 0..60_usize,
    ) {
        let mut model = Model::default();
        let mut after: BTreeMap<usize, Model> = BTreeMap::new();
        for (page, choice) in program {
            model.step(page, choice);
            after.insert(model.events.len(), model.clone());
        }
        // A history that began later tells the same of what came after.
        let first = cut.min(model.events.len() - 1);
        let snapshot = model.snapshot(first);
        let timeline = Timeline::new(&snapshot, DEVICE);
        for (count, model) in after.range(first + 1..) {
            let event = u32::try_from(count - first - 1).unwrap();
            let layout = Layout::after(&timeline, Some(event));
            prop_assert_eq!(layout.gaps(), model.gaps(), "after event {}", event);
            let reserved = Bytes::new(model.held.len() as u64 * SEGMENT);
            prop_assert_eq!(layout.reserved(), reserved);
            let used: Vec<(u64, bool)> =
                layout.used().map(|used| (used.life.address, used.pending)).collect();
            let expected: Vec<(u64, bool)> =
                model.used.iter().map(|(&address, &pending)| (address, pending)).collect();
            prop_assert_eq!(used, expected, "after event {}", event);
        }
        let sums = Facts::of_snapshot(&snapshot, DEVICE).sums();
        prop_assert_eq!(sums.allocated + sums.pending, Bytes::new(model.used.len() as u64 * PAGE));
    }
}
