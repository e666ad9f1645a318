//! What writes and looks at memory: kernels on a GPU, functions on this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use freeboard::units::AddressRange;
use freeboard::{HostDevice, StreamId};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Work on whole words of memory, put on a stream.
pub(crate) trait Kernels {
    /// Fills a range with a value.
    fn touch(&self, range: AddressRange, value: u32, stream: StreamId) -> Outcome<()>;

    /// Counts the words of a range that do not have the value.
    fn verify(&self, range: AddressRange, value: u32, stream: StreamId) -> Outcome<()>;

    /// How many were counted in all, once the device is done.
    fn wrong_words(&self) -> Outcome<u64>;
}

/// Functions on the streams of a host device.
pub(crate) struct HostKernels {
    device: HostDevice,
    wrong: Arc<AtomicU64>,
}

impl HostKernels {
    pub(crate) fn new(device: HostDevice) -> Self {
        Self { device, wrong: Arc::default() }
    }
}

impl Kernels for HostKernels {
    fn touch(&self, range: AddressRange, value: u32, stream: StreamId) -> Outcome<()> {
        let device = self.device.clone();
        let work = move || {
            let start = device.pointer::<u32>(range.start());
            for word in 0..words(range) {
                // SAFETY: a live block of the replay, which frees it in the order of the stream.
                unsafe { start.wrapping_add(word).write(value) };
            }
        };
        Ok(self.device.launch(stream, work)?)
    }

    fn verify(&self, range: AddressRange, value: u32, stream: StreamId) -> Outcome<()> {
        let (device, wrong) = (self.device.clone(), Arc::clone(&self.wrong));
        let work = move || {
            let start = device.pointer::<u32>(range.start());
            // SAFETY: a live block of the replay, which frees it in the order of the stream.
            let seen = (0..words(range)).map(|word| unsafe { start.wrapping_add(word).read() });
            wrong.fetch_add(seen.map(|word| u64::from(word != value)).sum(), Ordering::Relaxed);
        };
        Ok(self.device.launch(stream, work)?)
    }

    fn wrong_words(&self) -> Outcome<u64> {
        self.device.synchronize()?;
        Ok(self.wrong.swap(0, Ordering::Relaxed))
    }
}

/// Whole words in a range.
pub(crate) fn words(range: AddressRange) -> usize {
    usize::try_from(range.size().get() / 4).unwrap_or(usize::MAX)
}
