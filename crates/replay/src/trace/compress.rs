//! The text of trace files, and writing without half-written files.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::TraceError;
use crate::files;

/// More text than a recorder writes; what lies above is a mistake or an attack.
const TEXT_BYTES_MAX: u64 = 4 << 30;

/// The text of a file, or of standard input for `-`, and its name for messages.
pub(super) fn load(path: &Path) -> Result<(String, Vec<u8>), TraceError> {
    let opened = files::open(path).map_err(|source| {
        let name = files::name_of(path);
        TraceError::Read { name, source }
    })?;
    let (name, packing) = (opened.name().to_owned(), opened.packing());
    match read_all(opened) {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(failure(name, packing, error)),
    }
}

/// The text of a content that may be compressed, which its first bytes tell.
pub(super) fn unpack<'c>(name: &str, content: &'c [u8]) -> Result<Cow<'c, [u8]>, TraceError> {
    let Some(packing) = files::Packing::of(content) else {
        return Ok(Cow::Borrowed(content));
    };
    let text = packing.unpack(content).and_then(read_all);
    text.map(Cow::Owned).map_err(|error| failure(name.to_owned(), Some(packing), error))
}

fn failure(name: String, packing: Option<files::Packing>, source: io::Error) -> TraceError {
    if source.kind() == io::ErrorKind::FileTooLarge {
        return TraceError::TooLong { name };
    }
    // An error with the system's number is the disk's, any other the decompressor's.
    match packing {
        Some(packing) if source.raw_os_error().is_none() => {
            TraceError::Corrupt { name, format: packing.name(), source }
        }
        _ => TraceError::Read { name, source },
    }
}

fn read_all(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// The name of a file without folder and endings: `gpt2` for `runs/gpt2.trace.gz`.
pub(super) fn short_name(name: &str) -> &str {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let mut short = file;
    while let Some((stem, "gz" | "zst" | "trace" | "txt")) = short.rsplit_once('.') {
        short = stem;
    }
    if short.is_empty() { file } else { short }
}

/// Writes a file through `write_text`, compressed as its ending says; it appears whole or not at
/// all. A link stays a link, and a pipe or a device such as `/dev/null` is written into.
pub(crate) fn save(
    path: &Path,
    write_text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let there = OpenOptions::new().write(true).open(path)?;
        return write_packed(ending, there, write_text).map(drop);
    }
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let temporary = temporary_beside(&target)?;
    let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
    let written = write_packed(ending, file, write_text)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&temporary, &target));
    if written.is_err() {
        // The first error is the one worth telling.
        drop(fs::remove_file(&temporary));
    }
    written
}

fn write_packed(
    ending: &str,
    file: File,
    write_text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<File> {
    let mut file = BufWriter::new(file);
    match ending {
        "gz" => {
            let mut packer =
                flate2::write::GzEncoder::new(&mut file, flate2::Compression::default());
            write_text(&mut packer)?;
            packer.finish()?;
        }
        "zst" => {
            let mut packer = zstd::Encoder::new(&mut file, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            write_text(&mut packer)?;
            packer.finish()?;
        }
        _ => write_text(&mut file)?,
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)
}

/// A name in the same folder, so that the rename stays within one file system.
fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let file = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed); // any order: it is only to be unique
    let mut name = OsString::from(".");
    name.push(file);
    name.push(format!(".{}-{count}.tmp", std::process::id()));
    Ok(path.with_file_name(name))
}
