//! [`Trace`]: what a program asked of its allocator, and the text format that keeps it.
//!
//! One operation per line, fields parted by blanks, `#` starts a comment:
//!
//! ```text
//! a ID BYTES STREAM    allocate BYTES, as the program asked, for use on STREAM
//! f ID                 free
//! r ID STREAM          the memory is also used on STREAM
//! e                    empty the cache
//! # step 3 ...         a comment; this one marks where a step begins
//! ```
//!
//! An ID is any 64-bit number and may be used again once it is free. Files may be compressed with
//! gzip or zstd, whatever their name.

mod builder;
pub(crate) mod compress;
mod error;
mod ids;
mod recorder;
mod text;
mod write;

#[cfg(test)]
mod tests;

use std::path::Path;

use freeboard_units::Bytes;

pub use builder::{Id, TraceBuilder};
pub use error::{Problem, TraceError};

/// The largest stream number in a trace: 65,535.
///
/// Programs have tens of streams; a larger number in a file is a slip, and replays keep a table of
/// streams that it would blow up.
pub const STREAM_MAX: u16 = u16::MAX;

/// A program's allocations, in order, with what a replay must know beforehand.
///
/// Made by [`Trace::read`], [`Trace::parse`] or a [`TraceBuilder`], which see to it that only live
/// memory is freed and that the sums are right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trace {
    /// What to call it in reports: the name of the file without its endings, or of the workload.
    pub name: String,
    /// The operations in program order.
    pub ops: Vec<Op>,
    /// How many different ids there are; slots run from 0 up to this.
    pub slots: u32,
    /// One more than the largest stream number, and at least 1.
    pub streams: u32,
    /// How many operations allocate.
    pub allocs: u64,
    /// How many operations free.
    pub frees: u64,
    /// The most bytes that were live at one time, as asked for: no device can be smaller.
    pub peak_requested: Bytes,
    /// Where steps begin, in order.
    pub steps: Vec<StepMark>,
    /// The other comments, in order; [`Trace::write`] keeps them.
    pub comments: Vec<Comment>,
}

/// One operation: 24 bytes, because a replay walks millions of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Op {
    /// What is done.
    pub kind: OpKind,
    /// The line of the text it stands on, counted from 1 and including comments.
    pub line: u32,
}

/// What an operation does.
///
/// A `slot` is the dense number of an id: the first id of the trace is slot 0, the next new one
/// slot 1, and an id that is used again keeps its slot. Slots index a plain array in a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpKind {
    /// Allocate for use on a stream.
    Allocate {
        /// Whose memory it is from here to the free.
        slot: u32,
        /// How many bytes the program asked for, below 2^63; zero is allowed.
        size: Bytes,
        /// The stream that will use it.
        stream: u16,
    },
    /// Give the memory back.
    Free {
        /// Whose memory, live until here.
        slot: u32,
    },
    /// The memory is also used on another stream, as `record_stream` says in `PyTorch`.
    RecordUse {
        /// Whose memory, live here.
        slot: u32,
        /// The other stream.
        stream: u16,
    },
    /// Return all cached memory to the device.
    EmptyCache,
}

/// Where a step of the program begins, from a comment `# step ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepMark {
    /// The line of the comment.
    pub line: u32,
    /// The index in [`Trace::ops`] of the first operation after it; the number of operations where
    /// none follows.
    pub op_index: usize,
    /// What follows the word "step", such as `3 length 512`.
    pub text: String,
}

/// A comment that marks no step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// The line it stands on.
    pub line: u32,
    /// The index in [`Trace::ops`] of the first operation after it.
    pub op_index: usize,
    /// Its words, without the `#`.
    pub text: String,
}

impl Trace {
    /// Reads a trace file, plain or compressed; `-` reads standard input.
    ///
    /// # Errors
    /// When the file cannot be read or decompressed, is a `PyTorch` snapshot, holds no operation,
    /// or breaks the format; the error names the file, the line and what to do.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, TraceError> {
        let path = path.as_ref();
        let (name, text) = compress::load(path)?;
        let mut trace = Self::parse_text(&name, &text)?;
        compress::short_name(&name).clone_into(&mut trace.name);
        Ok(trace)
    }

    /// Reads the content of a trace file, plain or compressed; `name` is used in errors.
    ///
    /// # Errors
    /// As [`Trace::read`], except for the reading itself.
    ///
    /// # Examples
    /// ```
    /// use freeboard_replay::Trace;
    ///
    /// let trace = Trace::parse("two steps", b"# step 1\na 7 1024 0\nf 7\n")?;
    /// assert_eq!((trace.allocs, trace.frees, trace.peak_requested.get()), (1, 1, 1024));
    ///
    /// let error = Trace::parse("slip", b"a 7 1024 0\nf 8\n").unwrap_err();
    /// assert!(error.to_string().starts_with("slip, line 2: id 8 is not live"));
    /// # Ok::<(), freeboard_replay::TraceError>(())
    /// ```
    pub fn parse(name: &str, content: &[u8]) -> Result<Self, TraceError> {
        let text = compress::unpack(name, content)?;
        Self::parse_text(name, &text)
    }

    fn parse_text(name: &str, text: &[u8]) -> Result<Self, TraceError> {
        if text.first() == Some(&0x80) {
            return Err(TraceError::Snapshot { name: name.to_owned() });
        }
        text::parse(name, text)
    }

    /// A trace to be filled in by a program.
    #[must_use]
    pub fn builder() -> TraceBuilder {
        TraceBuilder::default()
    }
}
