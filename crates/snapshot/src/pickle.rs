//! `PyTorch`'s snapshot files, read and written.
//!
//! `torch.cuda.memory._dump_snapshot("name.pickle")` writes a Python dictionary with `pickle`.
//! [`read`] takes such a file, from `PyTorch` 2.0 to 2.15 and in every pickle protocol, and
//! [`write()`] makes one that `torch.cuda._memory_viz` and the viewer at `pytorch.org/memory_viz`
//! open.
//!
//! # What is read
//!
//! | key of the file | here |
//! |---|---|
//! | `segments`, `host_segments` | [`Snapshot::segments`], [`Snapshot::host_segments`] |
//! | `device_traces`, `host_traces` | [`Snapshot::histories`], [`Snapshot::host_histories`] |
//! | `allocator_settings` | [`Snapshot::settings`] |
//! | `external_annotations` | [`Snapshot::annotations`] |
//! | `freeboard`, in our files | [`Snapshot::devices`], and how many events were dropped |
//!
//! Other keys are skipped. What old versions lack is empty, zero or the shared pool; a file that is
//! only the list of segments is read, too, and so are blocks with a `history`. A size that is
//! missing, negative, a fraction or a truth value is an error, and so are blocks that do not cover
//! their segment: what is read keeps what [`Segment`](crate::Segment) promises.
//!
//! # What is refused
//!
//! A pickle is a program for a small machine, and Python lets it call any function. Here it cannot:
//! the operations that name or call code are refused by name and byte ([`PickleError::Code`]), and
//! so are bytes, sets and outside buffers, which no snapshot has. Nothing is recursive, no length
//! is believed before its bytes have come, and each operation costs no more than its bytes, up to
//! [`ReadOptions::memory`] in all.
//!
//! # What it costs
//!
//! The source is read once, front to back, and never kept whole. A dictionary becomes a record as
//! soon as it is put into its list; what the file may refer to again takes four bytes. An event
//! takes about 75 bytes in all where the file has about 100.
//!
//! ```
//! use freeboard_snapshot::pickle::{self, ReadOptions};
//! use freeboard_snapshot::{Snapshot, model::Setting};
//!
//! let mut snapshot = Snapshot::default();
//! snapshot.settings.insert("expandable_segments".to_owned(), Setting::Flag(true));
//! let mut file = Vec::new();
//! pickle::write(&snapshot, &mut file)?;
//! assert_eq!(pickle::read(&file[..], &ReadOptions::default())?, snapshot);
//!
//! let hostile = b"\x80\x04cos\nsystem\n\x8c\x02ls\x85R.";
//! let error = pickle::read(&hostile[..], &ReadOptions::default()).unwrap_err();
//! assert!(error.to_string().starts_with("byte 2: refused: the file wants to run code (GLOBAL)"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod encode;
mod error;
mod finish;
mod input;
mod key;
mod machine;
mod objects;
mod path;
mod records;
mod seldom;
mod texts;
mod value;
mod write;

use std::io::Read;

use freeboard_units::Bytes;

use crate::model::Snapshot;

pub use error::PickleError;
pub use write::write;

/// How a file is read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadOptions {
    /// The most memory that what is read may take, about; 8 GiB unless told otherwise.
    pub memory: Bytes,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { memory: Bytes::gib(8) }
    }
}

impl ReadOptions {
    /// Allows so much memory.
    #[must_use]
    pub fn with_memory(mut self, memory: Bytes) -> Self {
        self.memory = memory;
        self
    }
}

/// Reads a snapshot file, decompressed, front to back; what follows the pickle is not looked at.
///
/// The source is read in pieces of 128 KiB and needs no buffer of its own.
///
/// # Errors
/// When the source fails or ends early, the bytes are no pickle or no snapshot, they want to run
/// code or to take too much memory, or a value is not what its key promises; each names the byte,
/// the entry where there is one, and the remedy.
pub fn read(source: impl Read, options: &ReadOptions) -> Result<Snapshot, PickleError> {
    machine::Machine::new(source, options.clone()).run().map_err(error::Fault::told)
}
