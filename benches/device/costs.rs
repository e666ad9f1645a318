//! How long each call of a device takes, by size.

use std::time::Instant;

use freeboard::Bytes;
use freeboard::device::{Device, Result};
use freeboard::units::AddressRange;
use serde::Serialize;

/// How often each call is made at each size.
const REPEATS: usize = 21;

/// How long one kind of call takes at one size.
#[derive(Clone, Serialize)]
pub(crate) struct CallTime {
    pub(crate) call: &'static str,
    pub(crate) size: Bytes,
    pub(crate) median_ns: u64,
    pub(crate) least_ns: u64,
}

/// Times by call, in the order of first use.
#[derive(Default)]
struct Times(Vec<(&'static str, Vec<u64>)>);

impl Times {
    fn time<T>(&mut self, call: &'static str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let outcome = act()?;
        let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        match self.0.iter_mut().find(|(name, _)| *name == call) {
            Some((_, times)) => times.push(took),
            None => self.0.push((call, vec![took])),
        }
        Ok(outcome)
    }

    fn finish(self, size: Bytes) -> impl Iterator<Item = CallTime> {
        self.0.into_iter().map(move |(call, mut times)| {
            times.sort_unstable();
            CallTime { call, size, median_ns: times[times.len() / 2], least_ns: times[0] }
        })
    }
}

/// Every call that takes and gives back memory, from a page up to `most` bytes at a time.
pub(crate) fn costs(device: &impl Device, most: Bytes) -> Result<Vec<CallTime>> {
    let page = device.granularity();
    let mut all = Vec::new();
    for pages in [1, 10, 32, 128, 512].into_iter().filter(|&pages| page * pages <= most) {
        let size = page * pages;
        let mut times = Times::default();
        for _ in 0..REPEATS {
            one_handle(device, size, &mut times)?;
            pages_apart(device, page, pages, &mut times)?;
            let start = times.time("cuMemAlloc", || device.allocate(size))?;
            times.time("cuMemFree", || device.free(start))?;
        }
        all.extend(times.finish(size));
    }
    let mut times = Times::default();
    for _ in 0..REPEATS {
        let event = times.time("cuEventCreate", || device.create_event())?;
        times.time("cuEventRecord", || device.record(event, freeboard::StreamId::DEFAULT))?;
        times.time("cuEventQuery", || device.is_done(event))?;
        times.time("cuMemGetInfo", || device.info())?;
        times.time("cuEventDestroy", || device.destroy_event(event))?;
    }
    all.extend(times.finish(Bytes::ZERO));
    Ok(all)
}

/// All of `size` behind one handle.
fn one_handle(device: &impl Device, size: Bytes, times: &mut Times) -> Result<()> {
    let range = times.time("cuMemAddressReserve", || device.reserve(size))?;
    let handle = times.time("cuMemCreate", || device.create(size))?;
    times.time("cuMemMap", || device.map(range, handle))?;
    times.time("cuMemSetAccess", || device.set_access(range))?;
    times.time("cuMemUnmap", || device.unmap(range))?;
    times.time("cuMemRelease", || device.release(handle))?;
    times.time("cuMemAddressFree", || device.unreserve(range))
}

/// The same size behind one handle for each page: opened and unmapped in one call.
fn pages_apart(device: &impl Device, page: Bytes, count: u64, times: &mut Times) -> Result<()> {
    let range = device.reserve(page * count)?;
    let mut handles = Vec::new();
    for n in 0..count {
        let handle = device.create(page)?;
        device.map(AddressRange::new(range.start() + page * n, page), handle)?;
        handles.push(handle);
    }
    times.time("cuMemSetAccess, pages", || device.set_access(range))?;
    times.time("cuMemUnmap, pages", || device.unmap(range))?;
    handles.into_iter().try_for_each(|handle| device.release(handle))?;
    device.unreserve(range)
}
