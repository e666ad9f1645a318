//! A million allocations and frees over 10 GiB of this machine's memory, by eight threads on four
//! streams, as training does it; every byte of every block is looked at before it goes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unsafe_code, reason = "the kernels of a host device work through pointers")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use freeboard::allocator::Borrowed;
use freeboard::device::{Memory, Order};
use freeboard::{Bytes, CachingAllocator, Config, HostDevice, StreamId};

const THREADS: u64 = 8;
const STREAMS: usize = 4;
/// Allocations and frees, each counted.
const OPERATIONS: u64 = 1_000_000;
/// Blocks that a step makes on its way forward, and frees in the opposite order.
const LAYERS: u64 = 50;
/// Blocks that each thread keeps to the end: together 5 GiB.
const WEIGHTS: u64 = 20;
const WEIGHT: Bytes = Bytes::mib(32);

/// A multiplicative generator: the same numbers every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Whole words: mostly small, some of a megabyte and more, as activations are.
    fn bytes(&mut self) -> Bytes {
        let most = match self.below(500) {
            0 => 8 << 20,
            1..=5 => 1 << 20,
            6..=150 => 32 << 10,
            _ => 2 << 10,
        };
        Bytes::new(4 * (1 + self.below(most / 4)))
    }
}

type Device = HostDevice;

struct Block<'a> {
    memory: Borrowed<'a, Device>,
    words: usize,
    value: u32,
    home: StreamId,
}

struct Worker<'a> {
    allocator: &'a CachingAllocator<Device>,
    streams: &'a [StreamId],
    wrong: Arc<AtomicU64>,
    random: Random,
    next: u32,
}

impl<'a> Worker<'a> {
    fn stream(&mut self) -> StreamId {
        self.streams[usize::try_from(self.random.below(STREAMS as u64)).unwrap()]
    }

    fn allocate(&mut self, bytes: Bytes, home: StreamId) -> Block<'a> {
        let memory = self.allocator.allocate(bytes, home).unwrap();
        let words = usize::try_from(bytes.get() / 4).unwrap();
        self.next += 1;
        let (value, address, device) = (self.next, memory.address(), self.allocator.device());
        let on = device.clone();
        let paint = move || {
            let start = on.pointer::<u32>(address);
            for word in 0..words {
                // SAFETY: the block has that many words and is this stream's until it is freed.
                unsafe { start.wrapping_add(word).write(value) };
            }
        };
        device.launch(home, paint).unwrap();
        Block { memory, words, value, home }
    }

    /// Looks at every word on a stream, and frees the block before that is done.
    fn free(&mut self, block: Block<'a>) {
        let device = self.allocator.device();
        let Block { memory, words, value, home } = block;
        let stream = if self.random.below(10) == 0 { self.stream() } else { home };
        if stream != home {
            let event = device.create_event().unwrap();
            device.record(event, home).unwrap();
            device.stream_wait(stream, event).unwrap();
            device.destroy_event(event).unwrap();
            memory.record_use(stream).unwrap();
        }
        let (wrong, address, on) = (Arc::clone(&self.wrong), memory.address(), device.clone());
        let look = move || {
            let start = on.pointer::<u32>(address);
            for word in 0..words {
                // SAFETY: the block has that many words and is not used again before this is done.
                let seen = unsafe { start.wrapping_add(word).read() };
                if seen != value {
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        device.launch(stream, look).unwrap();
    }

    /// Steps of training: weights that stay, activations that go in the opposite order, and
    /// temporaries in between.
    fn train(mut self, operations: u64) {
        let home = self.stream();
        let weights: Vec<_> = (0..WEIGHTS).map(|_| self.allocate(WEIGHT, home)).collect();
        for _ in 0..operations.div_ceil(4 * LAYERS) {
            let stream = self.stream();
            let mut activations = Vec::new();
            for _ in 0..LAYERS {
                let sizes = [self.random.bytes(), self.random.bytes()];
                let [temporary, activation] = sizes.map(|bytes| self.allocate(bytes, stream));
                activations.push(activation);
                self.free(temporary);
            }
            while let Some(activation) = activations.pop() {
                self.free(activation);
            }
        }
        for weight in weights {
            self.free(weight);
        }
    }
}

/// Descriptors and mappings of this process.
fn resources() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    (descriptors, fs::read_to_string("/proc/self/maps").unwrap().lines().count())
}

#[test]
fn a_million_operations_keep_every_byte_and_leak_nothing() {
    let before = resources();
    let device = HostDevice::new(Bytes::gib(10)).unwrap();
    let allocator = CachingAllocator::new(device.clone(), Config::default()).unwrap();
    let streams: Vec<_> = (0..STREAMS).map(|_| device.create_stream().unwrap()).collect();
    let wrong = Arc::new(AtomicU64::new(0));
    thread::scope(|scope| {
        for n in 0..THREADS {
            let worker = Worker {
                allocator: &allocator,
                streams: &streams,
                wrong: Arc::clone(&wrong),
                random: Random(n),
                next: u32::try_from(n << 28).unwrap(),
            };
            scope.spawn(|| worker.train(OPERATIONS / THREADS));
        }
    });
    device.synchronize().unwrap();
    assert_eq!(wrong.load(Ordering::Relaxed), 0, "words that were overwritten");

    let stats = allocator.stats();
    let operations = stats.allocation.all.allocated + stats.allocation.all.freed;
    assert!(operations.unsigned_abs() >= OPERATIONS, "{operations} operations");
    assert_eq!(stats.allocation.all.current, 0);
    allocator.empty_cache().unwrap();
    assert_eq!(device.info().unwrap().free, Bytes::gib(10));
    drop(allocator);
    assert!(device.books().is_empty(), "{:?}", device.books().leaks());
    assert_eq!(device.books().violations(), 0);
    drop(device);
    let after = resources();
    assert_eq!(after.0, before.0, "descriptors");
    // Stacks and arenas that the threads leave behind, but nothing for every block or page.
    assert!(after.1 < before.1 + 100, "{} mappings, then {}", before.1, after.1);
}
