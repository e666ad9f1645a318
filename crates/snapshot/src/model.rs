//! [`Snapshot`]: segments and blocks at one moment.

use std::collections::BTreeMap;

use freeboard_units::{Address, Bytes, DeviceId, StreamId};
use serde::{Deserialize, Serialize};

use crate::history::History;
use crate::names::{NameId, Names, PoolId, PoolIndex, StackId, Stacks};

/// What memory looked like at one moment, on every device, and what had happened before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What was held from the devices, in no particular order.
    pub segments: Vec<Segment>,
    /// What happened, by device number.
    pub histories: Vec<History>,
    /// The allocator's settings, under `PyTorch`'s names.
    pub settings: BTreeMap<String, Setting>,
    /// Intervals the program marked.
    pub annotations: Vec<Annotation>,
    /// Pinned host memory, if it was recorded.
    pub host_segments: Vec<Segment>,
    /// What happened to pinned host memory.
    pub host_histories: Vec<History>,
    /// What the devices said of themselves; empty in `PyTorch`'s files.
    #[serde(default)]
    pub devices: Vec<DeviceMemory>,
    /// The pools that events refer to; the first is the shared one.
    pub pools: Vec<PoolId>,
    /// The names that events and frames refer to.
    pub names: Names,
    /// The stacks that events, segments and blocks refer to.
    pub stacks: Stacks,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            segments: Vec::new(),
            histories: Vec::new(),
            settings: BTreeMap::new(),
            annotations: Vec::new(),
            host_segments: Vec::new(),
            host_histories: Vec::new(),
            devices: Vec::new(),
            pools: vec![PoolId::SHARED],
            names: Names::default(),
            stacks: Stacks::default(),
        }
    }
}

impl Snapshot {
    /// The pool that an event names; the shared one for a number that was never given.
    #[must_use]
    pub fn pool(&self, index: PoolIndex) -> PoolId {
        self.pools.get(index.index()).copied().unwrap_or_default()
    }

    /// A setting.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.get(name)
    }

    /// The segments of one device.
    pub fn segments_of(&self, device: DeviceId) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(move |segment| segment.device == device)
    }

    /// The devices it tells something about, in order.
    #[must_use]
    pub fn device_ids(&self) -> Vec<DeviceId> {
        let traced = (0..).zip(&self.histories).filter(|(_, history)| !history.events.is_empty());
        let mut all: Vec<DeviceId> = traced.map(|(number, _)| DeviceId::new(number)).collect();
        all.extend(self.segments.iter().map(|segment| segment.device));
        all.extend(self.devices.iter().map(|memory| memory.device));
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Memory taken from the device in one piece, or one stretch of an expandable segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The device.
    pub device: DeviceId,
    /// Where it begins.
    pub address: Address,
    /// Bytes held (`total_size`).
    pub size: Bytes,
    /// The stream its blocks belong to.
    pub stream: StreamId,
    /// Whether it serves requests up to 1 MiB (`segment_type`).
    pub small: bool,
    /// The pool.
    pub pool: PoolId,
    /// Whether it is a stretch of an expandable segment.
    pub expandable: bool,
    /// The stack of the call that took it.
    pub stack: StackId,
    /// Its blocks, in address order, without gap.
    pub blocks: Vec<Block>,
}

impl Segment {
    /// Bytes of its blocks in this state.
    #[must_use]
    pub fn bytes_in(&self, state: BlockState) -> Bytes {
        self.blocks.iter().filter(|block| block.state == state).map(|block| block.size).sum()
    }

    /// Bytes in blocks handed out (`allocated_size`).
    #[must_use]
    pub fn allocated(&self) -> Bytes {
        self.bytes_in(BlockState::Allocated)
    }

    /// Bytes in blocks handed out or still used by another stream (`active_size`).
    #[must_use]
    pub fn active(&self) -> Bytes {
        self.allocated() + self.bytes_in(BlockState::Pending)
    }

    /// Bytes asked for in those blocks, before rounding (`requested_size`).
    #[must_use]
    pub fn requested(&self) -> Bytes {
        let active = self.blocks.iter().filter(|block| block.state != BlockState::Free);
        active.map(|block| block.requested).sum()
    }
}

/// What a block's bytes are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockState {
    /// Handed out (`active_allocated`).
    Allocated,
    /// Given back, but other streams may still use it (`active_pending_free`).
    Pending,
    /// Free (`inactive`).
    Free,
}

/// A run of bytes in a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Where it begins.
    pub address: Address,
    /// How long it is.
    pub size: Bytes,
    /// What was asked for; zero where it is free.
    pub requested: Bytes,
    /// What it is doing.
    pub state: BlockState,
    /// The stack of the call that asked for it.
    pub stack: StackId,
    /// The scope it was asked for in; ours only.
    #[serde(default)]
    pub tag: NameId,
}

/// One of `PyTorch`'s settings. Shapes that are none of these are kept as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Setting {
    /// Yes or no.
    Flag(bool),
    /// A whole number; −1 where there is no limit.
    Number(i64),
    /// A fraction.
    Fraction(f64),
    /// Text.
    Text(String),
    /// A table, such as `roundup_power2_divisions`.
    Table(BTreeMap<String, Setting>),
}

/// One end of an interval the program marked (`external_annotations`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// The device it was marked for.
    pub device: DeviceId,
    /// When, in microseconds since 1970.
    pub time_us: i64,
    /// What: `Optimizer.step#AdamW.step`, say.
    pub name: NameId,
    /// `START`, `END`, or what else the file says.
    pub stage: NameId,
}

/// What a device said of itself when the snapshot was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMemory {
    /// The device.
    pub device: DeviceId,
    /// Bytes it has.
    pub total: Option<Bytes>,
    /// Bytes that nobody holds.
    pub free: Option<Bytes>,
    /// The most bytes the allocator may hold.
    pub limit: Option<Bytes>,
}
