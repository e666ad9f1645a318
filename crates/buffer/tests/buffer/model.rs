//! Random programs over several streams, against plain vectors.

use freeboard_buffer::{DeviceBuffer, InFlight, PinnedAllocator};
use freeboard_device_host::HostDevice;
use freeboard_units::StreamId;
use proptest::prelude::*;

use crate::common::{HOME, host};

/// Large enough that work is still going on when the next is put behind it.
const LEN: usize = 100_000;
const BUFFERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Fill a part, on any stream.
    Fill {
        buffer: usize,
        start: usize,
        len: usize,
        value: u8,
        stream: usize,
    },
    /// Copy a part of one to another, the source seen from any stream.
    Copy {
        from: usize,
        to: usize,
        start: usize,
        len: usize,
        stream: usize,
    },
    /// A copy takes a buffer's place, at home elsewhere.
    Clone {
        from: usize,
        to: usize,
        home: usize,
    },
    /// A new buffer takes one's place.
    Fresh {
        buffer: usize,
        value: u8,
        home: usize,
    },
    /// Transfers that are dropped, or kept to the end.
    Upload {
        buffer: usize,
        value: u8,
        stream: usize,
    },
    Download {
        buffer: usize,
        stream: usize,
    },
    Look {
        buffer: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (buffer, stream) = (|| 0..BUFFERS, || 0_usize..3);
    let part = (0..LEN - 1, 1..LEN);
    prop_oneof![
        3 => (buffer(), part.clone(), any::<u8>(), stream()).prop_map(
            |(buffer, (start, len), value, stream)| {
                Step::Fill { buffer, start, len: len.min(LEN - start), value, stream }
            }
        ),
        3 => (buffer(), buffer(), part, stream()).prop_map(|(from, to, (start, len), stream)| {
            Step::Copy { from, to, start, len: len.min(LEN - start), stream }
        }),
        1 => (buffer(), buffer(), stream())
            .prop_map(|(from, to, home)| Step::Clone { from, to, home }),
        1 => (buffer(), any::<u8>(), stream())
            .prop_map(|(buffer, value, home)| Step::Fresh { buffer, value, home }),
        2 => (buffer(), any::<u8>(), stream())
            .prop_map(|(buffer, value, stream)| Step::Upload { buffer, value, stream }),
        2 => (buffer(), stream()).prop_map(|(buffer, stream)| Step::Download { buffer, stream }),
        1 => buffer().prop_map(|buffer| Step::Look { buffer }),
    ]
}

struct World {
    allocator: crate::common::Allocator,
    pinned: PinnedAllocator<HostDevice>,
    streams: Vec<StreamId>,
    buffers: Vec<DeviceBuffer<u8, HostDevice>>,
    expected: Vec<Vec<u8>>,
    downloads: Vec<(InFlight<u8, HostDevice>, Vec<u8>)>,
}

impl World {
    fn take(&mut self, step: &Step) {
        match *step {
            Step::Fill { buffer, start, len, value, stream } => {
                let mut part = self.buffers[buffer].slice_mut(start..start + len).unwrap();
                part.on_mut(self.streams[stream]).unwrap().fill(value).unwrap();
                self.expected[buffer][start..start + len].fill(value);
            }
            Step::Copy { from, to, start, len, stream } if from != to => {
                let [from_buffer, to_buffer] = self.buffers.get_disjoint_mut([from, to]).unwrap();
                let part = from_buffer.slice(start..start + len).unwrap();
                let lent = part.on(self.streams[stream]).unwrap();
                let mut into = to_buffer.slice_mut(start..start + len).unwrap();
                into.copy_from(&lent).unwrap();
                let copy = self.expected[from][start..start + len].to_vec();
                self.expected[to][start..start + len].copy_from_slice(&copy);
            }
            Step::Copy { .. } => {}
            Step::Clone { from, to, home } => {
                self.buffers[to] = self.buffers[from].clone_on(self.streams[home]).unwrap();
                self.expected[to] = self.expected[from].clone();
            }
            Step::Fresh { buffer, value, home } => {
                let home = self.streams[home];
                self.buffers[buffer] =
                    DeviceBuffer::filled(&self.allocator, LEN, value, home).unwrap();
                self.expected[buffer].fill(value);
            }
            Step::Upload { buffer, value, stream } => {
                let elements = self.pinned.from_slice(&vec![value; LEN]).unwrap();
                let mut lent = self.buffers[buffer].on_mut(self.streams[stream]).unwrap();
                drop(lent.upload(elements).unwrap());
                self.expected[buffer].fill(value);
            }
            Step::Download { buffer, stream } => {
                let into = self.pinned.allocate(LEN).unwrap();
                let lent = self.buffers[buffer].on(self.streams[stream]).unwrap();
                let transfer = lent.download(into).unwrap();
                self.downloads.push((transfer, self.expected[buffer].clone()));
            }
            Step::Look { buffer } => {
                assert!(self.buffers[buffer].to_vec().unwrap() == self.expected[buffer]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn programs_over_three_streams_leave_what_they_would_in_plain_vectors(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let (device, allocator) = host();
        let streams = vec![HOME, crate::common::stream(&device), crate::common::stream(&device)];
        let buffers = (0..BUFFERS)
            .map(|_| DeviceBuffer::zeroed(&allocator, LEN, HOME).unwrap())
            .collect();
        let mut world = World {
            pinned: PinnedAllocator::new(&allocator).unwrap(),
            allocator,
            streams,
            buffers,
            expected: vec![vec![0; LEN]; BUFFERS],
            downloads: Vec::new(),
        };
        for step in steps {
            world.take(&step);
        }
        for (transfer, expected) in std::mem::take(&mut world.downloads) {
            assert!(transfer.wait().unwrap()[..] == expected);
        }
        for (buffer, expected) in world.buffers.iter().zip(&world.expected) {
            assert!(buffer.to_vec().unwrap() == *expected);
        }
        world.allocator.check().unwrap();
        world.pinned.check().unwrap();
        drop(world);
        device.synchronize().unwrap();
        prop_assert_eq!(device.books().first_violation(), None);
        prop_assert!(device.books().is_empty(), "{:?}", device.books().leaks());
    }
}
