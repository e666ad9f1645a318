//! [`TraceBuilder`]: a trace written by a program.

use freeboard_units::Bytes;

use super::Trace;
use super::recorder::Recorder;

/// An allocation of a [`TraceBuilder`], until it is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(u32);

impl Id {
    /// Its number: the first allocation has 0, the next 1, and so on.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Writes a trace operation by operation, as the program would have done.
///
/// Frees are explicit; what is never freed stays live to the end of the trace. Every allocation
/// has an id of its own.
///
/// # Examples
/// ```
/// use freeboard_replay::Trace;
/// use freeboard_units::Bytes;
///
/// let mut program = Trace::builder();
/// let weights = program.alloc(Bytes::mib(64), 0);
/// program.step("1");
/// let gathered = program.alloc(Bytes::mib(8), 1);
/// program.record(gathered, 0);
/// program.free(gathered);
/// program.free(weights);
/// let trace = program.finish("gather");
/// assert_eq!((trace.peak_requested, trace.streams), (Bytes::mib(72), 2));
/// ```
#[derive(Debug, Default)]
pub struct TraceBuilder {
    record: Recorder,
    next_id: u32,
    lines: u32,
}

impl TraceBuilder {
    /// Allocates for use on a stream.
    ///
    /// # Panics
    /// When `size` is 2^63 bytes or more, or the trace has `u32::MAX` lines.
    pub fn alloc(&mut self, size: Bytes, stream: u16) -> Id {
        assert!(size.get() < 1 << 63, "{size} is no size of an allocation");
        let id = Id(self.next_id);
        let line = self.next_line();
        self.record.allocate(id.0, size, stream, line);
        self.next_id += 1;
        id
    }

    /// Frees an allocation.
    ///
    /// # Panics
    /// When it is not live: freed before, or of another builder.
    pub fn free(&mut self, id: Id) {
        self.assert_live(id);
        let line = self.next_line();
        self.record.free(id.0, line);
    }

    /// Notes that an allocation is also used on `stream`.
    ///
    /// # Panics
    /// When it is not live.
    pub fn record(&mut self, id: Id, stream: u16) {
        self.assert_live(id);
        let line = self.next_line();
        self.record.record_use(id.0, stream, line);
    }

    /// Returns all cached memory to the device.
    ///
    /// # Panics
    /// When the trace has `u32::MAX` lines.
    pub fn empty_cache(&mut self) {
        let line = self.next_line();
        self.record.empty_cache(line);
    }

    /// Writes a comment, one for each line of `text`. Text that begins with the word "step" marks
    /// a step, as it does in a file.
    ///
    /// # Panics
    /// When the trace has `u32::MAX` lines.
    pub fn comment(&mut self, text: &str) {
        for text in text.split('\n') {
            let line = self.next_line();
            self.record.comment(text, line);
        }
    }

    /// Marks where a step begins; `text` tells which, such as `3 length 512`, on one line.
    ///
    /// # Panics
    /// When the trace has `u32::MAX` lines.
    pub fn step(&mut self, text: &str) {
        let line = self.next_line();
        self.record.comment(&format!("step {}", text.replace('\n', " ")), line);
    }

    /// The trace. One without operations cannot be read back: a file of it is refused as empty.
    #[must_use]
    pub fn finish(self, name: &str) -> Trace {
        self.record.finish(name, self.next_id)
    }

    fn assert_live(&self, id: Id) {
        assert!(self.record.is_live(id.0), "allocation {} is not live", id.0);
    }

    fn next_line(&mut self) -> u32 {
        self.lines = self.lines.checked_add(1).expect("a trace has fewer than 2^32 lines");
        self.lines
    }
}
