//! Streams run by themselves, each in order, and end with the device.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use freeboard_device::{Memory, Order};
use freeboard_units::{AddressRange, Bytes, StreamId};

use crate::{PAGE, device, fill, first_byte, hold};

#[test]
fn work_is_done_in_order_and_later() {
    let device = device();
    let stream = device.create_stream().unwrap();
    let gate = hold(&device, stream);
    let done = Arc::new(Mutex::new(Vec::new()));
    for n in 0..1000 {
        let done = Arc::clone(&done);
        device.launch(stream, move || done.lock().unwrap().push(n)).unwrap();
    }
    assert_eq!(done.lock().unwrap().len(), 0, "not before the gate opens");
    drop(gate);
    device.synchronize_stream(stream).unwrap();
    assert_eq!(*done.lock().unwrap(), (0..1000).collect::<Vec<_>>());
}

#[test]
fn an_event_is_done_with_the_work_before_it_and_not_with_that_after_it() {
    let device = device();
    let stream = device.create_stream().unwrap();
    let [before, after] = [(); 2].map(|()| device.create_event().unwrap());
    let first = hold(&device, stream);
    device.record(before, stream).unwrap();
    let second = hold(&device, stream);
    device.record(after, stream).unwrap();
    assert!(!device.is_done(before).unwrap());
    drop(first);
    device.wait(before).unwrap();
    assert!(device.is_done(before).unwrap() && !device.is_done(after).unwrap());
    drop(second);
    device.wait(after).unwrap();
}

#[test]
fn streams_run_side_by_side_and_meet_where_told_to() {
    let device = device();
    let (a, b) = (device.create_stream().unwrap(), device.create_stream().unwrap());
    // Each waits in its work for the other: only side by side can both go on.
    let (to_b, at_b) = channel();
    let (to_a, at_a) = channel();
    device
        .launch(a, move || {
            to_b.send(()).unwrap();
            at_a.recv().unwrap();
        })
        .unwrap();
    device
        .launch(b, move || {
            at_b.recv().unwrap();
            to_a.send(()).unwrap();
        })
        .unwrap();
    device.synchronize().unwrap();

    let gate = hold(&device, a);
    let event = device.create_event().unwrap();
    device.record(event, a).unwrap();
    device.stream_wait(b, event).unwrap();
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    device
        .launch(b, move || {
            counted.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
    let mark = device.create_event().unwrap();
    device.record(mark, b).unwrap();
    assert!(!device.is_done(mark).unwrap(), "b waits for a");
    assert_eq!(count.load(Ordering::SeqCst), 0);
    drop(gate);
    device.wait(mark).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn a_destroyed_stream_still_does_its_work() {
    let device = device();
    let stream = device.create_stream().unwrap();
    let range = AddressRange::new(device.allocate(PAGE).unwrap(), PAGE);
    let gate = hold(&device, stream);
    fill(&device, range, 5, stream);
    let event = device.create_event().unwrap();
    device.record(event, stream).unwrap();
    device.destroy_stream(stream).unwrap();
    drop(gate);
    device.wait(event).unwrap();
    assert_eq!(first_byte(&device, range, StreamId::DEFAULT), 5);
}

#[test]
fn freeing_a_whole_allocation_waits_for_the_device() {
    let device = device();
    let stream = device.create_stream().unwrap();
    let range = AddressRange::new(device.allocate(Bytes::mib(32)).unwrap(), Bytes::mib(32));
    for value in 0..20 {
        fill(&device, range, value, stream);
    }
    let event = device.create_event().unwrap();
    device.record(event, stream).unwrap();
    device.free(range.start()).unwrap();
    assert!(device.is_done(event).unwrap());
}

#[test]
fn the_last_owner_may_go_on_a_stream_of_the_device() {
    let device = device();
    let (sender, receiver) = channel();
    let gate = hold(&device, StreamId::DEFAULT);
    let last = device.clone();
    let work = move || {
        drop(last);
        sender.send(()).unwrap();
    };
    device.launch(StreamId::DEFAULT, work).unwrap();
    drop(device);
    drop(gate);
    receiver.recv().unwrap();
}

#[test]
fn streams_that_were_destroyed_leave_no_thread() {
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let device = device();
    let before = threads();
    for _ in 0..300 {
        let stream = device.create_stream().unwrap();
        device.synchronize_stream(stream).unwrap();
        device.destroy_stream(stream).unwrap();
    }
    // Other tests have threads as well, but not 300; a thread ends soon after its last work.
    for _ in 0..1000 {
        if threads() < before + 100 {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{before} threads, then {}", threads());
}
