//! Bytes in a range of a test's own.

use freeboard_device::{Order, Pattern, Transfer};
use freeboard_device_host::HostDevice;
use freeboard_units::{AddressRange, Bytes, StreamId};

pub(crate) fn fill(device: &HostDevice, range: AddressRange, value: u8, stream: StreamId) {
    // SAFETY: the range is the test's own.
    unsafe { device.fill(range, Pattern::U8(value), stream) }.unwrap();
}

/// The first byte of a range, as a stream sees it.
pub(crate) fn first_byte(device: &HostDevice, range: AddressRange, stream: StreamId) -> u8 {
    let mut byte = 0;
    // SAFETY: the range is the test's own, and the byte is waited for.
    unsafe { device.download(&raw mut byte, range.start(), Bytes::new(1), stream) }.unwrap();
    device.synchronize_stream(stream).unwrap();
    byte
}
