//! Other streams: each waits for the one before, on the device.

use std::mem::ManuallyDrop;

use freeboard_buffer::DeviceBuffer;
use freeboard_device::{Memory, Order};
use freeboard_device_sim::Call;

use crate::common::{HOME, hold, host, stream};

#[test]
fn another_stream_waits_for_home_and_home_for_it() {
    let (device, allocator) = host();
    let other = stream(&device);
    let mut buffer = DeviceBuffer::<u32, _>::zeroed(&allocator, 1000, HOME).unwrap();
    let home_held = hold(&device, HOME);
    buffer.fill(1).unwrap();
    let mut lent = buffer.on_mut(other).unwrap();
    let event = device.create_event().unwrap();
    device.record(event, other).unwrap();
    assert!(!device.is_done(event).unwrap(), "the other stream waits for home");
    let other_held = hold(&device, other);
    lent.slice_mut(..500).unwrap().fill(2).unwrap();
    drop(lent);
    buffer.slice_mut(..250).unwrap().fill(3).unwrap();
    device.record(event, HOME).unwrap();
    drop(home_held);
    assert!(!device.is_done(event).unwrap(), "home waits for the other stream");
    drop(other_held);
    device.synchronize().unwrap();
    let mut expected = vec![1; 1000];
    expected[..500].fill(2);
    expected[..250].fill(3);
    assert_eq!(buffer.to_vec().unwrap(), expected);
    device.destroy_event(event).unwrap();
}

#[test]
fn a_copy_from_another_stream_waits_for_it_and_holds_it_up() {
    let (device, allocator) = host();
    let theirs = stream(&device);
    let mut source = DeviceBuffer::<u32, _>::filled(&allocator, 5000, 1, theirs).unwrap();
    let mut copy = DeviceBuffer::<u32, _>::zeroed(&allocator, 5000, HOME).unwrap();
    let (held_home, held_theirs) = (hold(&device, HOME), hold(&device, theirs));
    source.fill(2).unwrap();
    copy.copy_from(&source).unwrap();
    source.fill(3).unwrap();
    drop(held_theirs);
    drop(held_home);
    assert_eq!(copy.to_vec().unwrap(), vec![2; 5000]);
    assert_eq!(source.to_vec().unwrap(), vec![3; 5000]);
    let clone = source.clone_on(HOME).unwrap();
    drop(source); // while its copy may still be made
    assert_eq!((clone.stream(), clone.to_vec().unwrap()), (HOME, vec![3; 5000]));
}

#[test]
fn halves_work_on_two_streams_at_once() {
    let (device, allocator) = host();
    let (one, two) = (stream(&device), stream(&device));
    let mut buffer = DeviceBuffer::<u8, _>::zeroed(&allocator, 600, HOME).unwrap();
    let (mut left, mut right) = buffer.split_at_mut(300).unwrap();
    let (mut left, mut right) = (left.on_mut(one).unwrap(), right.on_mut(two).unwrap());
    let held = hold(&device, one);
    left.fill(1).unwrap();
    right.fill(2).unwrap();
    device.synchronize_stream(two).unwrap(); // would never return if it waited for the other
    drop(held);
    drop((left, right));
    assert_eq!(buffer.slice(299..301).unwrap().to_vec().unwrap(), [1, 2]);
}

#[test]
fn memory_that_another_stream_uses_is_not_reused_even_if_the_guard_is_leaked() {
    let (device, allocator) = host();
    let other = stream(&device);
    let mut buffer = DeviceBuffer::<u8, _>::zeroed(&allocator, 4000, HOME).unwrap();
    let address = buffer.address();
    let held = hold(&device, other);
    let _leaked = ManuallyDrop::new(buffer.on_mut(other).unwrap());
    drop(buffer);
    let next = DeviceBuffer::<u8, _>::uninit(&allocator, 4000, HOME).unwrap();
    assert_ne!(next.address(), address);
    drop(next);
    drop(held);
    device.synchronize().unwrap();
    let large = DeviceBuffer::<u8, _>::uninit(&allocator, 60_000_000, HOME).unwrap();
    drop(large); // a miss looks after what is pending
    let next = DeviceBuffer::<u8, _>::uninit(&allocator, 4000, HOME).unwrap();
    assert_eq!(next.address(), address);
}

#[test]
fn work_that_conflicts_with_a_leaked_guard_waits_for_its_stream() {
    let (device, allocator) = host();
    let (other, third) = (stream(&device), stream(&device));
    let mut buffer = DeviceBuffer::<u32, _>::filled(&allocator, 1000, 1, HOME).unwrap();
    let held = hold(&device, other);
    let mut half = buffer.slice_mut(..500).unwrap();
    let mut leaked = ManuallyDrop::new(half.on_mut(other).unwrap());
    leaked.fill(2).unwrap();
    assert_eq!(buffer.slice(500..).unwrap().to_vec().unwrap(), [1; 500], "no conflict, no wait");
    buffer.fill(3).unwrap();
    buffer.on_mut(third).unwrap().slice_mut(..2).unwrap().fill(4).unwrap();
    drop(held);
    device.synchronize().unwrap();
    assert_eq!(buffer.slice(..4).unwrap().to_vec().unwrap(), [4, 4, 3, 3]);
}

#[test]
fn events_are_used_again() {
    let (device, allocator) = host();
    let other = stream(&device);
    let mut buffer = DeviceBuffer::<u32, _>::zeroed(&allocator, 10, HOME).unwrap();
    for _ in 0..10 {
        buffer.on_mut(other).unwrap().zero().unwrap();
        drop(buffer.on(other).unwrap());
    }
    assert_eq!(device.books().count(Call::EventCreate), 1);
    assert_eq!(device.books().count(Call::StreamWaitEvent), 40);
    drop((buffer, allocator));
    device.synchronize().unwrap();
    assert!(device.books().is_empty(), "{:?}", device.books().leaks());
    assert_eq!(device.id().get(), 0);
}
