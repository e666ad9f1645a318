//! [`Snapshot`]: copied while the allocator is locked, put together once it is not.

use freeboard_device::Device;
use freeboard_snapshot::{BlockState as Seen, DeviceMemory, NameId, PoolId, Snapshot, StackId};
use freeboard_units::{Bytes, StreamId};

use super::segments::{Copied, Kind, PoolFacts, segments};
use super::settings::settings;
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
}

impl<D: Device> State<D> {
    /// Copies what a snapshot needs: memory and time in proportion to the blocks.
    pub(super) fn copy(&self) -> Copy {
        let pools = self.pools.iter().map(|pool| PoolFacts {
            small: pool.class == Class::Small,
            id: pool.owner.map_or(PoolId::SHARED, private_pool),
        });
        Copy {
            blocks: self.blocks.iter().filter_map(|(_, block)| copied(block)).collect(),
            pools: pools.collect(),
            streams: self.streams.iter().collect(),
            config: self.config.clone(),
            memory: DeviceMemory {
                device: self.device.id(),
                total: Some(self.total),
                free: None,
                limit: self.limit.allowed,
            },
        }
    }
}

/// A private pool's name: the shared pool is (0, 0).
pub(super) fn private_pool(number: u32) -> PoolId {
    PoolId(0, u64::from(number) + 1)
}

fn copied(block: &Block) -> Option<Copied> {
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
    Some(Copied {
        range: block.range(),
        requested: block.requested,
        state,
        kind,
        stream: block.stream,
        pool: block.pool,
        is_first: block.prev.is_none(),
        tag: NameId::default(),
        stack: StackId::default(),
    })
}

impl Copy {
    /// The snapshot; `free` is what the device says is free.
    pub(super) fn into_snapshot(self, free: Option<Bytes>) -> Snapshot {
        let device = self.memory.device;
        Snapshot {
            segments: segments(device, self.blocks, &self.pools, &self.streams),
            settings: settings(&self.config),
            devices: vec![DeviceMemory { free, ..self.memory }],
            ..Snapshot::default()
        }
    }
}
