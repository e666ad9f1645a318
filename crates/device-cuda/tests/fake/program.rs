//! A program on an allocator: memory taken, written, read back, lent to other streams, given back.

use std::sync::Arc;

use freeboard_allocator::{Allocation, CachingAllocator, Config, Error};
use freeboard_device::{Memory, Order, Transfer};
use freeboard_device_cuda::{CudaDevice, Driver};
use freeboard_fake_cuda::{Fake, Live};
use freeboard_units::{Address, Bytes, StreamId};

use crate::common::{DEFAULT, on};

type Held = Allocation<CudaDevice>;

/// The ways to hold segments: fixed, by pages, and by pages with our searches.
pub(crate) fn configurations() -> [Config; 3] {
    let pages = Config::parse("expandable_segments:True").unwrap().config;
    [Config::pytorch(), pages, Config::default()]
}

/// Numbers that look random and are the same every time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % limit
    }
}

/// An allocator on a device, what it gave out, and what was written there.
pub(crate) struct World<'a> {
    fake: &'a Fake,
    device: CudaDevice,
    pub(crate) allocator: Arc<CachingAllocator<CudaDevice>>,
    streams: Vec<StreamId>,
    held: Vec<(Held, u64)>,
    written: u64,
}

const MARK: usize = 8;

impl<'a> World<'a> {
    pub(crate) fn new(fake: &'a Fake, driver: &'static Driver, config: Config) -> Self {
        let device = CudaDevice::with_options(0, on(driver)).unwrap();
        let streams = [0; 2].map(|_| device.create_stream().unwrap());
        let allocator = Arc::new(CachingAllocator::new(device.clone(), config).unwrap());
        let streams = vec![DEFAULT, streams[0], streams[1]];
        Self { fake, device, allocator, streams, held: Vec::new(), written: 0 }
    }

    /// Does something; where a call failed by plan, once more.
    fn again<T, E: std::fmt::Display>(&self, work: impl Fn() -> Result<T, E>) -> T {
        let hit = self.fake.failures_hit();
        match work() {
            Ok(done) => done,
            Err(error) => {
                assert!(self.fake.failures_hit() > hit, "{error}");
                let Ok(done) = work() else { panic!("it fails for good: {error}") };
                done
            }
        }
    }

    /// Places in an allocation that are written and read: its ends and its middle.
    fn places(held: &Held) -> [Address; 3] {
        let (start, last) = (held.address(), Bytes::new(held.size().get() - MARK as u64));
        [start, start + Bytes::new(last.get() / 2), start + last]
    }

    fn write(&self, held: &Held, mark: u64) {
        let bytes = mark.to_le_bytes();
        for to in Self::places(held) {
            let size = Bytes::new(bytes.len() as u64);
            // SAFETY: the allocation is ours, and the fake driver copies at once.
            self.again(|| unsafe { self.device.upload(to, bytes.as_ptr(), size, DEFAULT) });
        }
    }

    fn read(&self, held: &Held, mark: u64) {
        for from in Self::places(held) {
            let found = self.again(|| crate::common::get(&self.device, from, MARK));
            assert_eq!(found, mark.to_le_bytes(), "another's bytes at {from}");
        }
    }

    pub(crate) fn take(&mut self, bytes: u64, stream: usize) -> Result<(), Error> {
        let held = self.allocator.allocate_shared(Bytes::new(bytes), self.streams[stream])?;
        self.written += 1;
        self.write(&held, self.written);
        self.held.push((held, self.written));
        Ok(())
    }

    pub(crate) fn give(&mut self, place: usize) {
        if !self.held.is_empty() {
            let (held, mark) = self.held.swap_remove(place % self.held.len());
            self.read(&held, mark);
        }
    }

    fn lend(&mut self, place: usize, stream: usize) -> Result<(), Error> {
        match self.held.len() {
            0 => Ok(()),
            count => self.held[place % count].0.record_use(self.streams[stream]),
        }
    }

    fn hold(&self, stream: usize, held: bool) {
        let handle = self.device.raw_stream(self.streams[stream]).unwrap();
        assert!(self.fake.hold(handle, held));
    }

    /// One step of a program. A step that failed by plan works when it is done again.
    pub(crate) fn step(&mut self, random: &mut Random) {
        let (kind, place, stream) = (random.below(20), random.below(64), random.below(3));
        let (place, stream) = (usize::try_from(place).unwrap(), usize::try_from(stream).unwrap());
        let bytes = match random.below(3) {
            0 => MARK as u64 + random.below(4096),
            1 => MARK as u64 + random.below(4 << 20),
            _ => MARK as u64 + random.below(60 << 20),
        };
        let full = matches!(kind, 0..=9) && self.held.len() > 20;
        let hit = self.fake.failures_hit();
        for attempt in 0.. {
            let done = match kind {
                0..=9 if !full => self.take(bytes, stream),
                0..=14 => {
                    self.give(place);
                    Ok(())
                }
                15 | 16 => self.lend(place, stream),
                17 => self.allocator.empty_cache(),
                _ => {
                    self.hold(stream, kind == 18);
                    Ok(())
                }
            };
            match done {
                Ok(()) => break,
                Err(error) if attempt == 0 => {
                    assert!(self.fake.failures_hit() > hit, "{error}");
                    assert!(matches!(error, Error::Device(_) | Error::OutOfMemory(_)), "{error}");
                }
                Err(error) => panic!("it fails for good: {error}"),
            }
        }
    }

    /// Every allocation has its own bytes, and the books are in order.
    pub(crate) fn verify(&self) {
        self.allocator.check().unwrap();
        for (held, mark) in &self.held {
            self.read(held, *mark);
        }
    }

    /// Gives everything back; nothing is left.
    pub(crate) fn finish(mut self) {
        self.fake.clear_failures();
        self.verify();
        self.held.clear();
        self.allocator.empty_cache().unwrap();
        self.allocator.check().unwrap();
        assert_eq!(self.allocator.stats().reserved_bytes.all.current, 0);
        let fake = self.fake;
        drop(self);
        assert_eq!(fake.live(), Live::default());
    }

    pub(crate) fn free(&self) -> Bytes {
        self.device.info().unwrap().free
    }
}
