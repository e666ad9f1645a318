//! [`Messages`]: looks through a log of any length with a window of bounded size.

use std::collections::VecDeque;
use std::io::{self, BufRead, ErrorKind};
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::lines::{AHEAD, BACK};
use super::{Message, at};

/// Words that messages hold; every family's begin with one of these.
const ANCHORS: [&str; 63] = [
    "out of memory",
    "Out of memory",
    "Out of Memory",
    "OUT_OF_MEMORY",
    "out_of_memory:",
    "OutOfMemoryError",
    "Tried to allocate",
    "cudaErrorMemoryAllocation",
    "hipErrorOutOfMemory",
    "VK_ERROR_OUT_OF_DEVICE_MEMORY",
    "_ALLOC_FAILED",
    "_ALLOCATION_FAILED",
    "RESOURCE_EXHAUSTED:",
    "Resource exhausted:",
    "OOM when allocating tensor",
    "Failed to allocate memory for requested buffer",
    "No pool handles allocation",
    "can't allocate memory",
    "not enough memory: you tried",
    "Unable to allocate",
    "Cannot allocate memory",
    "oom-kill event",
    "oom_kill event",
    "OOMKilled",
    "cgroup out-of-memory",
    "exitcode: -9",
    "exitcode  : -9",
    "exit code 137",
    "Signal 9 (SIGKILL)",
    "<Signals.SIGKILL: 9>",
    "is killed by signal",
    "insufficient shared memory",
    "out of shared memory",
    "unable to allocate shared memory",
    "Error while creating shared memory",
    "No space left on device",
    "illegal memory access",
    "ILLEGAL_ADDRESS",
    "misaligned address",
    "device-side assert",
    "unspecified launch failure",
    "LAUNCH_FAILED",
    "LAUNCH_OUT_OF_RESOURCES",
    "out of resource: shared memory",
    "too many resources requested",
    "Watchdog caught collective",
    "unhandled cuda error",
    "unhandled system error",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUBLAS_STATUS_EXECUTION_FAILED",
    "CUBLAS_STATUS_INTERNAL_ERROR",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_EXECUTION_FAILED",
    "no kernel image is available",
    "driver version is insufficient",
    "invalid device ordinal",
    "busy or unavailable",
    "No CUDA GPUs are available",
    "uncorrectable ECC error",
    "GPU has fallen off the bus",
    "Segmentation fault",
    "Signal 11 (SIGSEGV)",
    "cannot allocate memory",
];
/// The longest of them, in bytes.
const LONGEST: usize = 64;
/// Bytes that are read before they are looked through.
const CHUNK: usize = 256 << 10;

fn anchors() -> &'static AhoCorasick {
    static BUILT: OnceLock<AhoCorasick> = OnceLock::new();
    BUILT.get_or_init(|| {
        let builder = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(ANCHORS);
        builder.expect("a few dozen words")
    })
}

/// The messages of a log, in order, read as they are asked for.
///
/// Holds less than 2 MiB, however long the log and its lines are. What is not UTF-8 is read as it
/// stands. After an error of the reader there is nothing more.
///
/// ```
/// let log = "RuntimeError: CUDA error: out of memory\n";
/// let messages: Result<Vec<_>, _> = freeboard_snapshot::message::Messages::new(log.as_bytes()).collect();
/// assert_eq!(messages?.len(), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Messages<R> {
    reader: R,
    window: Vec<u8>,
    /// Up to where the window was looked through.
    scanned: usize,
    /// Newlines before `counted` in the window, and before the window.
    newlines: usize,
    counted: usize,
    /// Parts of messages that were told, in the window.
    told: VecDeque<(usize, usize)>,
    is_at_end: bool,
}

impl<R: BufRead> Messages<R> {
    /// Looks through what `reader` gives.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            window: Vec::new(),
            scanned: 0,
            newlines: 0,
            counted: 0,
            told: VecDeque::new(),
            is_at_end: false,
        }
    }

    /// Reads on, and lets go of what was looked through.
    fn fill(&mut self) -> io::Result<()> {
        let old = self.scanned.saturating_sub(BACK);
        if old > CHUNK {
            self.count(old.max(self.counted));
            self.window.drain(..old);
            self.scanned -= old;
            self.counted -= old;
            self.told.retain(|(_, end)| *end > old);
            for (start, end) in &mut self.told {
                (*start, *end) = (start.saturating_sub(old), *end - old);
            }
        }
        while !self.is_at_end && self.window.len() < self.scanned + CHUNK + AHEAD {
            let read = match self.reader.fill_buf() {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.is_at_end = true;
                    self.scanned = self.window.len();
                    return Err(error);
                }
            };
            let count = read.len().min(CHUNK);
            self.window.extend_from_slice(&read[..count]);
            self.is_at_end = count == 0;
            self.reader.consume(count);
        }
        Ok(())
    }

    /// Counts newlines up to `place`.
    fn count(&mut self, place: usize) {
        self.newlines += memchr::memchr_iter(b'\n', &self.window[self.counted..place]).count();
        self.counted = place;
    }

    /// The message at `found`, if it is one and was not told yet.
    fn message(&mut self, found: usize) -> Option<Message> {
        while self.told.front().is_some_and(|(_, end)| *end + BACK <= found) {
            self.told.pop_front();
        }
        if self.told.iter().any(|(start, end)| (start..end).contains(&&found)) {
            return None;
        }
        let (mut message, spans) = at(&self.window, found)?;
        self.count(found);
        message.line = self.newlines + 1;
        self.told.extend(spans);
        Some(message)
    }
}

impl<R: BufRead> Iterator for Messages<R> {
    type Item = io::Result<Message>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let ahead = if self.is_at_end { 0 } else { AHEAD };
            let limit = self.window.len().saturating_sub(ahead);
            while self.scanned < limit {
                let end = self.window.len().min(limit + LONGEST - 1);
                let found = anchors().find(&self.window[self.scanned..end]);
                let Some(found) = found.filter(|found| self.scanned + found.start() < limit) else {
                    self.scanned = limit;
                    break;
                };
                let place = self.scanned + found.start();
                self.scanned += found.end();
                if let Some(message) = self.message(place) {
                    return Some(Ok(message));
                }
            }
            if self.is_at_end && self.scanned >= self.window.len() {
                return None;
            }
            if let Err(error) = self.fill() {
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_anchor_is_longer_than_the_overlap() {
        assert!(ANCHORS.iter().all(|anchor| anchor.len() <= LONGEST));
    }
}
