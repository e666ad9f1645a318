//! [`TraceError`]: why a trace could not be read or written, and what to do about it.

use std::io;

/// Why a trace could not be read or written.
///
/// Each message names the file, the line where there is one, and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file is missing or unreadable. Check the path and the rights.
    #[error("cannot read {name}: {source}; check that the path is right and the file is yours")]
    Read {
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be written. Nothing was left behind under its name.
    #[error("cannot write {name}: {source}; an earlier file of that name is as it was")]
    Write {
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The compressed data is damaged or cut off. Fetch or write the file again.
    #[error("{name} is no sound {format} file: {source}; fetch or record it again")]
    Corrupt {
        /// The file.
        name: String,
        /// The compression its first bytes announce.
        format: &'static str,
        /// What the decompressor said.
        source: io::Error,
    },
    /// The file is a Python pickle, as `torch.cuda.memory._dump_snapshot` writes.
    #[error(
        "{name} is a PyTorch snapshot, not a trace: make a trace of its history with \
         freeboard convert FILE -o x.trace --to trace"
    )]
    Snapshot {
        /// The file.
        name: String,
    },
    /// There is no operation in it.
    #[error(
        "{name} holds no operation: a trace has lines such as 'a 0 1024 0' and 'f 0'; \
         check that the recording was switched on"
    )]
    Empty {
        /// The file.
        name: String,
    },
    /// The text is longer than 4 GiB or has more than `u32::MAX` lines. Cut it at a step.
    #[error("{name} is too long: up to 4 GiB of text and 4294967295 lines are read; cut it")]
    TooLong {
        /// The file.
        name: String,
    },
    /// A line breaks the format.
    #[error("{name}, line {line}: {problem}")]
    Line {
        /// The file.
        name: String,
        /// The line, counted from 1 and including comments.
        line: u32,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is wrong with a line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The first word is none of the four operations.
    #[error(
        "unknown operation '{word}': a line starts with a (allocate), f (free), \
         r (record a use), e (empty the cache) or # (comment)"
    )]
    UnknownOperation {
        /// The word, cut to 32 bytes.
        word: String,
    },
    /// The line ends too early.
    #[error("the {field} is missing: write '{form}'")]
    MissingField {
        /// What should have followed.
        field: &'static str,
        /// How the whole line is written.
        form: &'static str,
    },
    /// A field is no decimal number without sign.
    #[error("the {field} '{word}' is no number: write '{form}' with plain decimal digits")]
    BadNumber {
        /// Which field.
        field: &'static str,
        /// The word, cut to 32 bytes.
        word: String,
        /// How the whole line is written.
        form: &'static str,
    },
    /// A number lies above what its field can hold.
    #[error("the {field} '{word}' is too large: the largest is {limit}")]
    TooLarge {
        /// Which field.
        field: &'static str,
        /// The word, cut to 32 bytes.
        word: String,
        /// The largest number allowed.
        limit: u64,
    },
    /// Something follows the last field.
    #[error("'{word}' follows a complete line: write '{form}' and one operation per line")]
    TrailingWords {
        /// The first word too many, cut to 32 bytes.
        word: String,
        /// How the whole line is written.
        form: &'static str,
    },
    /// An id is allocated that is live.
    #[error("id {id} is live since line {since}: free it first, or give this one another id")]
    AlreadyLive {
        /// The id.
        id: u64,
        /// The line that allocated it.
        since: u32,
    },
    /// An id is freed or used that is not live.
    #[error(
        "id {id} is not live: it was freed before or never allocated; \
         record from the start of the program, or drop this line"
    )]
    NotLive {
        /// The id.
        id: u64,
    },
}
