//! Reading snapshots, `PyTorch`'s pickles and our JSON, packed or not; and files that show how far they were read.

use std::io::{self, BufRead, Read};
use std::path::Path;

use freeboard_replay::files::{self, Opened};
use freeboard_snapshot::Snapshot;
use freeboard_snapshot::pickle;

use crate::failure::Failure;
use crate::progress::Progress;

/// More JSON than a history of ten million events takes, or text than a trace does.
const TEXT_BYTES_MAX: u64 = 4 << 30;

/// Reads a snapshot; its first byte tells which of the two it is.
pub(crate) fn read(path: &Path) -> Result<Snapshot, Failure> {
    let mut file = Watched::open(path)?;
    let name = file.name().to_owned();
    if file.first()?.first() == Some(&b'{') {
        return serde_json::from_slice(&file.read_all()?).map_err(|error| {
            Failure::Usage(format!(
                "{name}: no snapshot in JSON: {error}; write one with 'freeboard convert'"
            ))
        });
    }
    read_pickle(file)
}

/// Reads one of `PyTorch`'s files.
pub(crate) fn read_pickle(file: Watched) -> Result<Snapshot, Failure> {
    let name = file.name().to_owned();
    pickle::read(file, &pickle::ReadOptions::default())
        .map_err(|error| Failure::Usage(format!("{name}: {error}")))
}

/// A file that moves a bar while it is read, where it is known how long it is.
pub(crate) struct Watched {
    source: Opened,
    progress: files::Progress,
    bar: Progress,
}

impl Watched {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let source = files::open(path).map_err(|error| {
            let name = path.display();
            Failure::Usage(format!("cannot read {name}: {error}; check that the path is right"))
        })?;
        let bar = match source.progress().total() {
            Some(total) => Progress::bytes(total),
            None => Progress::spinner(format!("reading {}", source.name())),
        };
        Ok(Self { progress: source.progress(), source, bar })
    }

    /// The file's path, or `standard input`, for messages.
    pub(crate) fn name(&self) -> &str {
        self.source.name()
    }

    /// What it begins with; empty for an empty file.
    pub(crate) fn first(&mut self) -> Result<&[u8], Failure> {
        let name = self.name().to_owned();
        self.source.fill_buf().map_err(|error| broken(&name, &error))
    }

    /// All of it.
    pub(crate) fn read_all(self) -> Result<Vec<u8>, Failure> {
        let name = self.name().to_owned();
        let mut text = Vec::new();
        let mut file = self.take(TEXT_BYTES_MAX);
        file.read_to_end(&mut text).map_err(|error| broken(&name, &error))?;
        if file.limit() == 0 {
            return Err(Failure::Usage(format!(
                "{name}: more than 4 GiB of text; give less of it"
            )));
        }
        Ok(text)
    }
}

/// A file that cannot be read to its end.
pub(crate) fn broken(name: &str, error: &io::Error) -> Failure {
    Failure::Usage(format!("{name}: {error}; fetch the file again, or unpack it by hand"))
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        if self.progress.total().is_some() {
            self.bar.set(usize::try_from(self.progress.read()).unwrap_or(usize::MAX));
        }
        Ok(count)
    }
}
