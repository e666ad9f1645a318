//! A program at work: the allocator, the device under it, and a model of what both should say.

use std::sync::Arc;

use freeboard_allocator::{Config, Error, PoolId, PoolOptions, PoolUse, Stats};
use freeboard_units::{Address, AddressRange, Bytes, StreamId};

use crate::common::{Allocator, Device, Held, bytes, lend_with_lag, stream};
use crate::program::{Op, Program};

/// An allocation as the model knows it.
#[derive(Debug)]
struct Live {
    /// `None` while only the address is kept.
    held: Option<Held>,
    address: Address,
    requested: Bytes,
    size: Bytes,
    /// Whether another stream was announced.
    used_elsewhere: bool,
}

/// A private pool as the model knows it.
#[derive(Debug)]
struct PoolModel {
    id: PoolId,
    holders: u32,
    /// Why requests go to it, while they do.
    purpose: Option<PoolUse>,
}

/// What is live on which device, and what it should add up to.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) device: Device,
    pub(crate) allocator: Option<Allocator>,
    live: Vec<Live>,
    pools: Vec<PoolModel>,
    /// Whether a freed block may still wait for another stream.
    may_wait: bool,
    /// Whether the device was ever made to fail: then memory may wait to be given back.
    pub(crate) faulty: bool,
}

impl World {
    pub(crate) fn new(config: Config, program: &Program) -> Self {
        let (device, allocator) = lend_with_lag(config, program.capacity_mib, program.lag);
        let allocator = Some(allocator);
        Self { device, allocator, live: vec![], pools: vec![], may_wait: false, faulty: false }
    }

    pub(crate) fn allocator(&self) -> &Allocator {
        self.allocator.as_ref().expect("still there")
    }

    /// Does one step. The model follows only where the allocator did as asked.
    pub(crate) fn step(&mut self, op: Op) -> Result<(), Error> {
        let allocator = Arc::clone(self.allocator());
        match op {
            Op::Allocate { bytes, stream: number } => {
                let asked = Bytes::new(bytes);
                let held = allocator.allocate_shared(asked, stream(number))?;
                let own = if bytes == 0 { StreamId::DEFAULT } else { stream(number) };
                assert_eq!((held.requested(), held.stream()), (asked, own));
                let (address, size) = (held.address(), held.size());
                let (held, requested, used_elsewhere) = (Some(held), asked, false);
                self.live.push(Live { held, address, requested, size, used_elsewhere });
            }
            Op::Free { place } => {
                let Some(place) = self.place(place) else { return Ok(()) };
                let live = self.live.swap_remove(place);
                self.may_wait |= live.used_elsewhere;
                if live.held.is_none() {
                    allocator.free_raw(live.address)?;
                }
            }
            Op::RecordUse { place, stream: number } => {
                let Some(place) = self.place(place) else { return Ok(()) };
                self.live[place].used_elsewhere = true;
                match &self.live[place] {
                    Live { held: Some(held), .. } => held.record_use(stream(number))?,
                    raw => allocator.record_use_raw(raw.address, stream(number))?,
                }
            }
            Op::IntoRaw { place } => {
                let Some(place) = self.place(place) else { return Ok(()) };
                let live = &mut self.live[place];
                if let Some(held) = live.held.take() {
                    assert_eq!(held.into_raw(), live.address);
                }
            }
            Op::Claim { place } => self.claim(place)?,
            Op::EmptyCache => {
                allocator.empty_cache()?;
                self.may_wait &= self.capturing();
            }
            Op::Advance { ticks } => self.device.advance(ticks),
            Op::Fraction { percent } => {
                allocator.set_memory_fraction(f64::from(percent) / 100.0)?;
            }
            pool_op => self.step_pool(pool_op, &allocator),
        }
        Ok(())
    }

    /// There is no claim of a shared handle: claims one that borrows, and gives it up again.
    fn claim(&mut self, place: usize) -> Result<(), Error> {
        let Some(place) = self.place(place) else { return Ok(()) };
        let live = &self.live[place];
        if live.held.is_none() {
            let borrowed = self.allocator().claim(live.address)?;
            assert_eq!((borrowed.requested(), borrowed.size()), (live.requested, live.size));
            assert_eq!(borrowed.into_raw(), live.address);
        }
        Ok(())
    }

    fn step_pool(&mut self, op: Op, allocator: &Allocator) {
        let count = self.pools.len().max(1);
        match op {
            Op::CreatePool { lending, unsplit } => {
                let mut options = PoolOptions::default();
                options = if lending { options.lending() } else { options };
                options = if unsplit { options.unsplit() } else { options };
                let id = allocator.create_pool(options);
                self.pools.push(PoolModel { id, holders: 1, purpose: None });
            }
            Op::BeginPool { place, capture, stream } => {
                let Some(pool) = self.pools.get_mut(place % count) else { return };
                let purpose = if capture { PoolUse::Capture } else { PoolUse::Choice };
                let picks =
                    move |id| stream.is_none_or(|number| id == crate::common::stream(number));
                let begun = allocator.begin_pool(pool.id, purpose, picks);
                assert_eq!(begun.is_ok(), pool.purpose.is_none(), "{begun:?}");
                if begun.is_ok() {
                    pool.purpose = Some(purpose);
                    pool.holders += 1;
                }
            }
            Op::EndPool { place } => {
                let Some(pool) = self.pools.get_mut(place % count) else { return };
                let ended = allocator.end_pool(pool.id);
                assert_eq!(ended.is_ok(), pool.purpose.take().is_some(), "{ended:?}");
            }
            Op::ReleasePool { place } => {
                let Some(pool) = self.pools.get_mut(place % count) else { return };
                let released = allocator.release_pool(pool.id);
                let may = pool.purpose.is_none() || pool.holders > 1;
                assert_eq!(released.is_ok(), may, "{released:?}");
                pool.holders -= u32::from(may);
                self.pools.retain(|pool| pool.holders > 0);
            }
            _ => unreachable!("not about pools"),
        }
    }

    fn place(&self, place: usize) -> Option<usize> {
        place.checked_rem(self.live.len())
    }

    pub(crate) fn capturing(&self) -> bool {
        self.pools.iter().any(|pool| pool.purpose == Some(PoolUse::Capture))
    }

    /// The allocator, the device and the model agree.
    #[track_caller]
    pub(crate) fn verify(&self) {
        let allocator = self.allocator();
        assert_eq!(allocator.check(), Ok(()));
        crate::snapshots::verify(allocator);
        assert_eq!(self.device.first_violation(), None);
        let mut ranges = Vec::with_capacity(self.live.len());
        for live in self.live.iter().filter(|live| !live.size.is_zero()) {
            let range = AddressRange::new(live.address, live.size);
            assert!(self.device.can_access(range), "{range} is not there");
            assert!(live.address.get().is_multiple_of(512) && live.size >= live.requested);
            ranges.push(range);
        }
        ranges.sort_by_key(|range| range.start());
        for pair in ranges.windows(2) {
            assert!(!pair[0].overlaps(pair[1]), "{} and {} overlap", pair[0], pair[1]);
        }
        self.verify_stats(&allocator.stats(), ranges.len());
    }

    #[track_caller]
    fn verify_stats(&self, stats: &Stats, live: usize) {
        let requested: Bytes = self.live.iter().map(|live| live.requested).sum();
        let size: Bytes = self.live.iter().map(|live| live.size).sum();
        assert_eq!(bytes(stats.allocated_bytes.all.current), size);
        assert_eq!(stats.allocation.all.current, i64::try_from(live).unwrap());
        let pending = stats.requested_bytes.all.current - requested.as_i64();
        assert!(if self.may_wait { pending >= 0 } else { pending == 0 }, "{pending} too much");
        assert!(stats.active_bytes.all.current - size.as_i64() >= pending);
        let (held, used) = (bytes(stats.reserved_bytes.all.current), self.device.used());
        assert!(if self.faulty { held <= used } else { held == used }, "{held} held, {used} used");
        assert!(held >= size);
    }

    pub(crate) fn free_all(&mut self) {
        for live in std::mem::take(&mut self.live) {
            self.may_wait |= live.used_elsewhere;
            if live.held.is_none() {
                self.allocator().free_raw(live.address).expect("it is allocated");
            }
        }
    }

    /// Frees everything and drops the allocator: the device must be as it was.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        self.free_all();
        self.verify();
        drop(Arc::into_inner(self.allocator.take().unwrap()).unwrap());
        assert_eq!(self.device.first_violation(), None);
        assert!(self.device.is_empty(), "left behind: {:?}", self.device.leaks());
    }
}
