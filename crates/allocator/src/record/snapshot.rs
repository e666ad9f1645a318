//! [`Snapshot`]: copied while the allocator is locked, put together once it is not.

use std::borrow::Cow;
use std::collections::BTreeMap;

use freeboard_device::Device;
use freeboard_snapshot::{
    BlockState as Seen, DeviceMemory, Event, History, PoolId, PoolIndex, Snapshot, StackId, Stacks,
};
use freeboard_units::{Address, Bytes, StreamId};

use super::ring::Ring;
use super::segments::{Copied, Kind, PoolFacts, segments};
use super::settings::settings;
use super::stacks::{Namer, Renamed};
use super::{Note, scope};
use crate::block::{Block, BlockState, NO_EXPANDABLE, PLANNED, STITCHED};
use crate::config::Config;
use crate::state::State;
use crate::stats::Class;

/// What is copied under the lock.
pub(super) struct Copy {
    blocks: Vec<Copied>,
    pools: Vec<PoolFacts>,
    streams: Vec<StreamId>,
    config: Config,
    memory: DeviceMemory,
    recorded: Recorded,
}

/// What was recorded: tags are process-wide numbers, pools are numbers of private pools, 0 for none,
/// and stacks are bare.
#[derive(Default)]
struct Recorded {
    events: Vec<Event>,
    dropped: u64,
    texts: Vec<Cow<'static, str>>,
    stacks: Stacks,
    taken: BTreeMap<Address, StackId>,
}

/// The devices whose history has a place.
const MOST_DEVICES: usize = 1 << 12;

impl<D: Device> State<D> {
    /// Copies what a snapshot needs: memory and time in proportion to the blocks and the events.
    pub(super) fn copy(&mut self) -> Copy {
        let recorded = self.record.as_ref().map(|record| {
            let (events, dropped, texts) = record.ring.copy();
            let (stacks, taken) = (record.stacks.clone(), record.taken.clone());
            Recorded { events, dropped, texts, stacks, taken }
        });
        self.note_snapshot();
        let note = |id| self.record.as_ref().map_or_else(Note::default, |it| it.note_of(id));
        let pools = self.pools.iter().map(|pool| PoolFacts {
            small: pool.class == Class::Small,
            id: pool.owner.map_or(PoolId::SHARED, private_pool),
        });
        Copy {
            blocks: self.blocks.iter().filter_map(|(id, block)| copied(block, note(id))).collect(),
            pools: pools.collect(),
            streams: self.streams.iter().collect(),
            config: self.config.clone(),
            memory: DeviceMemory {
                device: self.device.id(),
                total: Some(self.total),
                free: None,
                limit: self.limit.allowed,
            },
            recorded: recorded.unwrap_or_default(),
        }
    }
}

/// A private pool's name: the shared pool is (0, 0).
pub(super) fn private_pool(number: u32) -> PoolId {
    PoolId(0, u64::from(number) + 1)
}

fn copied(block: &Block, note: Note) -> Option<Copied> {
    let kind = match block.expandable {
        NO_EXPANDABLE => Kind::Fixed,
        STITCHED if block.state == BlockState::Plan => Kind::Region,
        STITCHED => Kind::Stitched,
        PLANNED => Kind::Place,
        number => Kind::Expandable(number),
    };
    let state = match block.state {
        BlockState::Allocated | BlockState::Planned => Seen::Allocated,
        BlockState::Pending => Seen::Pending,
        // A place nobody has is part of its region's free bytes.
        BlockState::Plan if kind == Kind::Place => return None,
        BlockState::Free | BlockState::Plan => Seen::Free,
        BlockState::Unmapped => return None,
    };
    let Note { tag, stack } = if state == Seen::Free { Note::default() } else { note };
    Some(Copied {
        range: block.range(),
        requested: block.requested,
        state,
        kind,
        stream: block.stream,
        pool: block.pool,
        is_first: block.prev.is_none(),
        tag,
        stack,
    })
}

impl Copy {
    /// The snapshot; `free` is what the device says is free.
    pub(super) fn into_snapshot(self, free: Option<Bytes>) -> Snapshot {
        let device = self.memory.device;
        let mut snapshot = Snapshot {
            segments: segments(device, self.blocks, &self.pools, &self.streams),
            settings: settings(&self.config),
            devices: vec![DeviceMemory { free, ..self.memory }],
            ..Snapshot::default()
        };
        let place = usize::try_from(device.get()).unwrap_or(usize::MAX);
        if place < MOST_DEVICES {
            snapshot.histories.resize_with(place + 1, History::default);
        }
        self.recorded.write_to(&mut snapshot, place);
        snapshot
    }
}

impl Recorded {
    /// Adds the events, and gives everything the numbers that names, pools and stacks have there.
    fn write_to(self, snapshot: &mut Snapshot, place: usize) {
        let Self { mut events, dropped, texts, stacks, taken } = self;
        name_tags(&mut events, texts, snapshot);
        number_pools(&mut events, &mut snapshot.pools);
        for segment in &mut snapshot.segments {
            segment.stack = taken.get(&segment.address).copied().unwrap_or_default();
        }
        let blocks = snapshot.segments.iter_mut().flat_map(|segment| {
            let blocks = segment.blocks.iter_mut().map(|block| &mut block.stack);
            [&mut segment.stack].into_iter().chain(blocks)
        });
        let mut namer = Namer::new(stacks);
        for stack in events.iter_mut().map(|event| &mut event.stack).chain(blocks) {
            *stack = namer.name(*stack, &mut snapshot.names, &mut snapshot.stacks);
        }
        if let Some(history) = snapshot.histories.get_mut(place) {
            *history = History { events, dropped };
        }
    }
}

fn name_tags(events: &mut [Event], texts: Vec<Cow<'static, str>>, snapshot: &mut Snapshot) {
    let (all, names, mut renamed) = (scope::names(), &mut snapshot.names, Renamed::default());
    let mut texts = texts.into_iter();
    for event in events {
        event.tag = if Ring::has_text(event) {
            names.intern(&texts.next().unwrap_or_default())
        } else {
            renamed.name(event.tag, &all, names)
        };
    }
    for block in snapshot.segments.iter_mut().flat_map(|segment| &mut segment.blocks) {
        block.tag = renamed.name(block.tag, &all, names);
    }
}

fn number_pools(events: &mut [Event], pools: &mut Vec<PoolId>) {
    let mut known = BTreeMap::from([(PoolIndex::default(), PoolIndex::default())]);
    for event in events {
        event.pool = *known.entry(event.pool).or_insert_with(|| {
            pools.push(private_pool(event.pool.get() - 1));
            PoolIndex::new(u32::try_from(pools.len() - 1).unwrap_or(0))
        });
    }
}
