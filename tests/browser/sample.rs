//! A made-up training run: steps, tags, stacks, a leak, and a failure in the end.

use std::collections::BTreeMap;

use freeboard_snapshot::{
    Action, Annotation, Block, BlockState, DeviceMemory, Event, Frame, History, NameId, PoolIndex,
    Segment, Snapshot, StackId,
};
use freeboard_units::{Address, Bytes, DeviceId, StreamId};

const SEGMENT: u64 = 64 << 20;
const LAYERS: usize = 48;

/// A name that would be a script if it were ever taken for markup.
pub(crate) const HOSTILE: &str = "</script><img src=x onerror=\"document.title='broken into'\">";

/// One device's allocator: blocks of a size are used again for that size, or cut from the last
/// segment.
#[derive(Default)]
struct Books {
    events: Vec<Event>,
    free: BTreeMap<u64, Vec<u64>>,
    live: BTreeMap<u64, (u64, StackId, NameId)>,
    segments: u64,
    room: (u64, u64),
    time_us: i64,
}

impl Books {
    fn note(&mut self, action: Action, address: u64, size: u64, stack: StackId, tag: NameId) {
        self.time_us += 7;
        self.events.push(Event {
            address,
            size: Bytes::new(size),
            stream: StreamId::DEFAULT,
            time_us: 1_700_000_000_000_000 + self.time_us,
            action,
            pool: PoolIndex::new(0),
            stack,
            tag,
            context: NameId::default(),
        });
    }

    fn allocate(&mut self, size: u64, stack: StackId, tag: NameId) -> u64 {
        let address = self.free.get_mut(&size).and_then(Vec::pop).unwrap_or_else(|| {
            if self.room.1 - self.room.0 < size {
                let start = (self.segments + 1) << 32;
                self.segments += 1;
                self.room = (start, start + SEGMENT);
                self.note(Action::SegmentAlloc, start, SEGMENT, stack, NameId::default());
            }
            let address = self.room.0;
            self.room.0 += size;
            address
        });
        self.note(Action::Alloc, address, size, stack, tag);
        self.live.insert(address, (size, stack, tag));
        address
    }

    fn release(&mut self, address: u64) {
        let (size, ..) = self.live.remove(&address).unwrap();
        self.note(Action::FreeRequested, address, size, StackId::default(), NameId::default());
        self.note(Action::FreeCompleted, address, size, StackId::default(), NameId::default());
        self.free.entry(size).or_default().push(address);
    }

    fn segments(&self, device: DeviceId) -> Vec<Segment> {
        (1..=self.segments).map(|number| self.segment(device, number << 32)).collect()
    }

    fn segment(&self, device: DeviceId, start: u64) -> Segment {
        let end = start + SEGMENT;
        let mut blocks = Vec::new();
        let mut from = start;
        let live = self.live.range(start..end).map(|(&address, &block)| (address, block));
        for (address, (size, stack, tag)) in
            live.chain([(end, (0, StackId::default(), NameId::default()))])
        {
            for (address, size, state, stack, tag) in [
                (from, address - from, BlockState::Free, StackId::default(), NameId::default()),
                (address, size, BlockState::Allocated, stack, tag),
            ] {
                let (address, size) = (Address::new(address), Bytes::new(size));
                let requested = if state == BlockState::Free { Bytes::ZERO } else { size };
                if !size.is_zero() {
                    blocks.push(Block { address, size, requested, state, stack, tag });
                }
            }
            from = address + size;
        }
        Segment {
            device,
            address: Address::new(start),
            size: Bytes::new(SEGMENT),
            stream: StreamId::DEFAULT,
            small: false,
            pool: freeboard_snapshot::PoolId::SHARED,
            expandable: false,
            stack: StackId::default(),
            blocks,
        }
    }
}

/// A run with about this many events on device 0 and a short one on device 1.
pub(crate) fn training(events: usize) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let first = device(&mut snapshot, 0, events);
    let second = device(&mut snapshot, 1, 2_000.min(events));
    snapshot.histories = vec![first, second];
    snapshot.devices.push(DeviceMemory {
        device: DeviceId::new(0),
        total: Some(Bytes::gib(2)),
        free: Some(Bytes::mib(300)),
        limit: None,
    });
    snapshot
}

fn device(snapshot: &mut Snapshot, number: u32, events: usize) -> History {
    let id = DeviceId::new(number);
    let mut names = |text: &str| snapshot.names.intern(text);
    let tags: Vec<NameId> = (0..LAYERS).map(|at| names(&format!("block {}", at % 12))).collect();
    let (weights, leak, hostile) = (names("weights"), names("metrics cache"), names(HOSTILE));
    let (step_name, begin, end) = (names("Optimizer.step#Sgd.step"), names("START"), names("END"));
    let evaluation = names("evaluation");
    let (library, program) = (names("/x/site-packages/torch/nn.py"), names("/home/me/model.py"));
    let function = names("forward");
    let stacks: Vec<StackId> = (0..LAYERS as u64)
        .map(|line| {
            let inner = (0..10).map(|at| Frame { file: library, function, line: at });
            let frames: Vec<Frame> =
                inner.chain([Frame { file: program, function, line: 100 + line }]).collect();
            snapshot.stacks.intern(frames)
        })
        .collect();

    let mut books = Books::default();
    for &stack in &stacks {
        books.allocate(12 << 20, stack, weights);
    }
    books.allocate(3 << 20, stacks[0], hostile);
    let mut step = 0_u64;
    while books.events.len() + 4 * LAYERS * 9 < events {
        let longer = 1 + step * 7 % 3;
        let mut kept = Vec::new();
        for (layer, (&stack, &tag)) in stacks.iter().zip(&tags).enumerate() {
            for part in 1..=5_u64 {
                let size = (part * longer * 128 + layer as u64 % 5 * 32) << 10;
                kept.push(books.allocate(size, stack, tag));
            }
            let work = books.allocate(8 << 20, stack, tag);
            books.release(work);
        }
        for address in kept.into_iter().rev() {
            books.release(address);
        }
        for stage in [begin, end] {
            let time_us = 1_700_000_000_000_000 + books.time_us;
            snapshot.annotations.push(Annotation { device: id, time_us, name: step_name, stage });
            books.time_us += 50;
        }
        if step.is_multiple_of(5) && step < 5_000 {
            books.allocate(1 << 20, stacks[3], leak);
        }
        if step % 7 == 3 {
            books.note(Action::Annotate, 0, 0, StackId::default(), evaluation);
        }
        step += 1;
    }
    if number == 0 {
        books.note(Action::Oom, 300 << 20, 900 << 20, stacks[7], NameId::default());
    }
    snapshot.segments.extend(books.segments(id));
    History { events: books.events, dropped: 0 }
}
