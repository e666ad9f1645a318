//! `PyTorch`'s snapshot files.

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

/// Reads a snapshot file.
///
/// # Errors
/// The file.
pub fn read(source: impl Read, options: &ReadOptions) -> Result<Snapshot, PickleError> {
    machine::Machine::new(source, options.clone()).run().map_err(error::Fault::told)
}
