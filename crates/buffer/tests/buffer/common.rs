//! What the tests share: devices, allocators, and gates that hold a stream up.

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

/// Holds a stream up until it is dropped.
pub(crate) struct Gate {
    _closed: mpsc::Sender<()>,
}

impl Gate {
    pub(crate) fn on(device: &HostDevice, stream: StreamId) -> Self {
        let (closed, opened) = mpsc::channel::<()>();
        let hold = move || while opened.recv().is_ok() {};
        device.launch(stream, hold).unwrap();
        Self { _closed: closed }
    }
}
