//! What a dictionary means, told by its keys: an event, a frame, a block, a segment and so on.

use freeboard_units::{Address, Bytes, DeviceId, StreamId};

use crate::history::{Action, Event};
use crate::model::{Annotation, Block, BlockState, DeviceMemory, Segment};
use crate::names::{Frame, NameId, PoolIndex, StackId};

use super::builder::{Builder, stack};
use super::error::{Fault, Result, malformed, wrong};
use super::key;
use super::objects::List;
use super::value::{Data, NUMBER_MAX, Value};

/// A dictionary that is understood, or a list of events.
pub(super) enum Record {
    Event(Event),
    Frame(u32),
    Segment(Segment),
    Block(Block),
    Annotation(Annotation),
    Device(DeviceMemory),
    /// The size and stack of a request in a block, as old versions wrote it.
    Request(u64, StackId),
    Trace(Vec<Event>),
    Other,
}

/// A segment of host memory has device −1; it is made good where it is known which list it is in.
pub(super) const HOST: DeviceId = DeviceId::new(u32::MAX);
/// More devices than any machine has; tables by device number stay small.
pub(super) const DEVICES_MAX: i64 = 65_535;
/// Not told; old versions leave it out.
const UNTOLD: u64 = u64::MAX;

const WHOLE: &str = "a whole number from 0 to 9223372036854775807";
const MISSING: &str = "missing";

impl Builder {
    /// What a dictionary means; an error's path begins with the key.
    pub(super) fn record(&mut self, pairs: &[(u32, Value)], at: u64) -> Result<Record> {
        for &(key, _) in pairs {
            return Ok(match key {
                key::ACTION => Record::Event(self.event(pairs, at)?),
                key::FILENAME => Record::Frame(self.frame(pairs, at)?),
                key::BLOCKS => Record::Segment(self.segment(pairs, at)?),
                key::STATE => Record::Block(self.block(pairs, at)?),
                key::STAGE => Record::Annotation(self.annotation(pairs)?),
                key::DEVICE_TOTAL => Record::Device(self.device(pairs)?),
                key::REAL_SIZE => self.request(pairs)?,
                _ => continue,
            });
        }
        Ok(Record::Other)
    }

    fn event(&mut self, pairs: &[(u32, Value)], at: u64) -> Result<Event> {
        let mut event = Event {
            address: UNTOLD,
            size: Bytes::new(UNTOLD),
            stream: StreamId::DEFAULT,
            time_us: 0,
            action: Action::Alloc,
            pool: PoolIndex::default(),
            stack: StackId::default(),
            tag: NameId::default(),
            context: NameId::default(),
        };
        let (mut address, mut device_free) = (UNTOLD, UNTOLD);
        for &(key, value) in pairs {
            match key {
                key::ACTION => {
                    let text = self.text(key, value)?;
                    event.action = self.action(text);
                }
                key::ADDR => address = self.whole(key, value)?,
                key::DEVICE_FREE => device_free = self.whole(key, value)?,
                key::SIZE => event.size = Bytes::new(self.whole(key, value)?),
                key::STREAM => event.stream = StreamId::new(self.whole(key, value)?),
                key::TIME_US => event.time_us = self.signed(key, value)?,
                key::POOL_ID => event.pool = self.pool_index(key, value)?,
                key::FRAMES => event.stack = self.frames(key, value)?,
                key::USER_METADATA => event.tag = self.words(key, value)?,
                key::COMPILE_CONTEXT if value.data != Data::None => {
                    let text = self.text(key, value)?;
                    event.context = self.context(text);
                }
                _ => {}
            }
        }
        let is_oom = event.action == Action::Oom;
        event.address = if is_oom { device_free } else { address };
        if event.address == UNTOLD {
            let path = if is_oom { ".device_free" } else { ".addr" };
            return Err(wrong(at, path, MISSING, WHOLE));
        }
        if event.size.get() == UNTOLD {
            return Err(wrong(at, ".size", MISSING, WHOLE));
        }
        Ok(event)
    }

    fn action(&mut self, text: u32) -> Action {
        match text {
            key::ALLOC => Action::Alloc,
            key::FREE_REQUESTED => Action::FreeRequested,
            key::FREE_COMPLETED => Action::FreeCompleted,
            key::SEGMENT_ALLOC => Action::SegmentAlloc,
            key::SEGMENT_FREE => Action::SegmentFree,
            key::SEGMENT_MAP => Action::SegmentMap,
            key::SEGMENT_UNMAP => Action::SegmentUnmap,
            key::SNAPSHOT => Action::Snapshot,
            key::OOM => Action::Oom,
            key::ANNOTATE => Action::Annotate,
            key::STITCH => Action::Stitch,
            key::PLAN => Action::Plan,
            other => Action::Other(self.name(other)),
        }
    }

    fn frame(&mut self, pairs: &[(u32, Value)], at: u64) -> Result<u32> {
        let mut frame = Frame::default();
        for &(key, value) in pairs {
            match key {
                key::FILENAME => frame.file = self.words(key, value)?,
                key::NAME => frame.function = self.words(key, value)?,
                key::LINE => {
                    frame.line = match value.data {
                        // PyTorch has no sign here, so that "no line", −1, comes as 2^64 − 1.
                        Data::Int(line) => line.cast_unsigned(),
                        Data::Wide(line) => line,
                        _ => return Err(self.unexpected(key, value, "a whole number")),
                    }
                }
                _ => {}
            }
        }
        let number = self.stacks.frame(frame);
        if number >= NUMBER_MAX {
            return Err(malformed(at, "there are more than 536,870,911 frames"));
        }
        Ok(number)
    }

    fn block(&mut self, pairs: &[(u32, Value)], at: u64) -> Result<Block> {
        let (mut address, mut size, mut requested) = (UNTOLD, UNTOLD, UNTOLD);
        let (mut first_request, mut stack) = (UNTOLD, StackId::default());
        let (mut state, mut tag) = (BlockState::Free, NameId::default());
        for &(key, value) in pairs {
            match key {
                key::ADDRESS => address = self.whole(key, value)?,
                key::SIZE => size = self.whole(key, value)?,
                key::REQUESTED_SIZE => requested = self.whole(key, value)?,
                key::FRAMES => stack = self.frames(key, value)?,
                key::USER_METADATA => tag = self.words(key, value)?,
                key::HISTORY => {
                    if let Data::List(handle) = value.data
                        && let Some(List::Requests(size, of)) = self.take_list(handle)
                    {
                        (first_request, stack) = (size, of);
                    }
                }
                key::STATE => {
                    state = match value.data {
                        Data::Text(key::ACTIVE_ALLOCATED) => BlockState::Allocated,
                        Data::Text(key::ACTIVE_PENDING_FREE | key::ACTIVE_AWAITING_FREE) => {
                            BlockState::Pending
                        }
                        Data::Text(key::INACTIVE) => BlockState::Free,
                        _ => {
                            let expected = "active_allocated, active_pending_free or inactive";
                            return Err(self.unexpected(key, value, expected));
                        }
                    }
                }
                _ => {}
            }
        }
        if size == UNTOLD {
            return Err(wrong(at, ".size", MISSING, WHOLE));
        }
        let told = [requested, first_request, size].into_iter().find(|&size| size != UNTOLD);
        let requested = match state {
            BlockState::Free => 0,
            _ => told.unwrap_or(size),
        };
        if requested > size {
            let found = format!("{requested}, more than the block's size {size}");
            return Err(wrong(at, ".requested_size", found, "at most the block's size"));
        }
        let [size, requested] = [size, requested].map(Bytes::new);
        Ok(Block { address: Address::new(address), size, requested, state, stack, tag })
    }

    fn segment(&mut self, pairs: &[(u32, Value)], at: u64) -> Result<Segment> {
        let (mut address, mut total, mut device) = (UNTOLD, UNTOLD, DeviceId::default());
        let (mut stream, mut pool) = (StreamId::DEFAULT, PoolIndex::default());
        let (mut small, mut expandable, mut stack) = (false, false, StackId::default());
        let mut blocks = Vec::new();
        for &(key, value) in pairs {
            match key {
                key::ADDRESS => address = self.whole(key, value)?,
                key::TOTAL_SIZE => total = self.whole(key, value)?,
                key::DEVICE => device = self.device_id(key, value)?,
                key::STREAM => stream = StreamId::new(self.whole(key, value)?),
                key::SEGMENT_POOL_ID => pool = self.pool_index(key, value)?,
                key::FRAMES => stack = self.frames(key, value)?,
                key::SEGMENT_TYPE => {
                    small = match value.data {
                        Data::Text(key::SMALL) => true,
                        Data::Text(key::LARGE) => false,
                        _ => return Err(self.unexpected(key, value, "small or large")),
                    }
                }
                key::IS_EXPANDABLE => {
                    let Data::Bool(is) = value.data else {
                        return Err(self.unexpected(key, value, "True or False"));
                    };
                    expandable = is;
                }
                key::BLOCKS => {
                    blocks = match self.list(value) {
                        Some(List::Blocks(blocks)) => blocks,
                        Some(List::Empty) => Vec::new(),
                        _ => return Err(self.unexpected(key, value, "a list of blocks")),
                    }
                }
                _ => {}
            }
        }
        for (told, path) in [(address, ".address"), (total, ".total_size")] {
            if told == UNTOLD {
                return Err(wrong(at, path, MISSING, WHOLE));
            }
        }
        lay(&mut blocks, address, total, at)?;
        let pool = self.pools[pool.index()];
        let (address, size) = (Address::new(address), Bytes::new(total));
        Ok(Segment { device, address, size, stream, small, pool, expandable, stack, blocks })
    }

    fn annotation(&mut self, pairs: &[(u32, Value)]) -> Result<Annotation> {
        let (mut device, mut time_us) = (DeviceId::default(), 0);
        let (mut name, mut stage) = (NameId::default(), NameId::default());
        for &(key, value) in pairs {
            match key {
                key::DEVICE => device = self.device_id(key, value)?,
                key::TIME_US => time_us = self.signed(key, value)?,
                key::NAME => name = self.words(key, value)?,
                key::STAGE => stage = self.words(key, value)?,
                _ => {}
            }
        }
        Ok(Annotation { device, time_us, name, stage })
    }

    fn device(&mut self, pairs: &[(u32, Value)]) -> Result<DeviceMemory> {
        let mut memory = DeviceMemory::default();
        for &(key, value) in pairs {
            match (key, value.data) {
                (key::DEVICE, _) => memory.device = self.device_id(key, value)?,
                (_, Data::None) => {}
                (key::DEVICE_TOTAL, _) => memory.total = Some(Bytes::new(self.whole(key, value)?)),
                (key::DEVICE_FREE, _) => memory.free = Some(Bytes::new(self.whole(key, value)?)),
                (key::DEVICE_LIMIT, _) => memory.limit = Some(Bytes::new(self.whole(key, value)?)),
                _ => {}
            }
        }
        Ok(memory)
    }

    fn request(&mut self, pairs: &[(u32, Value)]) -> Result<Record> {
        let (mut size, mut of) = (0, StackId::default());
        for &(key, value) in pairs {
            match key {
                key::REAL_SIZE => size = self.whole(key, value)?,
                key::FRAMES => of = self.frames(key, value)?,
                _ => {}
            }
        }
        Ok(Record::Request(size, of))
    }

    /// A whole number that is not negative.
    #[inline]
    pub(super) fn whole(&self, key: u32, value: Value) -> Result<u64> {
        match value.data {
            Data::Int(number) if number >= 0 => Ok(number.cast_unsigned()),
            _ => Err(self.unexpected(key, value, WHOLE)),
        }
    }

    fn signed(&self, key: u32, value: Value) -> Result<i64> {
        match value.data {
            Data::Int(number) => Ok(number),
            _ => Err(self.unexpected(key, value, "a whole number of up to 63 bits")),
        }
    }

    fn text(&self, key: u32, value: Value) -> Result<u32> {
        match value.data {
            Data::Text(number) => Ok(number),
            _ => Err(self.unexpected(key, value, "a text")),
        }
    }

    /// A text that becomes a name; None is the empty one.
    fn words(&mut self, key: u32, value: Value) -> Result<NameId> {
        match value.data {
            Data::None => Ok(NameId::default()),
            _ => self.text(key, value).map(|text| self.name(text)),
        }
    }

    fn frames(&self, key: u32, value: Value) -> Result<StackId> {
        stack(value).ok_or_else(|| self.unexpected(key, value, "a list of frames"))
    }

    fn pool_index(&mut self, key: u32, value: Value) -> Result<PoolIndex> {
        let index = match value.data {
            Data::Pair(pair) => self.pool(pair),
            Data::None => Some(PoolIndex::default()),
            _ => None,
        };
        index.ok_or_else(|| self.unexpected(key, value, "two whole numbers that are not negative"))
    }

    pub(super) fn device_id(&self, key: u32, value: Value) -> Result<DeviceId> {
        match value.data {
            Data::Int(-1) => Ok(HOST),
            Data::Int(number @ 0..=DEVICES_MAX) => {
                Ok(DeviceId::new(u32::try_from(number).unwrap_or_default()))
            }
            _ => Err(self.unexpected(key, value, "a device number from -1 to 65535")),
        }
    }

    #[cold]
    pub(super) fn unexpected(&self, key: u32, value: Value, expected: &'static str) -> Fault {
        wrong(value.at, format!(".{}", self.texts.get(key)), self.describe(value), expected)
    }
}

/// Sees to it that the blocks cover the segment; old versions do not say where they begin.
fn lay(blocks: &mut [Block], address: u64, total: u64, at: u64) -> Result<()> {
    if address.checked_add(total).is_none_or(|end| end > i64::MAX as u64) {
        let found = format!("{total} at address {address}, which ends beyond 2^63");
        return Err(wrong(at, ".total_size", found, "an end below 2^63"));
    }
    let mut next = address;
    for (index, block) in blocks.iter_mut().enumerate() {
        if block.address.get() == UNTOLD {
            block.address = Address::new(next);
        }
        if block.address.get() != next {
            let path = format!(".blocks[{index}].address");
            let found = format!("{}, where the block before ends at {next}", block.address.get());
            return Err(wrong(at, path, found, "blocks in order without a gap"));
        }
        // Neither can be above 2^63.
        next += block.size.get();
        if next > address + total {
            let path = format!(".blocks[{index}].size");
            let found = format!("{}, beyond the end of the segment", block.size.get());
            return Err(wrong(at, path, found, "blocks within the segment"));
        }
    }
    if next != address + total {
        let found = format!("{} bytes of blocks in a segment of {total}", next - address);
        return Err(wrong(at, ".blocks", found, "blocks up to the end of the segment"));
    }
    Ok(())
}
