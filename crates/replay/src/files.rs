//! Files as streams: plain, gzip or zstd, or standard input, with how far they were read.
//!
//! ```
//! use std::io::Read;
//!
//! use freeboard_replay::files;
//!
//! # let folder = std::env::temp_dir().join(format!("freeboard-files-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("notes.txt");
//! std::fs::write(&path, "a 1 512 0\n")?;
//! let mut file = files::open(&path)?;
//! let progress = file.progress();
//! let mut text = String::new();
//! file.read_to_string(&mut text)?;
//! assert_eq!((text.as_str(), progress.read(), progress.total()), ("a 1 512 0\n", 10, Some(10)));
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::trace::compress;

/// How much is read at once.
const BUFFER: usize = 128 << 10;

/// How a file is compressed; its first bytes tell, not its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packing {
    /// One gzip member or several.
    Gzip,
    /// Zstandard frames.
    Zstd,
}

impl Packing {
    /// The one these first bytes announce; `None` for plain data. Four bytes are enough.
    #[must_use]
    pub fn of(first: &[u8]) -> Option<Self> {
        if first.starts_with(&[0x1f, 0x8b]) {
            Some(Self::Gzip)
        } else if first.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    /// `gzip` or `zstd`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// What the packed bytes say, read as it is asked for.
    pub(crate) fn unpack<'r>(
        self,
        packed: impl BufRead + Send + 'r,
    ) -> io::Result<Box<dyn Read + Send + 'r>> {
        Ok(match self {
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            Self::Zstd => Box::new(zstd::Decoder::with_buffer(packed)?),
        })
    }
}

/// A file that is being read, decompressed on the way.
pub struct Opened {
    name: String,
    packing: Option<Packing>,
    progress: Progress,
    content: Box<dyn BufRead + Send>,
}

impl Opened {
    /// The file's path, or `standard input`, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is compressed; `None` if it is not.
    #[must_use]
    pub fn packing(&self) -> Option<Packing> {
        self.packing
    }

    /// How far it was read. Copies show the same progress, also from another thread.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.content.read(buffer)
    }
}

impl BufRead for Opened {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.content.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.content.consume(amount);
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, packing, progress, content: _ } = self;
        f.debug_struct("Opened")
            .field("name", name)
            .field("packing", packing)
            .field("progress", progress)
            .finish_non_exhaustive()
    }
}

/// How far a file was read, in bytes as they lie on the disk.
#[derive(Clone, Debug)]
pub struct Progress {
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

impl Progress {
    /// Bytes read so far; some of them may wait in buffers.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed) // a count for people; nothing depends on it
    }

    /// Bytes in all; `None` for pipes and devices.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }
}

struct Counted<R> {
    source: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed); // as above
        Ok(count)
    }
}

/// Opens a file, or standard input for `-`; what it holds is decompressed while it is read.
///
/// Nothing is read ahead but a buffer, so that the reader's own limits bound what a small file
/// that unpacks to much may cost.
///
/// # Errors
/// When the file cannot be opened or its first bytes cannot be read. Damage further on is told by
/// the read that meets it.
pub fn open(path: impl AsRef<Path>) -> io::Result<Opened> {
    let path = path.as_ref();
    let (source, total): (Box<dyn Read + Send>, _) = if is_stdin(path) {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path)?;
        let about = file.metadata()?;
        let total = about.is_file().then_some(about.len());
        (Box::new(file), total)
    };
    let progress = Progress { read: Arc::default(), total };
    let source = Counted { source, read: progress.read.clone() };
    let mut source = BufReader::with_capacity(BUFFER, source);
    // A pipe may give one byte at a time.
    let mut first = Vec::new();
    source.by_ref().take(4).read_to_end(&mut first)?;
    let packing = Packing::of(&first);
    let whole = Cursor::new(first).chain(source);
    let content: Box<dyn BufRead + Send> = match packing {
        Some(packing) => Box::new(BufReader::with_capacity(BUFFER, packing.unpack(whole)?)),
        None => Box::new(whole),
    };
    Ok(Opened { name: name_of(path), packing, progress, content })
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Writes a file through `write`, compressed if its name ends in `.gz` or `.zst`. It appears whole or
/// not at all.
///
/// # Errors
/// When the file cannot be written, or `write` fails; a file that was there is then as before.
pub fn save(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    compress::save(path.as_ref(), write)
}

/// What to call a file in messages.
pub(crate) fn name_of(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_files_stream_and_tell_how_far_they_are() -> io::Result<()> {
        let folder = std::env::temp_dir().join(format!("freeboard-open-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        // More than a buffer, and of a kind that does not shrink to nothing.
        let text: Vec<u8> =
            (0..4_000_000_u32).flat_map(|i| (i.wrapping_mul(i) >> 7).to_le_bytes()).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text)?;
        let zstd = zstd::encode_all(&text[..], 1)?;
        let cases = [
            (gzip.finish()?, Some(Packing::Gzip)),
            (zstd, Some(Packing::Zstd)),
            (text.clone(), None),
        ];
        for (bytes, packing) in cases {
            let path = folder.join("file");
            std::fs::write(&path, &bytes)?;
            let mut file = open(&path)?;
            let progress = file.progress();
            assert_eq!((file.packing(), progress.total()), (packing, Some(bytes.len() as u64)));
            let mut half = vec![0; text.len() / 2];
            file.read_exact(&mut half)?;
            assert!(progress.read() > 0 && progress.read() < bytes.len() as u64, "{packing:?}");
            let mut rest = Vec::new();
            file.read_to_end(&mut rest)?;
            assert_eq!([half, rest].concat(), text);
            assert_eq!(progress.read(), bytes.len() as u64);

            std::fs::write(&path, &bytes[..bytes.len() / 2])?;
            let cut = open(&path)?.read_to_end(&mut Vec::new());
            assert_eq!(cut.is_err(), packing.is_some());
        }
        std::fs::remove_dir_all(&folder)
    }
}
