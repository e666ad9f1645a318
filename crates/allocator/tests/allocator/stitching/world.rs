//! [`World`]: a program on a watched device, and what could have been served.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use freeboard_allocator::{Config, Error, PoolId, PoolOptions, PoolUse};
use freeboard_device::Handle;
use freeboard_units::{Address, AddressRange, Bytes};

use super::watch::{Piece, STREAMS, Watch};
use crate::common::{Allocator, Device, Held, lend_with_lag, stream};

/// The unit of handles.
const PAGE: Bytes = Bytes::mib(2);

/// One step. Places count modulo what there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Op {
    Allocate {
        bytes: u64,
        stream: u64,
    },
    Free {
        place: usize,
    },
    Use {
        place: usize,
        stream: u64,
    },
    EmptyCache,
    Advance {
        ticks: u64,
    },
    Fraction {
        percent: u32,
    },
    /// Leaves this part of the device's capacity, as if somebody else took the rest.
    Squeeze {
        percent: u64,
    },
    /// Takes the largest request that is servable, and frees it.
    Largest {
        stream: u64,
    },
    /// Serves a stream from the private pool, until the end.
    Begin {
        stream: u64,
        capture: bool,
    },
    End,
    /// Ends all work on a stream, so that its memory is the default stream's. There is more only if
    /// memory is taken on it again.
    Retire {
        stream: u64,
    },
    /// Marks the end of the program's step.
    Step,
}

/// An allocation, with the bytes that it had when it was made.
#[derive(Debug)]
struct Live {
    held: Held,
    stream: usize,
    others: Vec<usize>,
    pieces: Vec<Piece>,
    private: bool,
}

impl Live {
    fn range(&self) -> AddressRange {
        AddressRange::new(self.held.address(), self.held.size())
    }
}

/// A program at work.
#[derive(Debug)]
pub(super) struct World {
    pub(super) device: Device,
    pub(super) allocator: Allocator,
    pub(super) watch: Watch,
    capacity: Bytes,
    allowed: Bytes,
    live: Vec<Live>,
    /// Requests that were refused.
    pub(super) refused: u64,
    /// Whether calls were made to fail: then memory may wait to be given back.
    pub(super) faulty: bool,
    pool: Option<PrivatePool>,
    retired: [bool; STREAMS],
}

/// A private pool, and where its memory has been from the start.
#[derive(Debug)]
struct PrivatePool {
    id: PoolId,
    stream: Option<u64>,
    slots: BTreeMap<Address, Handle>,
}

impl World {
    pub(super) fn new(config: Config, capacity_mib: u64, lag: u64) -> Self {
        let (device, allocator) = lend_with_lag(config, capacity_mib, lag);
        let watch = Watch::new(&device, lag);
        let capacity = Bytes::mib(capacity_mib);
        Self {
            device,
            allocator,
            watch,
            capacity,
            allowed: capacity,
            live: vec![],
            refused: 0,
            faulty: false,
            pool: None,
            retired: [false; STREAMS],
        }
    }

    /// Does one step; a refusal must be justified. After an error it can be done again.
    pub(super) fn step(&mut self, op: Op) -> Result<(), Error> {
        match op {
            Op::Allocate { bytes, stream } => self.allocate(Bytes::new(bytes), stream)?,
            Op::Free { place } => {
                if let Some(place) = place.checked_rem(self.live.len()) {
                    let live = self.live.swap_remove(place);
                    self.free(live);
                }
            }
            // What a captured graph uses is over when the graph is: that is not modelled.
            Op::Use { place, stream: number } if !self.watch.capturing => {
                let index = usize::try_from(number).expect("small");
                if let Some(place) = place.checked_rem(self.live.len())
                    && !self.retired[index]
                {
                    let live = &mut self.live[place];
                    live.held.record_use(stream(number))?;
                    live.others.push(index);
                }
            }
            Op::Begin { stream: number, capture } => self.begin(number, capture)?,
            Op::End => self.end()?,
            Op::EmptyCache => self.allocator.empty_cache()?,
            Op::Advance { ticks } => self.watch.advance(ticks),
            Op::Fraction { percent } => {
                let fraction = f64::from(percent) / 100.0;
                self.allocator.set_memory_fraction(fraction)?;
                self.allowed = self.part(u64::from(percent));
            }
            Op::Squeeze { percent } => self.device.set_capacity(self.part(percent)),
            Op::Largest { stream: number } => {
                if self.pool.is_none() && self.device.used() <= self.device.capacity() {
                    let largest = self.allocator.largest_servable(stream(number))?;
                    self.allocate(largest, number)?;
                    if let Some(live) = self.live.pop().filter(|_| !largest.is_zero()) {
                        self.free(live);
                    }
                }
            }
            Op::Use { .. } => {}
            Op::Retire { stream: number } => {
                let index = usize::try_from(number).expect("small");
                self.watch.drain(index);
                self.allocator.retire_stream(stream(number));
                if index == 0 {
                    return Ok(());
                }
                self.retired[index] = true;
                for live in &mut self.live {
                    if live.stream == index && !live.private {
                        live.stream = 0;
                    }
                    live.others.retain(|&other| other != index);
                }
            }
            Op::Step => self.allocator.step(),
        }
        self.watch.follow();
        Ok(())
    }

    /// Does one step, until no call fails.
    pub(super) fn insist(&mut self, op: Op) {
        loop {
            let hit = self.device.faults_hit();
            let done = self.step(op);
            self.watch.follow();
            self.verify();
            match done {
                Ok(()) => return,
                Err(Error::Device(_) | Error::OutOfMemory(_)) if self.device.faults_hit() > hit => {
                }
                Err(error) => panic!("{op:?}: {error}"),
            }
        }
    }

    fn begin(&mut self, number: u64, capture: bool) -> Result<(), Error> {
        let id = match &self.pool {
            Some(PrivatePool { stream: Some(_), .. }) => return Ok(()),
            Some(pool) => pool.id,
            None => self.allocator.create_pool(PoolOptions::default()),
        };
        let purpose = if capture { PoolUse::Capture } else { PoolUse::Choice };
        self.allocator.begin_pool(id, purpose, move |id| id == stream(number))?;
        self.watch.capturing = capture;
        let slots = self.pool.take().map(|pool| pool.slots).unwrap_or_default();
        self.pool = Some(PrivatePool { id, stream: Some(number), slots });
        Ok(())
    }

    /// Ends the use of the pool and gives up the hold that it had; its maker's stays.
    fn end(&mut self) -> Result<(), Error> {
        let Some(pool) = self.pool.as_mut().filter(|pool| pool.stream.is_some()) else {
            return Ok(());
        };
        pool.stream = None;
        self.watch.capturing = false;
        self.allocator.end_pool(pool.id)?;
        self.allocator.release_pool(pool.id)
    }

    fn part(&self, percent: u64) -> Bytes {
        Bytes::new(self.capacity.get() * percent / 100)
    }

    fn allocate(&mut self, bytes: Bytes, number: u64) -> Result<(), Error> {
        let hit = self.device.faults_hit();
        let held = match self.allocator.allocate_shared(bytes, stream(number)) {
            Ok(held) => held,
            Err(Error::OutOfMemory(_)) if self.device.faults_hit() == hit => {
                self.refused += 1;
                self.watch.follow();
                if self.pool.is_none() {
                    self.justify(bytes);
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if bytes.is_zero() {
            return Ok(());
        }
        self.watch.follow();
        let range = AddressRange::new(held.address(), held.size());
        assert!(self.device.can_access(range), "{range} cannot be used");
        let (pieces, own) = (self.watch.pieces(range), usize::try_from(number).expect("small"));
        for live in &self.live {
            let shared = live.pieces.iter().any(|a| pieces.iter().any(|b| a.overlaps(b)));
            assert!(!shared, "{range} shares bytes with {}", live.range());
        }
        self.retired[own] = false;
        self.watch.hand_out(&pieces, own);
        let pool = self.pool.as_mut().filter(|pool| pool.stream == Some(number));
        let private = pool.is_some();
        if let Some(pool) = pool {
            pool.slots.extend(pieces.iter().map(|piece| (piece.slot(PAGE).start(), piece.handle)));
        }
        self.live.push(Live { held, stream: own, others: vec![], pieces, private });
        Ok(())
    }

    /// The program works on the memory once more, on all its streams, and gives it up.
    fn free(&mut self, live: Live) {
        self.watch.follow();
        assert_eq!(self.watch.pieces(live.range()), live.pieces, "live memory stays where it is");
        if !self.retired[live.stream] {
            self.watch.work_on(&live.pieces, live.stream);
        }
        for &other in &live.others {
            self.watch.order(live.stream, other);
            self.watch.work_on(&live.pieces, other);
        }
        drop(live.held);
    }

    /// Every handle that is mapped, and its size.
    fn handles(&self) -> BTreeMap<Handle, Bytes> {
        self.mappings().into_iter().map(|(range, handle)| (handle, range.size())).collect()
    }

    fn mappings(&self) -> Vec<(AddressRange, Handle)> {
        let all = AddressRange::new(Address::new(0x3000_0000_0000), Bytes::gib(32 << 10));
        self.device.mappings_in(all)
    }

    /// Whether a request had to be refused: whole free handles and what the device and the limit
    /// leave are too little, and so is every free stretch of handles with live bytes.
    fn justify(&self, bytes: Bytes) {
        let mut whole = self.handles();
        let held: Bytes = whole.values().copied().sum();
        // Where handles with live bytes are, and which bytes are live, by address.
        let (mut slots, mut live) = (BTreeMap::new(), BTreeMap::new());
        for piece in self.live.iter().flat_map(|live| &live.pieces) {
            live.insert(piece.addresses().start(), piece.addresses().end());
            if let Some(size) = whole.remove(&piece.handle) {
                slots.insert(piece.slot(size).start(), piece.slot(size).end());
            }
        }
        let whole: Bytes = whole.values().copied().sum();
        let free = self.device.capacity().saturating_sub(self.device.used());
        let room = free.min(self.allowed.saturating_sub(held)).align_down(PAGE);
        assert!(
            bytes.align_up(PAGE) > whole + room,
            "{bytes} were refused with {whole} in whole free handles and {room} of room"
        );
        let stretch = longest_gap(&slots, &live);
        assert!(bytes > stretch, "{bytes} were refused with a free stretch of {stretch}");
    }

    /// A private pool's memory is where it was, is mapped nowhere else, and serves nobody else.
    fn verify_pool(&self, pool: &PrivatePool) {
        let own: BTreeSet<Handle> = pool.slots.values().copied().collect();
        let mapped: BTreeMap<Address, Handle> = self
            .mappings()
            .into_iter()
            .map(|(range, handle)| (range.start(), handle))
            .filter(|(_, handle)| own.contains(handle))
            .collect();
        assert_eq!(mapped, pool.slots, "where the pool's memory is, and where it was");
        for live in self.live.iter().filter(|live| !live.private) {
            assert!(live.pieces.iter().all(|piece| !own.contains(&piece.handle)));
        }
    }

    /// The allocator's own books are in order, the device agrees, and live memory has not moved.
    pub(super) fn verify(&self) {
        assert_eq!(self.allocator.check(), Ok(()));
        crate::snapshots::verify(&self.allocator);
        assert_eq!(self.device.first_violation(), None);
        for live in &self.live {
            assert_eq!(self.watch.pieces(live.range()), live.pieces);
        }
        if let Some(pool) = &self.pool {
            self.verify_pool(pool);
        }
        let reserved = crate::common::reserved(&self.allocator);
        if self.faulty {
            assert!(reserved <= self.device.used());
            return;
        }
        assert_eq!(reserved, self.device.used());
        let seen = self.allocator.stitching();
        assert_eq!(seen.created - seen.released, seen.handles, "handles come and go");
        assert_eq!(seen.map_calls - seen.unmap_calls, seen.mappings, "mappings come and go");
        let private = self.pool.is_some();
        assert!(private || seen.handles == self.handles().len() as u64);
    }

    /// How many allocations are live.
    pub(super) fn count(&self) -> usize {
        self.live.len()
    }

    /// Frees everything that is live.
    pub(super) fn free_all(&mut self) -> Device {
        for live in std::mem::take(&mut self.live) {
            self.free(live);
        }
        self.device.clone()
    }

    /// Frees everything: the device gets all of it back, and then the rest.
    pub(super) fn finish(mut self) {
        self.device.set_capacity(self.capacity);
        self.free_all();
        self.end().expect("nothing fails");
        if let Some(pool) = self.pool.take() {
            self.allocator.release_pool(pool.id).expect("its maker's hold");
        }
        self.allocator.empty_cache().expect("nothing fails");
        self.watch.follow();
        self.verify();
        assert_eq!(self.device.used(), Bytes::ZERO, "an empty cache holds nothing");
        drop(Arc::into_inner(self.allocator).expect("nobody else holds it"));
        assert_eq!(self.device.first_violation(), None);
        assert!(self.device.is_empty(), "left behind: {:?}", self.device.leaks());
    }
}

/// The longest stretch of addresses, of neighbouring slots, without a live byte.
fn longest_gap(slots: &BTreeMap<Address, Address>, live: &BTreeMap<Address, Address>) -> Bytes {
    let (mut longest, mut from, mut to) = (Bytes::ZERO, Address::NULL, Address::NULL);
    let mut live = live.iter().peekable();
    for (&start, &end) in slots {
        if start != to {
            from = start;
        }
        to = end;
        while let Some((&first, &last)) = live.next_if(|(first, _)| **first < end) {
            longest = longest.max(first.offset_from(from));
            from = last;
        }
        longest = longest.max(to.max(from).offset_from(from));
    }
    longest
}
