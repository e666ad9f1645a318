//! What the tests share: devices, a way to hold a stream up, a value of several buffers.

use std::sync::{Arc, mpsc};

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_buffer::DeviceBuffer;
use freeboard_device::Transfer;
use freeboard_device_host::HostDevice;
use freeboard_offload::{Buffers, BuffersMut, Movable, Mover, MoverConfig};
use freeboard_units::{Bytes, StreamId};

pub(crate) type Allocator<D = HostDevice> = Arc<CachingAllocator<D>>;

pub(crate) const HOME: StreamId = StreamId::DEFAULT;

pub(crate) fn host(capacity: Bytes) -> (HostDevice, Allocator) {
    let device = HostDevice::new(capacity).unwrap();
    let allocator = CachingAllocator::new(device.clone(), Config::default()).unwrap();
    (device, Arc::new(allocator))
}

/// A mover that waits where the program does, or only where the device does.
pub(crate) fn mover<D: Transfer + Send + Sync + 'static>(
    allocator: &Allocator<D>,
    wait_on_host: bool,
) -> Mover<D> {
    let config = MoverConfig { wait_on_host, ..MoverConfig::default() };
    Mover::new(allocator, config).unwrap()
}

/// What is allocated, and nothing pending.
pub(crate) fn allocated<D: Transfer>(allocator: &Allocator<D>) -> i64 {
    allocator.stats().allocated_bytes.all.current
}

/// Keeps a stream from going on until the sender is dropped.
pub(crate) fn hold(device: &HostDevice, stream: StreamId) -> mpsc::Sender<()> {
    let (gate, closed) = mpsc::channel();
    device.launch(stream, move || closed.recv().unwrap_or_default()).unwrap();
    gate
}

/// Buffers of several types, one of them without elements.
pub(crate) struct Saved<D: Transfer + 'static> {
    pub(crate) numbers: DeviceBuffer<f32, D>,
    pub(crate) mask: DeviceBuffer<u8, D>,
    pub(crate) nothing: DeviceBuffer<u64, D>,
    pub(crate) seeds: Option<DeviceBuffer<[u64; 3], D>>,
}

impl<D: Transfer> Movable<D> for Saved<D> {
    fn buffers<'a>(&'a self, list: &mut Buffers<'a, D>) {
        list.push("numbers", &self.numbers);
        list.push("mask", &self.mask);
        list.push("nothing", &self.nothing);
        self.seeds.buffers(list);
    }

    fn buffers_mut<'a>(&'a mut self, list: &mut BuffersMut<'a, D>) {
        list.push("numbers", &mut self.numbers);
        list.push("mask", &mut self.mask);
        list.push("nothing", &mut self.nothing);
        self.seeds.buffers_mut(list);
    }
}

impl<D: Transfer> Saved<D> {
    pub(crate) fn new(allocator: &Allocator<D>, stream: StreamId) -> Self {
        let numbers: Vec<f32> = (0..300_000_u32).map(f32::from_bits).collect();
        let seeds: Vec<[u64; 3]> = (0..1000).map(|n| [n, n * n, !n]).collect();
        let mask: Vec<u8> = numbers.iter().map(|number| number.to_le_bytes()[0]).collect();
        Self {
            numbers: DeviceBuffer::from_slice(allocator, &numbers, stream).unwrap(),
            mask: DeviceBuffer::from_slice(allocator, &mask, stream).unwrap(),
            nothing: DeviceBuffer::zeroed(allocator, 0, stream).unwrap(),
            seeds: Some(DeviceBuffer::from_slice(allocator, &seeds, stream).unwrap()),
        }
    }

    /// Every byte is what `new` made it.
    pub(crate) fn check(&self) {
        let numbers = self.numbers.to_vec().unwrap();
        assert!(numbers.iter().zip(0..).all(|(number, bits)| number.to_bits() == bits));
        let mask = self.mask.to_vec().unwrap();
        assert!(mask.iter().zip(&numbers).all(|(byte, number)| *byte == number.to_le_bytes()[0]));
        assert_eq!((numbers.len(), mask.len(), self.nothing.len()), (300_000, 300_000, 0));
        let seeds = self.seeds.as_ref().unwrap().to_vec().unwrap();
        assert!(seeds.len() == 1000 && seeds.iter().zip(0..).all(|(s, n)| *s == [n, n * n, !n]));
    }
}
