//! What only this device does: bytes behind addresses, threads behind streams.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unsafe_code, reason = "transfers take bare addresses; the tests own them")]

mod bytes;
mod corruption;
mod faults;
mod lost;
mod protection;
mod stitching;
mod streams;

use std::sync::mpsc::{Sender, channel};

use bytes::{fill, first_byte};
use freeboard_device_host::HostDevice;
use freeboard_units::{Bytes, StreamId};

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
