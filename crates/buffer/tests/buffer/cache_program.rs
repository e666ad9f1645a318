//! Random programs for the cache of pinned memory: no block has two owners.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_buffer::{DeviceBuffer, InFlight, Pinned, PinnedAllocator, PinnedPolicy};
use freeboard_device::Order;
use freeboard_units::{Bytes, StreamId};
use proptest::prelude::*;

use crate::common::{HOME, hold};
use crate::faulty::Faulty;

#[derive(Clone, Debug)]
enum Step {
    Allocate(usize),
    Drop(usize),
    /// Starts a transfer on one of two streams.
    Start(usize, usize),
    DropTransfer(usize),
    /// Opens all gates first.
    Wait(usize),
    Hold(usize),
    Open(usize),
    Maintain,
    Empty,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_usize..6000).prop_map(Step::Allocate),
        2 => (0_usize..99).prop_map(Step::Drop),
        4 => (0_usize..99, 0_usize..2).prop_map(|(place, stream)| Step::Start(place, stream)),
        3 => (0_usize..99).prop_map(Step::DropTransfer),
        1 => (0_usize..99).prop_map(Step::Wait),
        2 => (0_usize..2).prop_map(Step::Hold),
        2 => (0_usize..2).prop_map(Step::Open),
        1 => Just(Step::Maintain),
        1 => Just(Step::Empty),
    ]
}

fn policy() -> impl Strategy<Value = PinnedPolicy> {
    let size = || prop_oneof![Just(Bytes::MAX), (0_u64..9000).prop_map(Bytes::new)];
    let reserve = prop_oneof![Just(Bytes::ZERO), (1_u64..20).prop_map(Bytes::kib)];
    (any::<bool>(), size(), size(), size(), reserve).prop_map(
        |(background, max_cached, max_cached_block, max_rounded, reserve)| PinnedPolicy {
            background,
            max_cached,
            max_cached_block,
            max_rounded,
            reserve,
            ..PinnedPolicy::default()
        },
    )
}

/// What a transfer does: where and how long its memory is.
#[derive(Clone, Copy)]
struct Use {
    at: (usize, usize),
    stream: usize,
    /// Whether the stream was held before it, and still is.
    held: bool,
}

struct World {
    device: Faulty,
    buffer: DeviceBuffer<u8, Faulty>,
    pinned: PinnedAllocator<Faulty>,
    streams: [StreamId; 2],
    gates: [Option<Sender<()>>; 2],
    blocks: Vec<Pinned<u8, Faulty>>,
    transfers: Vec<(InFlight<u8, Faulty>, Use)>,
    /// Dropped while the stream was held before them: where and how long, by stream.
    dropped: [Vec<(usize, usize)>; 2],
}

impl World {
    fn new(policy: PinnedPolicy) -> Self {
        let device = Faulty::new(Bytes::mib(64));
        let allocator = CachingAllocator::new(device.clone(), Config::default()).unwrap();
        let allocator = Arc::new(allocator);
        Self {
            buffer: DeviceBuffer::zeroed(&allocator, 6000, HOME).unwrap(),
            pinned: PinnedAllocator::with_policy(&allocator, policy).unwrap(),
            streams: [(); 2].map(|()| device.create_stream().unwrap()),
            gates: [None, None],
            blocks: Vec::new(),
            transfers: Vec::new(),
            dropped: [Vec::new(), Vec::new()],
            device,
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Allocate(len) => {
                self.blocks.push(self.pinned.allocate(len).unwrap());
                self.nothing_has_two_owners();
            }
            Step::Drop(place) => {
                pick(&mut self.blocks, place);
            }
            Step::Start(place, stream) => {
                let Some(block) = pick(&mut self.blocks, place) else { return };
                let at = (block.as_ptr().addr(), block.len());
                // The home stream is never waited for: the memory is lent to the others for good.
                let part = self.buffer.slice(..block.len()).unwrap();
                let lent = std::mem::ManuallyDrop::new(part.on(self.streams[stream]).unwrap());
                let held = self.gates[stream].is_some();
                self.transfers.push((lent.download(block).unwrap(), Use { at, stream, held }));
            }
            Step::DropTransfer(place) => {
                let Some((transfer, its)) = pick(&mut self.transfers, place) else { return };
                drop(transfer);
                if its.held {
                    self.dropped[its.stream].push(its.at);
                }
            }
            Step::Wait(place) => {
                for stream in 0..2 {
                    self.take(&Step::Open(stream));
                }
                let Some((transfer, _)) = pick(&mut self.transfers, place) else { return };
                self.blocks.push(transfer.wait().unwrap());
            }
            Step::Hold(stream) => {
                let held = || hold(&self.device.host, self.streams[stream]);
                self.gates[stream].get_or_insert_with(held);
            }
            Step::Open(stream) => {
                self.gates[stream] = None;
                self.dropped[stream].clear();
                for (_, its) in &mut self.transfers {
                    its.held &= its.stream != stream;
                }
            }
            Step::Maintain => self.pinned.maintain().unwrap(),
            Step::Empty => self.pinned.empty_cache().unwrap(),
        }
    }

    /// Memory in hands, in transfers, and in what held streams will still do does not overlap, and
    /// all of it is pinned.
    fn nothing_has_two_owners(&self) {
        let blocks = self.blocks.iter().map(|block| (block.as_ptr().addr(), block.len()));
        let transfers = self.transfers.iter().map(|(_, its)| its.at);
        let mut all: Vec<_> =
            blocks.chain(transfers).chain(self.dropped.iter().flatten().copied()).collect();
        all.sort_unstable();
        let pinned: BTreeMap<_, _> = self.device.pinned();
        for pair in all.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?} overlap");
        }
        for (start, len) in all {
            let (whole, size) = pinned.range(..=start).next_back().unwrap();
            assert!(start + len <= whole + usize::try_from(size.get()).unwrap());
        }
    }

    fn check(&self) {
        let stats = self.pinned.stats();
        if self.pinned.policy().background {
            return; // the thread may be about to give something back
        }
        self.pinned.check().unwrap();
        assert_eq!(self.device.pinned_bytes(), stats.pinned);
        if self.pinned.policy().reserve.is_zero() {
            assert!(stats.cached <= self.pinned.policy().max_cached, "{stats:?}");
        }
    }
}

fn pick<T>(items: &mut Vec<T>, place: usize) -> Option<T> {
    (!items.is_empty()).then(|| items.swap_remove(place % items.len()))
}

proptest! {
    #[test]
    fn no_block_has_two_owners_and_all_bytes_are_accounted_for(
        policy in policy(), steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new(policy);
        for step in steps {
            world.take(&step);
            world.check();
        }
        let device = world.device.clone();
        world.gates = [None, None];
        drop(world);
        prop_assert!(device.pinned().is_empty());
    }
}

#[test]
fn threads_share_the_cache() {
    const LEN: usize = 3000;
    for background in [false, true] {
        let world = World::new(PinnedPolicy { background, ..PinnedPolicy::default() });
        let (pinned, allocator) = (&world.pinned, world.buffer.allocator());
        std::thread::scope(|scope| {
            for worker in 0..3_u32 {
                let stream = world.device.create_stream().unwrap();
                scope.spawn(move || {
                    let mut buffer = DeviceBuffer::zeroed(allocator, LEN, stream).unwrap();
                    for step in 0..300 {
                        let value = worker * 1000 + step;
                        let elements = pinned.from_slice(&[value; LEN]).unwrap();
                        drop(buffer.upload(elements).unwrap());
                        if step % 7 == 0 {
                            let back = buffer.download(pinned.allocate(LEN).unwrap()).unwrap();
                            assert_eq!(back.wait().unwrap()[..], [value; LEN]);
                        }
                    }
                });
            }
        });
        world.device.host.synchronize().unwrap();
        pinned.maintain().unwrap();
        let stats = pinned.stats();
        assert_eq!((stats.in_use, stats.hits + stats.misses), (Bytes::ZERO, 3 * (300 + 43)));
        assert!(stats.pinned <= Bytes::mib(16), "blocks are used again: {stats:?}");
    }
}
