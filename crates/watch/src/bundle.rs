//! [`Bundle`]: what [`dump_on_oom`](crate::dump_on_oom) wrote, read back.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use freeboard_allocator::{Config, OutOfMemory};
use freeboard_snapshot::{Facts, Snapshot, pickle};
use freeboard_survey::Survey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::log::Line;

/// The version of the layout that is written here.
pub(crate) const VERSION: u32 = 1;
/// The most that is read of a piece of text; larger ones were not written here.
const LONGEST: u64 = 64 << 20;

/// A piece of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Piece {
    /// The report as the error prints it.
    ReportText,
    /// The numbers of the report.
    Report,
    /// Segments, blocks and history.
    Snapshot,
    /// The allocator's settings.
    Settings,
    /// The last lines of the log.
    Timeline,
    /// What the devices say of themselves.
    Devices,
    /// The command line, versions, and a few variables.
    Command,
}

/// What a bundle says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The version of the layout: 1.
    pub version: u32,
    /// What wrote it.
    pub made_by: String,
    /// When, in microseconds since 1970.
    pub time_us: i64,
    /// The rank of the process, where it was known.
    pub rank: Option<u64>,
    /// The last step that had been told.
    pub step: Option<u64>,
    /// The number of the process.
    pub process: u32,
    /// The pieces that are there.
    pub files: Vec<Written>,
    /// The pieces that could not be written.
    pub failed: Vec<Failed>,
}

impl Manifest {
    /// The file it is in.
    pub const FILE: &str = "manifest.json";
}

/// A piece that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Which.
    pub piece: Piece,
    /// Its size.
    pub bytes: u64,
}

/// A piece that could not be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Which.
    pub piece: Piece,
    /// Why.
    pub why: String,
}

/// The numbers of the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What is known about the request, wherever it was learned.
    pub facts: Facts,
    /// The allocator's own report.
    pub report: OutOfMemory,
}

/// What can be counted on in the manifest of any layout.
#[derive(Deserialize)]
struct Layout {
    version: u32,
}

/// Why a bundle, or a piece of it, cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// There is no bundle.
    #[error("{} is no bundle: {why}; name a folder that has a {}", path.display(), Manifest::FILE)]
    NotABundle {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The bundle is of a newer layout.
    #[error("{} has layout {found}, and this program knows {VERSION}: use a newer one", path.display())]
    Version {
        /// The folder.
        path: PathBuf,
        /// The layout it has.
        found: u32,
    },
    /// The piece is not there.
    #[error("{} has no {}: {why}", path.display(), piece.file())]
    Missing {
        /// The folder.
        path: PathBuf,
        /// The piece.
        piece: Piece,
        /// Why it was not written.
        why: String,
    },
    /// The piece is there and cannot be read.
    #[error("{} cannot be read: {why}; the other pieces may be fine", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// A folder that [`dump_on_oom`](crate::dump_on_oom) wrote. Pieces are read when they are asked for;
/// each may be missing or damaged and leaves the others.
#[derive(Clone, Debug)]
pub struct Bundle {
    path: PathBuf,
    manifest: Manifest,
}

impl Bundle {
    /// Reads the manifest of a bundle.
    ///
    /// # Errors
    /// When the folder is no bundle, or one of a newer layout.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, BundleError> {
        let path = path.into();
        let read = || -> Result<_, String> {
            let text = read_text(&path.join(Manifest::FILE))?;
            let layout: Layout = parse(&text)?;
            Ok((layout.version, (layout.version <= VERSION).then(|| parse(&text)).transpose()?))
        };
        match read() {
            Ok((_, Some(manifest))) => Ok(Self { path, manifest }),
            Ok((found, None)) => Err(BundleError::Version { path, found }),
            Err(why) => Err(BundleError::NotABundle { path, why }),
        }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the bundle says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The report as the error printed it.
    ///
    /// # Errors
    /// When the piece is missing or damaged; so everywhere below.
    pub fn report_text(&self) -> Result<String, BundleError> {
        self.text(Piece::ReportText)
    }

    /// The numbers of the report.
    ///
    /// # Errors
    /// When the piece is missing or damaged.
    pub fn report(&self) -> Result<Report, BundleError> {
        self.json(Piece::Report)
    }

    /// Segments, blocks and history.
    ///
    /// # Errors
    /// When the piece is missing or damaged.
    pub fn snapshot(&self) -> Result<Snapshot, BundleError> {
        let path = self.file(Piece::Snapshot)?;
        let damaged = |why: String| BundleError::Damaged { path: path.clone(), why };
        let file = File::open(&path).map_err(|error| damaged(error.to_string()))?;
        pickle::read(BufReader::new(file), &pickle::ReadOptions::default())
            .map_err(|error| damaged(error.to_string()))
    }

    /// The allocator's settings.
    ///
    /// # Errors
    /// When the piece is missing or damaged.
    pub fn settings(&self) -> Result<Config, BundleError> {
        self.json(Piece::Settings)
    }

    /// The last lines of the log; none where there was no log.
    ///
    /// # Errors
    /// When the piece is missing or damaged.
    pub fn timeline(&self) -> Result<Vec<Line>, BundleError> {
        if self.size(Piece::Timeline).is_none() && self.why_missing(Piece::Timeline).is_none() {
            return Ok(Vec::new());
        }
        let (text, path) = (self.text(Piece::Timeline)?, self.path.join(Piece::Timeline.file()));
        let line = |(number, line): (usize, &str)| {
            parse(line).map_err(|why| {
                let why = format!("line {}: {why}", number + 1);
                BundleError::Damaged { path: path.clone(), why }
            })
        };
        text.lines().enumerate().map(line).collect()
    }

    /// What the devices said of themselves.
    ///
    /// # Errors
    /// When the piece is missing or damaged.
    pub fn devices(&self) -> Result<Survey, BundleError> {
        self.json(Piece::Devices)
    }

    /// The command line, versions, and a few variables.
    ///
    /// # Errors
    /// When the piece is missing or damaged.
    pub fn command(&self) -> Result<String, BundleError> {
        self.text(Piece::Command)
    }

    /// The size of a piece, where it was written.
    fn size(&self, piece: Piece) -> Option<u64> {
        self.manifest.files.iter().find(|file| file.piece == piece).map(|file| file.bytes)
    }

    fn why_missing(&self, piece: Piece) -> Option<&str> {
        self.manifest.failed.iter().find(|failed| failed.piece == piece).map(|failed| &*failed.why)
    }

    fn file(&self, piece: Piece) -> Result<PathBuf, BundleError> {
        if self.size(piece).is_some() {
            return Ok(self.path.join(piece.file()));
        }
        let why = self.why_missing(piece).unwrap_or("it was not written").to_owned();
        Err(BundleError::Missing { path: self.path.clone(), piece, why })
    }

    fn text(&self, piece: Piece) -> Result<String, BundleError> {
        let path = self.file(piece)?;
        read_text(&path).map_err(|why| BundleError::Damaged { path, why })
    }

    fn json<T: DeserializeOwned>(&self, piece: Piece) -> Result<T, BundleError> {
        let text = self.text(piece)?;
        let path = self.path.join(piece.file());
        parse(&text).map_err(|why| BundleError::Damaged { path, why })
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn read_text(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let read =
        file.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if read as u64 > LONGEST {
        return Err("it is larger than any that is written here".to_owned());
    }
    Ok(text)
}
