//! Physical memory shared through file descriptors.

use std::fs::File;

use freeboard_device::Memory;
use freeboard_fake_cuda::Live;
use freeboard_units::Bytes;

use crate::common::{PAGE, get, give_back, lend, lend_exportable, pages, put, refused};

#[test]
fn what_one_process_writes_another_reads() {
    // Two copies of the driver share nothing but the descriptor, as two processes do.
    let ((_, giver), (fake, taker)) = (lend_exportable(), lend());
    let (range, handle) = pages(&giver, 2);
    let file = giver.export(handle).unwrap();
    let imported = taker.import(&file, range.size()).unwrap();
    drop(file);
    let there = taker.reserve(range.size()).unwrap();
    taker.map(there, imported).unwrap();
    taker.set_access(there).unwrap();
    put(&giver, range.start() + PAGE, b"message").unwrap();
    assert_eq!(get(&taker, there.start() + PAGE, 7).unwrap(), b"message");
    give_back(&giver, (range, handle));
    assert_eq!(get(&taker, there.start() + PAGE, 7).unwrap(), b"message", "it outlives its maker");
    give_back(&taker, (there, imported));
    drop(taker);
    assert_eq!(fake.live(), Live::default());
}

#[test]
fn only_exportable_memory_is_given_away() {
    let (_, device) = lend();
    let (_, handle) = pages(&device, 1);
    refused(device.export(handle), "exportable");
    let (_, device) = lend_exportable();
    refused(device.export(freeboard_device::Handle::new(3)), "no handle");
}

#[test]
fn other_files_are_not_memory() {
    let (fake, device) = lend_exportable();
    let file = File::open("/dev/null").unwrap();
    refused(device.import(&file, PAGE), "INVALID_VALUE");
    refused(device.import(&file, Bytes::new(5)), "not a multiple");
    assert_eq!(fake.live().handles, 0);
}

#[test]
fn a_wrong_size_is_noticed_at_the_mapping() {
    let (_, device) = lend_exportable();
    let (range, handle) = pages(&device, 2);
    let file = device.export(handle).unwrap();
    let imported = device.import(&file, PAGE).unwrap();
    device.unmap(range).unwrap();
    let half = crate::common::part(range, 0, 1);
    refused(device.map(half, imported), "INVALID_VALUE");
    device.map(range, handle).unwrap();
}
