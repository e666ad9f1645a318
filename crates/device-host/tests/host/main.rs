//! What only this device does: bytes behind addresses, threads behind streams.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unsafe_code, reason = "transfers take bare addresses; the tests own them")]

mod corruption;
mod faults;
mod lost;
mod protection;
mod stitching;
mod streams;

use std::sync::mpsc::{Sender, channel};

use freeboard_device::{Order, Pattern, Transfer};
use freeboard_device_host::HostDevice;
use freeboard_units::{AddressRange, Bytes, StreamId};

const PAGE: Bytes = Bytes::mib(2);

fn device() -> HostDevice {
    HostDevice::new(Bytes::mib(64)).unwrap()
}

/// Keeps a stream from going on until something is sent, or the sender is dropped.
fn hold(device: &HostDevice, stream: StreamId) -> Sender<()> {
    let (gate, closed) = channel();
    device.launch(stream, move || closed.recv().unwrap_or_default()).unwrap();
    gate
}

fn fill(device: &HostDevice, range: AddressRange, value: u8, stream: StreamId) {
    // SAFETY: the range is the test's own.
    unsafe { device.fill(range, Pattern::U8(value), stream) }.unwrap();
}

/// The first byte of a range, as a stream sees it.
fn first_byte(device: &HostDevice, range: AddressRange, stream: StreamId) -> u8 {
    let mut byte = 0;
    // SAFETY: the range is the test's own, and the byte is waited for.
    unsafe { device.download(&raw mut byte, range.start(), Bytes::new(1), stream) }.unwrap();
    device.synchronize_stream(stream).unwrap();
    byte
}
