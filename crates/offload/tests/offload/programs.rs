//! Random programs: values go out and come back while kernels overwrite what they left.

use freeboard_buffer::DeviceBuffer;
use freeboard_device_host::HostDevice;
use freeboard_offload::{Away, Leaving, Mover, Returning};
use freeboard_units::{Bytes, StreamId};
use proptest::prelude::*;

use crate::common::{Allocator, HOME, host, mover};

type Value = Vec<DeviceBuffer<u8, HostDevice>>;

/// A value, wherever it is.
enum Place {
    Here(Value),
    Leaving(Value, Leaving<HostDevice>),
    Away(Away<Value, HostDevice>),
    Returning(Returning<Value, HostDevice>),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Moves a value on by one.
    Move(usize),
    /// Overwrites a value that is here with this byte.
    Write(usize, u8),
    /// Looks at every byte of a value that is here, or is leaving.
    Look(usize),
    /// Takes so much memory, fills it, and gives it back.
    Compute(usize, u8),
    /// A new value in the place of one, at home on another stream.
    Replace(usize, usize, usize),
}

const VALUES: usize = 4;

fn step() -> impl Strategy<Value = Step> {
    let value = || 0..VALUES;
    prop_oneof![
        6 => value().prop_map(Step::Move),
        2 => (value(), any::<u8>()).prop_map(|(value, byte)| Step::Write(value, byte)),
        1 => value().prop_map(Step::Look),
        3 => (1_usize..2_000_000, any::<u8>()).prop_map(|(len, byte)| Step::Compute(len, byte)),
        1 => (value(), 0_usize..600_000, 0_usize..2)
            .prop_map(|(value, len, home)| Step::Replace(value, len, home)),
    ]
}

struct World {
    allocator: Allocator,
    mover: Mover<HostDevice>,
    homes: [StreamId; 2],
    places: Vec<Option<Place>>,
    expected: Vec<[Vec<u8>; 2]>,
}

impl World {
    /// Two buffers, the second half as long as the first.
    fn value(&self, len: usize, home: usize) -> (Value, [Vec<u8>; 2]) {
        let bytes = |len: usize| (0..len).map(|at| ((at * 31) >> 3).to_le_bytes()[0]).collect();
        let expected: [Vec<u8>; 2] = [bytes(len), bytes(len / 2)];
        let buffer = |bytes: &Vec<u8>| {
            DeviceBuffer::from_slice(&self.allocator, bytes, self.homes[home]).unwrap()
        };
        (expected.iter().map(buffer).collect(), expected)
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Move(at) => {
                let place = match self.places[at].take().unwrap() {
                    Place::Here(value) => {
                        let leaving = self.mover.depart(&value).unwrap();
                        Place::Leaving(value, leaving)
                    }
                    Place::Leaving(value, leaving) => {
                        Place::Away(self.mover.release(value, leaving).unwrap())
                    }
                    Place::Away(away) => Place::Returning(self.mover.fetch(away).unwrap()),
                    Place::Returning(returning) => {
                        Place::Here(self.mover.arrive(returning).unwrap())
                    }
                };
                self.places[at] = Some(place);
            }
            Step::Write(at, byte) => {
                if let Some(Place::Here(value)) = &mut self.places[at] {
                    for buffer in value {
                        buffer.fill(byte).unwrap();
                    }
                    self.expected[at].iter_mut().for_each(|bytes| bytes.fill(byte));
                }
            }
            Step::Look(at) => {
                if let Some(Place::Here(value) | Place::Leaving(value, _)) = &self.places[at] {
                    self.check(value, at);
                }
            }
            Step::Compute(len, byte) => {
                let mut scratch =
                    DeviceBuffer::uninit(&self.allocator, len, self.homes[0]).unwrap();
                scratch.fill(byte).unwrap();
            }
            Step::Replace(at, len, home) => {
                self.places[at] = None;
                let (value, expected) = self.value(len, home);
                (self.places[at], self.expected[at]) = (Some(Place::Here(value)), expected);
            }
        }
    }

    fn check(&self, value: &Value, at: usize) {
        for (buffer, bytes) in value.iter().zip(&self.expected[at]) {
            assert!(buffer.to_vec().unwrap() == *bytes, "value {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_byte_comes_back_whatever_happens_to_the_memory_it_left(
        steps in proptest::collection::vec(step(), 1..80),
        wait_on_host in any::<bool>(),
    ) {
        let (device, allocator) = host(Bytes::mib(16));
        let homes = [HOME, freeboard_device::Order::create_stream(&device).unwrap()];
        let mover = mover(&allocator, wait_on_host);
        let (places, expected) = (Vec::new(), Vec::new());
        let mut world = World { allocator, mover, homes, places, expected };
        for at in 0..VALUES {
            let (value, expected) = world.value(200_000 * at, at % 2);
            world.places.push(Some(Place::Here(value)));
            world.expected.push(expected);
        }
        for step in steps {
            world.take(step);
        }
        for at in 0..VALUES {
            while !matches!(world.places[at], Some(Place::Here(_))) {
                world.take(Step::Move(at));
            }
            world.take(Step::Look(at));
        }
        world.mover.synchronize().unwrap();
        prop_assert_eq!(world.mover.host().stats().in_use, Bytes::ZERO);
        world.allocator.check().unwrap();
        world.mover.host().check().unwrap();
        drop(world);
        device.synchronize().unwrap();
        prop_assert_eq!(device.books().first_violation(), None);
        prop_assert!(device.books().is_empty(), "{:?}", device.books().leaks());
    }
}
