//! Writes a bundle under a temporary name, piece by piece, and gives it its own when it is complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::name::name;
use super::pieces::{PIECES, Scene};
use crate::bundle::{Failed, Manifest, Piece, VERSION, Written};
use crate::log::now_us;

/// Kept back for the manifest, which is always written.
const MANIFEST: u64 = 16 << 10;
/// Letters of a reason that are kept.
const REASON: usize = 500;
/// Bundles of one rank in one second.
const SAME_NAME: u32 = 100;

/// Makes a file; another function in tests.
pub(super) type Create = fn(&Path) -> io::Result<Box<dyn Write>>;

pub(super) fn create_file(path: &Path) -> io::Result<Box<dyn Write>> {
    File::create_new(path).map(|file| Box::new(file) as Box<dyn Write>)
}

/// Writes a bundle into `parent` and says where it is. `left` is what it may have, and afterwards what
/// is left of that.
pub(super) fn write(
    parent: &Path,
    scene: &Scene<'_>,
    left: &mut u64,
    create: Create,
) -> io::Result<PathBuf> {
    let Some(mut for_pieces) = left.checked_sub(MANIFEST) else {
        return Err(io::Error::new(
            io::ErrorKind::StorageFull,
            "bundles have all the bytes they may have",
        ));
    };
    let time_us = now_us();
    let name = name(scene.rank, scene.step, time_us);
    fs::create_dir_all(parent)?;
    let partial = claim(parent, &name)?;
    let mut manifest = Manifest {
        version: VERSION,
        made_by: format!("freeboard {}", env!("CARGO_PKG_VERSION")),
        time_us,
        rank: scene.rank,
        step: scene.step,
        process: std::process::id(),
        files: Vec::new(),
        failed: Vec::new(),
    };
    for (piece, work) in PIECES {
        let before = for_pieces;
        let file = partial.join(piece.file());
        let outcome = write_file(&file, &mut for_pieces, create, |out| work(scene, out));
        match outcome {
            Ok(Outcome::Written) => {
                manifest.files.push(Written { piece: *piece, bytes: before - for_pieces });
            }
            Ok(Outcome::Nothing) | Err(_) => {
                drop(fs::remove_file(&file));
                for_pieces = before;
            }
        }
        if let Err(why) = outcome {
            let why = why.to_string().chars().take(REASON).collect();
            manifest.failed.push(Failed { piece: *piece, why });
        }
    }
    let mut rest = for_pieces + MANIFEST;
    let finished = write_file(&partial.join(Manifest::FILE), &mut rest, create, |out| {
        serde_json::to_writer_pretty(&mut *out, &manifest)?;
        Ok(Outcome::Written)
    });
    let outcome = finished.and_then(|_| publish(&partial, parent, &name));
    match &outcome {
        Ok(_) => *left = rest,
        Err(_) => drop(fs::remove_dir_all(&partial)),
    }
    outcome
}

/// Whether a piece has anything to say.
pub(super) enum Outcome {
    Written,
    Nothing,
}

/// Writes one file; `left` goes down by its bytes.
fn write_file(
    path: &Path,
    left: &mut u64,
    create: Create,
    work: impl FnOnce(&mut dyn Write) -> io::Result<Outcome>,
) -> io::Result<Outcome> {
    let guarded = catch_unwind(AssertUnwindSafe(|| {
        let mut out = BufWriter::new(Limited { inner: create(path)?, left });
        let outcome = work(&mut out)?;
        out.flush()?;
        Ok(outcome)
    }));
    guarded.unwrap_or_else(|_| Err(io::Error::other("it panicked")))
}

/// A writer that takes only so many bytes.
struct Limited<'a> {
    inner: Box<dyn Write>,
    left: &'a mut u64,
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > *self.left {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "the bundle would be larger than it may be",
            ));
        }
        let written = self.inner.write(bytes)?;
        *self.left = self.left.saturating_sub(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A folder of a temporary name that is nobody else's.
fn claim(parent: &Path, name: &str) -> io::Result<PathBuf> {
    let process = std::process::id();
    let mut outcome = Err(io::ErrorKind::AlreadyExists.into());
    for number in 0..SAME_NAME {
        let partial = parent.join(format!(".{name}.partial-{process}-{number}"));
        outcome = fs::create_dir(&partial).map(|()| partial);
        match &outcome {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            _ => break,
        }
    }
    outcome
}

/// Gives a complete bundle its name, or one with a number where that is taken.
fn publish(partial: &Path, parent: &Path, name: &str) -> io::Result<PathBuf> {
    let mut outcome = Err(io::ErrorKind::AlreadyExists.into());
    for number in 1..=SAME_NAME {
        let numbered = if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
        let path = parent.join(numbered);
        // Renaming would replace an empty folder, and fails where the other has files.
        outcome = fs::rename(partial, &path).map(|()| path);
        match &outcome {
            Err(error) if is_taken(error) => {}
            _ => break,
        }
    }
    outcome
}

fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotADirectory)
}

impl Piece {
    /// The file it is in.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::ReportText => "report.txt",
            Self::Report => "report.json",
            Self::Snapshot => "snapshot.pickle",
            Self::Settings => "settings.json",
            Self::Timeline => "timeline.jsonl",
            Self::Devices => "devices.json",
            Self::Command => "command.txt",
        }
    }
}
