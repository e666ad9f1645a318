//! The caching allocator over memory that holds bytes: nothing is lent twice, whatever the policy.

use std::sync::Arc;
use std::thread;

use freeboard::allocator::Borrowed;
use freeboard::units::AddressRange;
use freeboard::{Bytes, CachingAllocator, Config, Error, StreamId};

use crate::check::{Check, Full, checks};
use crate::painter::Painter;

pub(crate) fn checks<D: Full>() -> Vec<Check<D>> {
    checks![
        every_policy_keeps_every_byte,
        every_policy_keeps_every_byte_when_memory_is_tight,
        stitched_memory_keeps_every_byte,
        planned_steps_keep_every_byte,
        threads_keep_every_byte,
        everything_is_given_back,
    ]
}

/// Settings that decide differently, by their option strings; the last one is our own.
fn policies() -> Vec<Config> {
    let strings = [
        "",
        "expandable_segments:True",
        "max_split_size_mb:32",
        "garbage_collection_threshold:0.5,max_split_size_mb:64",
        "roundup_power2_divisions:4",
        "large_segment_size_mb:64,expandable_segments:True",
    ];
    let parse = |string: &&str| Config::parse(string).unwrap().config;
    strings.iter().map(parse).chain([Config::default()]).collect()
}

/// Numbers that look random and are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Sizes as a training step asks for them: many small, some of megabytes.
    fn size(&mut self) -> Bytes {
        let most = [2 << 10, 64 << 10, 1 << 20, 6 << 20, 24 << 20];
        let kind = [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4][usize::try_from(self.below(11)).unwrap()];
        Bytes::new(1 + self.below(most[kind]))
    }
}

/// A painted allocation.
struct Held<'a, D: Full> {
    memory: Borrowed<'a, D>,
    range: AddressRange,
    value: u32,
    stream: StreamId,
}

/// Allocates, paints, uses on other streams, reads and frees, `steps` times.
fn run<D: Full>(
    allocator: &CachingAllocator<D>,
    streams: &[StreamId],
    salt: u32,
    steps: usize,
    live: Bytes,
) {
    let random = Random(0x9e37_79b9 + u64::from(salt));
    run_drawn((allocator, streams), random, salt, steps, live);
}

/// As [`run`], with the program drawn from `random` and other colours for another salt.
fn run_drawn<D: Full>(
    (allocator, streams): (&CachingAllocator<D>, &[StreamId]),
    mut random: Random,
    salt: u32,
    steps: usize,
    live: Bytes,
) {
    let device = allocator.device();
    let mut painter = Painter::new(device, salt);
    let mut held: Vec<Held<'_, D>> = Vec::new();
    let mut total = Bytes::ZERO;
    let event = device.create_event().unwrap();
    for _ in 0..steps {
        let stream = streams[usize::try_from(random.below(streams.len() as u64)).unwrap()];
        let grow = held.is_empty() || (total < live && random.below(5) < 3);
        if grow {
            match allocator.allocate(random.size(), stream) {
                Ok(memory) => {
                    let range = AddressRange::new(memory.address(), memory.size());
                    let value = painter.paint(range, stream);
                    total += range.size();
                    held.push(Held { memory, range, value, stream });
                    continue;
                }
                Err(Error::OutOfMemory(_)) if !held.is_empty() => {}
                Err(error) => panic!("{error}"),
            }
        }
        let at = usize::try_from(random.below(held.len() as u64)).unwrap();
        let Held { memory, range, value, stream: home } = held.swap_remove(at);
        if stream != home {
            // Read elsewhere, and freed while that may still be to come.
            device.record(event, home).unwrap();
            device.stream_wait(stream, event).unwrap();
            memory.record_use(stream).unwrap();
        }
        painter.expect(range, value, stream);
        total -= range.size();
        drop(memory);
    }
    for Held { memory, range, value, stream } in held {
        painter.expect(range, value, stream);
        drop(memory);
    }
    painter.look();
    device.destroy_event(event).unwrap();
}

fn streams<D: Full>(device: &D, count: usize) -> Vec<StreamId> {
    let made = (1..count).map(|_| device.create_stream().unwrap());
    [StreamId::DEFAULT].into_iter().chain(made).collect()
}

fn every_policy_keeps_every_byte<D: Full>(device: &D) {
    let streams = streams(device, 4);
    for (salt, config) in (1..).zip(policies()) {
        let allocator = CachingAllocator::new(device.clone(), config).unwrap();
        run(&allocator, &streams, salt, 600, Bytes::mib(128));
    }
}

fn every_policy_keeps_every_byte_when_memory_is_tight<D: Full>(device: &D) {
    let streams = streams(device, 3);
    // Takes the rest, so that the allocator sees an almost full device.
    let unit = device.granularity();
    let rest = device.info().unwrap().free.saturating_sub(Bytes::mib(64)).align_down(unit);
    let ballast = device.create(rest).unwrap();
    for (salt, config) in (1..).zip(policies()) {
        let allocator = CachingAllocator::new(device.clone(), config).unwrap();
        run(&allocator, &streams, salt, 500, Bytes::mib(200));
        // Stitching gives nothing back to try again: it has divided handles and hurried blocks.
        let (stats, stitching) = (allocator.stats(), allocator.stitching());
        let tight = stats.num_alloc_retries > 0 || stitching.windows + stitching.pending_waits > 0;
        assert!(tight, "memory was not tight");
    }
    device.release(ballast).unwrap();
}

/// Little memory and four streams: memory falls asleep, wakes, is unmapped and divided.
fn stitched_memory_keeps_every_byte<D: Full>(device: &D) {
    let streams = streams(device, 4);
    let part = Bytes::mib(64).as_f64() / device.info().unwrap().total.as_f64();
    let config = Config::default().with_memory_fraction(part).unwrap();
    for budget in [1.0, 4.0] {
        let config = config.clone().with_mapping_budget(budget).unwrap();
        let allocator = CachingAllocator::new(device.clone(), config).unwrap();
        divide(&allocator);
        for salt in 1..=3 {
            run(&allocator, &streams, salt, 600, Bytes::mib(200));
        }
        let seen = allocator.stitching();
        let kept = if budget > 1.0 { seen.woken_bytes.get() } else { seen.unmap_calls };
        let ways = [seen.windows, seen.stitches, seen.stream_waits, kept];
        assert!(ways.iter().all(|&count| count > 0), "{seen:?}");
    }
}

/// Cuts blocks out of large handles when all is quiet and the limit is near.
fn divide<D: Full>(allocator: &CachingAllocator<D>) {
    let device = allocator.device();
    let mut painter = Painter::new(device, 0);
    drop(allocator.allocate(Bytes::mib(56), StreamId::DEFAULT).unwrap());
    let mut held = Vec::new();
    for _ in 0..8 {
        let memory = allocator.allocate(Bytes::mib(5), StreamId::DEFAULT).unwrap();
        let range = AddressRange::new(memory.address(), memory.size());
        held.push((painter.paint(range, StreamId::DEFAULT), range, memory));
        device.synchronize_stream(StreamId::DEFAULT).unwrap();
    }
    assert!(allocator.stitching().divided > 0, "{:?}", allocator.stitching());
    for (value, range, memory) in held {
        painter.expect(range, value, StreamId::DEFAULT);
        drop(memory);
    }
    painter.look();
}

/// The same step over and over, another one between: served from a plan, and not.
fn planned_steps_keep_every_byte<D: Full>(device: &D) {
    let roomy = Config::default().with_reserve_target(4.0).unwrap();
    for (count, config) in [(1, Config::default()), (3, roomy)] {
        let streams = streams(device, count);
        let allocator = CachingAllocator::new(device.clone(), config).unwrap();
        for round in 1..=14 {
            let random = Random(if round == 9 { 77 } else { 99 });
            run_drawn((&allocator, &streams), random, round, 150, Bytes::mib(64));
            allocator.step();
        }
        let planning = allocator.planning();
        assert!(planning.hits > 300 && planning.deviations > 0, "{planning:?}");
        assert_eq!(allocator.check(), Ok(()));
    }
}

fn threads_keep_every_byte<D: Full>(device: &D) {
    for config in [Config::pytorch(), Config::default()] {
        let allocator = Arc::new(CachingAllocator::new(device.clone(), config).unwrap());
        thread::scope(|scope| {
            for salt in 1..=4 {
                let (allocator, streams) = (Arc::clone(&allocator), streams(device, 2));
                scope.spawn(move || run(&allocator, &streams, salt, 300, Bytes::mib(48)));
            }
        });
        assert_eq!(allocator.stats().allocated_bytes.all.current, 0);
    }
}

fn everything_is_given_back<D: Full>(device: &D) {
    let before = device.info().unwrap().free;
    for config in policies() {
        let allocator = CachingAllocator::new(device.clone(), config).unwrap();
        run(&allocator, &streams(device, 2), 1, 50, Bytes::mib(64));
        allocator.empty_cache().unwrap();
        assert_eq!(allocator.stats().reserved_bytes.all.current, 0);
        drop(allocator);
    }
    let lost = before.saturating_sub(device.info().unwrap().free);
    assert!(lost < Bytes::mib(16), "{lost} did not come back");
}
