//! [`Arena`]: dictionaries and lists that are being filled; [`List`]: what a list turned out to hold.

use crate::history::Event;
use crate::model::{Annotation, Block, DeviceMemory, Segment};
use crate::names::StackId;

use super::records::Record;
use super::value::{Handle, NOT_KEPT, NUMBER_MAX, Value};

/// A dictionary as the file has it: the number of the key's text, and the value.
pub(super) type Pairs = Vec<(u32, Value)>;

/// What a list holds, which its first entry tells.
#[derive(Default)]
pub(super) enum List {
    #[default]
    Empty,
    Events(Vec<Event>),
    Frames(Vec<u32>),
    Segments(Vec<Segment>),
    Blocks(Vec<Block>),
    Annotations(Vec<Annotation>),
    /// Lists of events: one for each device.
    Traces(Vec<Vec<Event>>),
    /// The requests in a block as old versions wrote them; the first says what the block is for.
    Requests(u64, StackId),
    Devices(Vec<DeviceMemory>),
    /// Something that no snapshot needs.
    Other,
}

impl List {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Empty | Self::Other | Self::Requests(..) => 0,
            Self::Events(entries) => entries.len(),
            Self::Frames(entries) => entries.len(),
            Self::Segments(entries) => entries.len(),
            Self::Blocks(entries) => entries.len(),
            Self::Annotations(entries) => entries.len(),
            Self::Traces(entries) => entries.len(),
            Self::Devices(entries) => entries.len(),
        }
    }

    /// The memory its entries take.
    pub(super) fn bytes(&self) -> usize {
        let entry = match self {
            Self::Empty | Self::Other | Self::Requests(..) => 0,
            Self::Events(_) => size_of::<Event>(),
            Self::Frames(_) => 4,
            Self::Segments(_) => size_of::<Segment>(),
            Self::Blocks(_) => size_of::<Block>(),
            Self::Annotations(_) => size_of::<Annotation>(),
            Self::Traces(_) => size_of::<Vec<Event>>(),
            Self::Devices(_) => size_of::<DeviceMemory>(),
        };
        entry * self.len()
    }

    /// Adds an entry, if it is of the kind of those before; says whether it is.
    pub(super) fn add(&mut self, record: Record) -> bool {
        match (&mut *self, record) {
            (Self::Events(entries), Record::Event(entry)) => entries.push(entry),
            (Self::Frames(entries), Record::Frame(entry)) => entries.push(entry),
            (Self::Segments(entries), Record::Segment(entry)) => entries.push(entry),
            (Self::Blocks(entries), Record::Block(entry)) => entries.push(entry),
            (Self::Annotations(entries), Record::Annotation(entry)) => entries.push(entry),
            (Self::Traces(entries), Record::Trace(entry)) => entries.push(entry),
            (Self::Devices(entries), Record::Device(entry)) => entries.push(entry),
            (Self::Other, _) | (Self::Requests(..), Record::Request(..)) => {}
            (Self::Empty, record) => {
                *self = match record {
                    Record::Event(entry) => Self::Events(vec![entry]),
                    Record::Frame(entry) => Self::Frames(vec![entry]),
                    Record::Segment(entry) => Self::Segments(vec![entry]),
                    Record::Block(entry) => Self::Blocks(vec![entry]),
                    Record::Annotation(entry) => Self::Annotations(vec![entry]),
                    Record::Trace(entry) => Self::Traces(vec![entry]),
                    Record::Device(entry) => Self::Devices(vec![entry]),
                    Record::Request(size, stack) => Self::Requests(size, stack),
                    Record::Other => Self::Other,
                };
            }
            _ => return false,
        }
        true
    }
}

struct Slot<T> {
    generation: u32,
    /// Its number in the memo.
    kept: u32,
    /// Where on the stack it was made, and still lies until it is used.
    height: usize,
    value: T,
}

/// Objects by number, each in one place and used once.
pub(super) struct Arena<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T: Default> Arena<T> {
    /// A new object, in a slot with whatever its last one left; `None` if there are too many.
    pub(super) fn add(&mut self, height: usize) -> Option<Handle> {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize].height = height;
            return Some(self.current(slot));
        }
        let slot = u32::try_from(self.slots.len()).ok().filter(|&slot| slot < NUMBER_MAX)?;
        self.slots.push(Slot { generation: 0, kept: NOT_KEPT, height, value: T::default() });
        Some(Handle { slot, generation: 0 })
    }

    /// The object that is in a slot now.
    pub(super) fn current(&self, slot: u32) -> Handle {
        Handle { slot, generation: self.slots[slot as usize].generation }
    }

    fn slot(&mut self, handle: Handle) -> Option<&mut Slot<T>> {
        let slot = self.slots.get_mut(handle.slot as usize)?;
        (slot.generation == handle.generation).then_some(slot)
    }

    /// `None` once it was used.
    pub(super) fn get(&mut self, handle: Handle) -> Option<&mut T> {
        self.slot(handle).map(|slot| &mut slot.value)
    }

    /// As [`get`](Self::get), to look at.
    pub(super) fn view(&self, handle: Handle) -> Option<&T> {
        let slot = self.slots.get(handle.slot as usize)?;
        (slot.generation == handle.generation).then_some(&slot.value)
    }

    /// Where on the stack it was made.
    pub(super) fn height(&self, slot: u32) -> usize {
        self.slots[slot as usize].height
    }

    /// Notes its number in the memo; false if it has another one.
    pub(super) fn keep(&mut self, handle: Handle, number: u32) -> bool {
        let Some(slot) = self.slot(handle) else { return false };
        let is_first = slot.kept == NOT_KEPT || slot.kept == number;
        slot.kept = number;
        is_first
    }

    /// Uses it up: its content and its number in the memo.
    pub(super) fn take(&mut self, handle: Handle) -> Option<(T, u32)> {
        let slot = self.slot(handle)?;
        slot.generation = slot.generation.wrapping_add(1);
        let kept = std::mem::replace(&mut slot.kept, NOT_KEPT);
        let value = std::mem::take(&mut slot.value);
        self.free.push(handle.slot);
        Some((value, kept))
    }

    /// Gives room to the next object in the slot.
    pub(super) fn leave(&mut self, handle: Handle, room: T) {
        self.slots[handle.slot as usize].value = room;
    }

    /// The bytes of the table itself.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * (size_of::<Slot<T>>() + 4)
    }
}
