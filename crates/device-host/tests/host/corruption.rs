//! Memory that is used again too early holds the wrong bytes. Here the rule is broken on purpose,
//! to show that a test on this device would see it.

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_device::Order;
use freeboard_device_host::HostDevice;
use freeboard_units::{AddressRange, Bytes};

use crate::{device, fill, first_byte, hold};

const SIZE: Bytes = Bytes::mib(3);

/// Frees a block while another stream has yet to write to it, and gives its successor on the home
/// stream a value. Which byte is there when both streams are done? With `announced` the use is
/// recorded, as the rule wants.
fn survivor(announced: bool) -> (u8, bool) {
    let device = device();
    let allocator = CachingAllocator::new(device.clone(), Config::default()).unwrap();
    let (home, other) = (device.create_stream().unwrap(), device.create_stream().unwrap());
    let block = allocator.allocate(SIZE, home).unwrap();
    let range = AddressRange::new(block.address(), SIZE);
    let gate = hold(&device, other);
    fill(&device, range, 0xbb, other); // comes late
    if announced {
        block.record_use(other).unwrap();
    }
    drop(block);
    let next = allocator.allocate(SIZE, home).unwrap();
    let again = AddressRange::new(next.address(), SIZE);
    fill(&device, again, 0xaa, home);
    device.synchronize_stream(home).unwrap();
    drop(gate);
    device.synchronize_stream(other).unwrap();
    (first_byte(&device, again, home), again.start() == range.start())
}

#[test]
fn a_use_that_is_not_announced_corrupts_the_next_owner() {
    assert_eq!(survivor(false), (0xbb, true));
}

#[test]
fn a_use_that_is_announced_does_not() {
    assert_eq!(survivor(true), (0xaa, false));
}

#[test]
fn a_read_on_another_stream_needs_a_wait() {
    let seen = |waits: bool| {
        let device: HostDevice = device();
        let (writer, reader) = (device.create_stream().unwrap(), device.create_stream().unwrap());
        let start = freeboard_device::Memory::allocate(&device, SIZE).unwrap();
        let range = AddressRange::new(start, SIZE);
        fill(&device, range, 1, writer);
        device.synchronize_stream(writer).unwrap();
        let gate = hold(&device, writer);
        fill(&device, range, 2, writer);
        let event = device.create_event().unwrap();
        device.record(event, writer).unwrap();
        if waits {
            device.stream_wait(reader, event).unwrap();
            drop(gate);
            first_byte(&device, range, reader)
        } else {
            let byte = first_byte(&device, range, reader);
            drop(gate);
            byte
        }
    };
    assert_eq!((seen(false), seen(true)), (1, 2));
}
