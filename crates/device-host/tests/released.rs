//! Released memory goes back to the machine. A process of its own, because its memory is measured.

#![expect(unsafe_code, reason = "a device moves bytes of whoever calls")]
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

#[path = "host/bytes.rs"]
mod bytes;

use bytes::{fill, first_byte};
use freeboard_device::{Memory, Order};
use freeboard_device_host::HostDevice;
use freeboard_units::{Bytes, StreamId};

/// How much of the machine's memory is shared memory, which a memory file is.
fn shared_memory() -> Bytes {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssShmem:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    Bytes::kib(kib)
}

#[test]
fn released_memory_goes_back_to_the_machine() {
    let device = HostDevice::new(Bytes::mib(512)).unwrap();
    let (size, stream) = (Bytes::mib(256), StreamId::DEFAULT);
    let before = shared_memory();
    for _ in 0..3 {
        let (range, handle) = (device.reserve(size).unwrap(), device.create(size).unwrap());
        device.map(range, handle).unwrap();
        device.set_access(range).unwrap();
        fill(&device, range, 1, stream);
        device.synchronize_stream(stream).unwrap();
        assert!(shared_memory() > before + Bytes::mib(200));
        device.release(handle).unwrap();
        device.unmap(range).unwrap();
        device.unreserve(range).unwrap();
        assert!(shared_memory() < before + Bytes::mib(56));
    }
    // A page that comes anew is empty.
    let (range, handle) = (device.reserve(size).unwrap(), device.create(size).unwrap());
    device.map(range, handle).unwrap();
    device.set_access(range).unwrap();
    assert_eq!(first_byte(&device, range, stream), 0);
}
