//! What the tests share: devices, allocators, and a way to hold a stream up.

use std::sync::{Arc, mpsc};

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_device::Order;
use freeboard_device_host::HostDevice;
use freeboard_units::{Bytes, StreamId};

pub(crate) type Allocator = Arc<CachingAllocator<HostDevice>>;

pub(crate) const HOME: StreamId = StreamId::DEFAULT;

/// A device of 256 MiB and an allocator on it.
pub(crate) fn host() -> (HostDevice, Allocator) {
    let device = HostDevice::new(Bytes::mib(256)).unwrap();
    let allocator = CachingAllocator::new(device.clone(), Config::default()).unwrap();
    (device, Arc::new(allocator))
}

pub(crate) fn stream(device: &HostDevice) -> StreamId {
    device.create_stream().unwrap()
}

/// Keeps a stream from going on until the sender is dropped.
pub(crate) fn hold(device: &HostDevice, stream: StreamId) -> mpsc::Sender<()> {
    let (gate, closed) = mpsc::channel();
    device.launch(stream, move || closed.recv().unwrap_or_default()).unwrap();
    gate
}
