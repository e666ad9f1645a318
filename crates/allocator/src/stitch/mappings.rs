//! Which handle is mapped where, and at which of its slots it is awake.

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
    /// The tick the handle last fell asleep here in.
    asleep_since: u64,
}

/// The book of handles and slots.
#[derive(Debug, Default)]
pub(super) struct Mappings {
    physical: Vec<Option<Physical>>,
    spare: Vec<Number>,
    /// By address. They are looked at far more often than one comes or goes, which takes a driver
    /// call anyway.
    slots: Vec<Slot>,
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

    /// The place of the first slot that begins at an address or behind it.
    fn place(&self, at: Address) -> usize {
        self.slots.partition_point(|slot| slot.range.start() < at)
    }

    fn enter(&mut self, number: Number, at: Address, is_awake: bool) {
        let range = AddressRange::new(at, self.get(number).size);
        let place = self.place(at);
        self.slots.insert(place, Slot { range, number, is_awake, asleep_since: 0 });
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
        self.enter(number, at, true);
        number
    }

    /// Enters another slot of a handle, asleep.
    pub(super) fn add_slot(&mut self, number: Number, at: Address) {
        self.get_mut(number).slots.push(at);
        self.enter(number, at, false);
    }

    /// Wakes a handle at another of its slots.
    pub(super) fn wake(&mut self, number: Number, at: Address, now: u64) {
        let physical = self.get_mut(number);
        debug_assert!(physical.slots.contains(&at), "a handle wakes where it is mapped");
        let old = std::mem::replace(&mut physical.awake, at);
        let [old, new] = [old, at].map(|at| self.place(at));
        (self.slots[old].is_awake, self.slots[old].asleep_since) = (false, now);
        self.slots[new].is_awake = true;
    }

    /// Strikes a slot that is no longer mapped.
    pub(super) fn remove_slot(&mut self, at: Address) {
        if let Some(number) = self.slot_at(at) {
            let place = self.place(at);
            self.slots.remove(place);
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
        let first = self.slots.partition_point(|slot| slot.range.end() <= range.start());
        self.slots[first..].iter().take_while(move |slot| slot.range.start() < range.end()).copied()
    }

    /// The slots asleep since before `quiet`, with when they fell asleep.
    pub(super) fn asleep(&self, quiet: u64) -> Vec<(u64, Address, Number)> {
        let asleep = self.slots.iter().filter(|slot| !slot.is_awake && slot.asleep_since <= quiet);
        asleep.map(|slot| (slot.asleep_since, slot.range.start(), slot.number)).collect()
    }

    /// Bytes of addresses asleep.
    pub(super) fn asleep_bytes(&self) -> Bytes {
        self.slots.iter().filter(|slot| !slot.is_awake).map(|slot| slot.range.size()).sum()
    }

    /// The handle whose slot begins at an address.
    pub(super) fn slot_at(&self, at: Address) -> Option<Number> {
        let slot = self.slots.get(self.place(at))?;
        (slot.range.start() == at).then_some(slot.number)
    }
}
