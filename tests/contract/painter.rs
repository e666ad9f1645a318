//! [`Painter`]: fills memory with a number of its own and later looks whether it is still there.

use freeboard::device::{Pattern, Transfer};
use freeboard::units::AddressRange;
use freeboard::{Bytes, StreamId};

/// Bytes on their way from the device, and what they have to be.
struct Reading {
    bytes: Vec<u8>,
    expected: u32,
    range: AddressRange,
}

/// Puts fills and reads on streams; looks at what was read only when the streams are done with it.
pub(crate) struct Painter<'a, D: Transfer> {
    device: &'a D,
    readings: Vec<Reading>,
    streams: Vec<StreamId>,
    next: u32,
}

/// How many reads are on their way at most.
const AT_ONCE: usize = 64;

impl<'a, D: Transfer> Painter<'a, D> {
    /// `salt` keeps the numbers of several painters apart.
    pub(crate) fn new(device: &'a D, salt: u32) -> Self {
        Self { device, readings: Vec::new(), streams: Vec::new(), next: salt << 24 }
    }

    /// Fills a range with a number that was not used before.
    pub(crate) fn paint(&mut self, range: AddressRange, stream: StreamId) -> u32 {
        self.next += 1;
        // SAFETY: the range was allocated by the check, which holds it until it has been read.
        unsafe { self.device.fill(words(range), Pattern::U32(self.next), stream) }.unwrap();
        self.next
    }

    /// Reads a range on a stream; it has to hold the number.
    pub(crate) fn expect(&mut self, range: AddressRange, expected: u32, stream: StreamId) {
        let range = words(range);
        let mut bytes = vec![0; usize::try_from(range.size().get()).unwrap()];
        let (to, size) = (bytes.as_mut_ptr(), range.size());
        // SAFETY: the bytes are kept, unmoved, until the stream has been waited for.
        unsafe { self.device.download(to, range.start(), size, stream) }.unwrap();
        self.readings.push(Reading { bytes, expected, range });
        if !self.streams.contains(&stream) {
            self.streams.push(stream);
        }
        if self.readings.len() == AT_ONCE {
            self.look();
        }
    }

    /// Waits for all reads and compares.
    pub(crate) fn look(&mut self) {
        for stream in self.streams.drain(..) {
            self.device.synchronize_stream(stream).unwrap();
        }
        for Reading { bytes, expected, range } in self.readings.drain(..) {
            let wrong = bytes.chunks_exact(4).position(|word| word != expected.to_le_bytes());
            if let Some(at) = wrong {
                let word = &bytes[4 * at..4 * at + 4];
                panic!("{range}: word {at} is {word:?}, not {expected:#x}");
            }
        }
    }
}

/// The whole words of a range.
fn words(range: AddressRange) -> AddressRange {
    AddressRange::new(range.start(), range.size().align_down(Bytes::new(4)))
}
