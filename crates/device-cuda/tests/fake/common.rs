//! Drivers, devices and bytes, in few words.

use freeboard_device::{DeviceError, Handle, Memory, Transfer};
use freeboard_device_cuda::{CudaDevice, CudaOptions, Driver, Unavailable};
use freeboard_fake_cuda::Fake;
use freeboard_units::{Address, AddressRange, Bytes, StreamId};

pub(crate) const PAGE: Bytes = Bytes::mib(2);
pub(crate) const DEFAULT: StreamId = StreamId::DEFAULT;

/// Opens a fake driver as one opens the real one.
pub(crate) fn open(fake: &Fake) -> Result<&'static Driver, Unavailable> {
    // SAFETY: the fake driver has the real one's functions, with the same meanings.
    unsafe { Driver::open(fake.path()) }
}

/// A driver of one's own.
pub(crate) fn driver() -> (Fake, &'static Driver) {
    let fake = Fake::load().unwrap();
    let driver = open(&fake).unwrap();
    (fake, driver)
}

/// How a device on this driver is asked for.
pub(crate) fn on(driver: &'static Driver) -> CudaOptions {
    CudaOptions { driver: Some(driver), ..CudaOptions::default() }
}

/// A driver and its first device.
pub(crate) fn lend() -> (Fake, CudaDevice) {
    let (fake, driver) = driver();
    let device = CudaDevice::with_options(0, on(driver)).unwrap();
    (fake, device)
}

/// The same, with memory that can be given away.
pub(crate) fn lend_exportable() -> (Fake, CudaDevice) {
    let (fake, driver) = driver();
    let options = CudaOptions { exportable: true, ..on(driver) };
    (fake, CudaDevice::with_options(0, options).unwrap())
}

/// `count` pages, mapped and open.
pub(crate) fn pages(device: &CudaDevice, count: u64) -> (AddressRange, Handle) {
    let range = device.reserve(PAGE * count).unwrap();
    let handle = device.create(range.size()).unwrap();
    device.map(range, handle).unwrap();
    device.set_access(range).unwrap();
    (range, handle)
}

/// Gives back what [`pages`] gave.
pub(crate) fn give_back(device: &CudaDevice, (range, handle): (AddressRange, Handle)) {
    device.unmap(range).unwrap();
    device.release(handle).unwrap();
    device.unreserve(range).unwrap();
}

pub(crate) fn part(range: AddressRange, first: u64, count: u64) -> AddressRange {
    AddressRange::new(range.start() + PAGE * first, PAGE * count)
}

/// Writes bytes at an address, and waits.
pub(crate) fn put(device: &CudaDevice, to: Address, bytes: &[u8]) -> Result<(), DeviceError> {
    let size = Bytes::new(bytes.len() as u64);
    // SAFETY: the fake driver copies before it returns, and refuses addresses that are not open.
    unsafe { device.upload(to, bytes.as_ptr(), size, DEFAULT) }
}

/// Reads bytes at an address.
pub(crate) fn get(
    device: &CudaDevice,
    from: Address,
    count: usize,
) -> Result<Vec<u8>, DeviceError> {
    let mut bytes = vec![0; count];
    // SAFETY: the fake driver copies before it returns, and refuses addresses that are not open.
    unsafe { device.download(bytes.as_mut_ptr(), from, Bytes::new(count as u64), DEFAULT) }?;
    Ok(bytes)
}

/// The call must be refused as the caller's fault, for a reason that holds these words.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(outcome: Result<T, DeviceError>, why: &str) {
    match outcome {
        Err(DeviceError::InvalidCall { reason, .. }) if reason.contains(why) => {}
        other => panic!("not refused for {why:?}: {other:?}"),
    }
}
