//! [`PickleError`]: why a snapshot file could not be read, where, and what to do about it.

use std::io;

use freeboard_units::Bytes;

/// Why a snapshot file could not be read. Each message names the byte and the remedy.
///
/// Bytes are counted from 0 in the pickle itself, after decompression.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// The source failed.
    #[error(
        "cannot read on after byte {offset}: {source}; \
         check the disk and the compression, or fetch the file again"
    )]
    Read {
        /// How many bytes were read before.
        offset: u64,
        /// What the source said.
        source: io::Error,
    },
    /// The file ends too early.
    #[error(
        "the file ends at byte {offset}{place}, where more must follow: the copy is cut short or \
         the program was stopped while it wrote; copy it again, or dump again and wait for the end"
    )]
    Truncated {
        /// Where it ends.
        offset: u64,
        /// The entry it ends in, after the word "in"; empty if that is not known.
        place: String,
    },
    /// The file is something else.
    #[error(
        "this is {found}, not a pickled snapshot: \
         give a file that torch.cuda.memory._dump_snapshot(\"name.pickle\") wrote"
    )]
    NotASnapshot {
        /// What it looks like.
        found: String,
    },
    /// The file would make Python run code. Nothing was run.
    #[error(
        "byte {offset}: refused: the file wants to run code ({opcode}), which a snapshot never \
         does; do not open it with Python, and dump anew with torch.cuda.memory._dump_snapshot"
    )]
    Code {
        /// Where.
        offset: u64,
        /// The name of the opcode.
        opcode: &'static str,
    },
    /// The file has something that pickles may have and snapshots do not.
    #[error(
        "byte {offset}: {what}, which no snapshot has; \
         dump anew with torch.cuda.memory._dump_snapshot, which writes plain data"
    )]
    Unsupported {
        /// Where.
        offset: u64,
        /// What.
        what: String,
    },
    /// The bytes are no pickle.
    #[error("byte {offset}: {what}: the file is damaged; copy it again, or dump anew")]
    Malformed {
        /// Where.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A value is not what its key promises.
    #[error(
        "{path} (byte {offset}) is {found}, expected {expected}: \
         the file is damaged or was changed; dump anew with torch.cuda.memory._dump_snapshot"
    )]
    Value {
        /// Where in the file.
        offset: u64,
        /// Where in the snapshot, such as `device_traces[0][12].size`.
        path: String,
        /// What is there.
        found: String,
        /// What should be there.
        expected: &'static str,
    },
    /// Reading on would take more memory than allowed.
    #[error(
        "byte {offset}: what was read so far takes more than {limit} of memory; if the file is \
         to be trusted, allow more with ReadOptions::with_memory, or record fewer entries \
         (max_entries of _record_memory_history)"
    )]
    TooLarge {
        /// Where.
        offset: u64,
        /// The limit.
        limit: Bytes,
    },
}

/// An error on its way out: boxed, because errors are large and rare.
pub(super) struct Fault(Box<PickleError>);

pub(super) type Result<T> = std::result::Result<T, Fault>;

impl From<PickleError> for Fault {
    #[cold]
    fn from(error: PickleError) -> Self {
        Self(Box::new(error))
    }
}

impl Fault {
    /// Whether the file ended too early.
    pub(super) fn is_cut(&self) -> bool {
        matches!(*self.0, PickleError::Truncated { .. })
    }

    /// Puts what is around it before the path.
    pub(super) fn within(mut self, outer: &str) -> Self {
        match &mut *self.0 {
            PickleError::Value { path, .. } => path.insert_str(0, outer),
            PickleError::Truncated { place, .. } if place.is_empty() && !outer.is_empty() => {
                *place = format!(", in {outer}");
            }
            _ => {}
        }
        self
    }

    /// The error as it is told, without the dot that the first key of a path has before it.
    pub(super) fn told(mut self) -> PickleError {
        if let PickleError::Value { path, .. } = &mut *self.0 {
            if path.starts_with('.') {
                path.remove(0);
            }
            if path.is_empty() {
                path.push_str("the snapshot");
            }
        }
        *self.0
    }
}

/// The bytes are no pickle.
#[cold]
pub(super) fn malformed(offset: u64, what: &'static str) -> Fault {
    Fault::from(PickleError::Malformed { offset, what })
}

/// The field `path` is not what it should be.
#[cold]
pub(super) fn wrong(
    offset: u64,
    path: impl Into<String>,
    found: impl Into<String>,
    expected: &'static str,
) -> Fault {
    Fault::from(PickleError::Value { offset, path: path.into(), found: found.into(), expected })
}
