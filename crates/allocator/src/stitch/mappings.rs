//! Which handle is mapped where, and at which of its slots it is awake.

use std::collections::BTreeMap;

use freeboard_device::Handle;
use freeboard_units::{Address, AddressRange, Bytes};

/// A handle's place in the book.
pub(super) type Number = u32;

/// Physical memory and the places it is mapped at.
#[derive(Clone, Debug)]
pub(super) struct Physical {
    pub(super) handle: Handle,
    pub(super) size: Bytes,
    /// The slot where its bytes exist.
    pub(super) awake: Address,
    /// Every slot, the one awake included.
    pub(super) slots: Vec<Address>,
}

/// A place where a handle is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) range: AddressRange,
    pub(super) number: Number,
    pub(super) is_awake: bool,
}

/// The book of handles and slots.
#[derive(Debug, Default)]
pub(super) struct Mappings {
    physical: Vec<Option<Physical>>,
    spare: Vec<Number>,
    /// By start: the handle, and when it last fell asleep there.
    slots: BTreeMap<Address, (Number, u64)>,
}

impl Mappings {
    /// How many handles there are.
    pub(super) fn handles(&self) -> usize {
        self.physical.len() - self.spare.len()
    }

    /// How many mappings there are, of all handles.
    pub(super) fn mapped(&self) -> usize {
        self.slots.len()
    }

    /// Every handle.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Number, &Physical)> {
        (0..).zip(&self.physical).filter_map(|(number, held)| Some((number, held.as_ref()?)))
    }

    /// A handle that is there.
    pub(super) fn get(&self, number: Number) -> &Physical {
        self.physical[number as usize].as_ref().expect("a handle in the book")
    }

    fn get_mut(&mut self, number: Number) -> &mut Physical {
        self.physical[number as usize].as_mut().expect("a handle in the book")
    }

    /// One more than the largest number in use.
    pub(super) fn numbers(&self) -> usize {
        self.physical.len()
    }

    /// Enters a handle, mapped and awake at one place.
    pub(super) fn add(&mut self, handle: Handle, range: AddressRange) -> Number {
        let at = range.start();
        let physical = Physical { handle, size: range.size(), awake: at, slots: vec![at] };
        let number = self.spare.pop().unwrap_or_else(|| {
            self.physical.push(None);
            u32::try_from(self.physical.len() - 1).expect("fewer than 2^32 handles")
        });
        self.physical[number as usize] = Some(physical);
        self.slots.insert(at, (number, 0));
        number
    }

    /// Enters another slot of a handle, asleep.
    pub(super) fn add_slot(&mut self, number: Number, at: Address) {
        self.get_mut(number).slots.push(at);
        self.slots.insert(at, (number, 0));
    }

    /// Wakes a handle at another of its slots.
    pub(super) fn wake(&mut self, number: Number, at: Address, now: u64) {
        let physical = self.get_mut(number);
        debug_assert!(physical.slots.contains(&at), "a handle wakes where it is mapped");
        let old = std::mem::replace(&mut physical.awake, at);
        self.slots.insert(old, (number, now));
    }

    /// Strikes a slot that is no longer mapped.
    pub(super) fn remove_slot(&mut self, at: Address) {
        if let Some((number, _)) = self.slots.remove(&at) {
            self.get_mut(number).slots.retain(|slot| *slot != at);
        }
    }

    /// Strikes a handle without slots.
    pub(super) fn remove(&mut self, number: Number) {
        debug_assert!(self.get(number).slots.is_empty(), "a handle goes after its mappings");
        self.physical[number as usize] = None;
        self.spare.push(number);
    }

    /// The slots that share an address with `range`, lowest first.
    pub(super) fn overlapping(&self, range: AddressRange) -> impl Iterator<Item = Slot> {
        let first = self.slots.range(..=range.start()).next_back().map(|(&start, _)| start);
        let slots = self.slots.range(first.unwrap_or(range.start())..range.end());
        slots
            .map(|(&start, &(number, _))| {
                let physical = self.get(number);
                let range = AddressRange::new(start, physical.size);
                Slot { range, number, is_awake: physical.awake == start }
            })
            .filter(move |slot| slot.range.overlaps(range))
    }

    /// The slots asleep since before `quiet`, with when they fell asleep.
    pub(super) fn asleep(&self, quiet: u64) -> Vec<(u64, Address, Number)> {
        let slots = self.slots.iter().map(|(&at, &(number, since))| (since, at, number));
        let asleep = |&(since, at, number): &(u64, Address, Number)| {
            since <= quiet && self.get(number).awake != at
        };
        slots.filter(asleep).collect()
    }

    /// Bytes of addresses asleep.
    pub(super) fn asleep_bytes(&self) -> Bytes {
        self.iter().map(|(_, held)| held.size * (held.slots.len() as u64 - 1)).sum()
    }

    /// The handle whose slot begins at an address.
    pub(super) fn slot_at(&self, at: Address) -> Option<Number> {
        self.slots.get(&at).map(|&(number, _)| number)
    }
}
