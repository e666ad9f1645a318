//! Where lines go: a file that is rotated, or whatever can be written to.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use freeboard_units::Bytes;

/// Where lines go.
pub(super) enum Sink {
    /// Nowhere: only the events are wanted, or the writer panicked.
    Nowhere,
    File(Rotating),
    Writer(Box<dyn Write + Send>),
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("Nowhere"),
            Self::File(file) => file.path.fmt(f),
            Self::Writer(_) => f.write_str("Writer"),
        }
    }
}

impl Sink {
    /// Writes a line and its end, in one piece where the system allows. A writer that panics is asked
    /// no more.
    pub(super) fn write(&mut self, line: &str) -> io::Result<()> {
        let whole = format!("{line}\n");
        self.guarded(|sink| match sink {
            Self::Nowhere => Ok(()),
            Self::File(file) => file.write(whole.as_bytes()),
            Self::Writer(writer) => writer.write_all(whole.as_bytes()),
        })
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.guarded(|sink| match sink {
            Self::Writer(writer) => writer.flush(),
            Self::Nowhere | Self::File(_) => Ok(()),
        })
    }

    fn guarded(&mut self, work: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        if let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| work(self))) {
            return outcome;
        }
        let writer = std::mem::replace(self, Self::Nowhere);
        drop(catch_unwind(AssertUnwindSafe(|| drop(writer))));
        Err(io::Error::other("the writer panicked; nothing more is written to it"))
    }
}

/// A file that is put aside when it is full: `memory.jsonl` becomes `memory.jsonl.1`.
pub(super) struct Rotating {
    path: PathBuf,
    file: Option<File>,
    written: u64,
    /// Whether the last line lacks its end.
    torn: bool,
    limit: Bytes,
    keep: u32,
}

impl Rotating {
    pub(super) fn open(path: &Path, limit: Bytes, keep: u32) -> io::Result<Self> {
        let path = path.to_owned();
        let mut rotating = Self { path, file: None, written: 0, torn: false, limit, keep };
        rotating.reopen()?;
        Ok(rotating)
    }

    /// Goes on where the file ends.
    fn reopen(&mut self) -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
        self.written = file.metadata()?.len();
        let mut last = [b'\n'];
        if self.written > 0 && file.seek(SeekFrom::End(-1)).is_ok() {
            file.read_exact(&mut last)?;
        }
        self.torn = last != [b'\n'];
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let full = self.written.saturating_add(line.len() as u64) > self.limit.get();
        if full && self.written > 0 {
            self.file = None;
            self.rotate()?;
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let whole = if self.torn { [b"\n", line].concat() } else { line.to_vec() };
        let outcome = file.write_all(&whole);
        self.written += whole.len() as u64;
        self.torn = false;
        if outcome.is_err() {
            self.file = None; // opening it anew shows what of the line arrived
        }
        outcome
    }

    fn rotate(&self) -> io::Result<()> {
        if self.keep == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.keep).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.numbered(1))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}
