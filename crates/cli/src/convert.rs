//! `freeboard convert`: snapshots from one format to the other.

use std::ffi::OsStr;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use freeboard_replay::files;
use freeboard_snapshot::{Snapshot, pickle};

use crate::Outcome;
use crate::failure::Failure;
use crate::snapshot_file;

/// Write a memory snapshot in another format
#[derive(Args, Debug)]
#[expect(clippy::doc_markdown, reason = "this is the text of the help, where backticks would show")]
pub(crate) struct Arguments {
    /// What torch.cuda.memory._dump_snapshot wrote, or our JSON; - for standard input
    file: PathBuf,
    /// Where to write, - for standard output; packed for names that end in .gz or .zst
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The format [default: by the output's name, .pickle or .json]
    #[arg(long, value_enum)]
    to: Option<Format>,
}

/// A format that snapshots are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// PyTorch's, for its own tools and viewer
    Pickle,
    /// Ours
    Json,
}

impl Format {
    /// The format that a file's name asks for.
    fn of(path: &Path) -> Option<Self> {
        let is_packed = |path: &Path| matches!(ending(path), Some("gz" | "zst"));
        let stem = path.file_stem().map(Path::new);
        match ending(stem.filter(|_| is_packed(path)).unwrap_or(path))? {
            "pickle" | "pkl" => Some(Self::Pickle),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn write(self, snapshot: &Snapshot, mut to: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Pickle => pickle::write(snapshot, &mut to)?,
            Self::Json => {
                serde_json::to_writer(&mut to, snapshot)?;
                to.write_all(b"\n")?;
            }
        }
        to.flush()
    }
}

fn ending(path: &Path) -> Option<&str> {
    path.extension().and_then(OsStr::to_str)
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let output = &arguments.output;
    let format = arguments.to.or_else(|| Format::of(output)).ok_or_else(|| {
        let name = output.display();
        Failure::Usage(format!(
            "-o {name}: this name does not tell the format; end it in .pickle or .json, \
             or say --to pickle or --to json"
        ))
    })?;
    let snapshot = snapshot_file::read(&arguments.file)?;
    if output == Path::new("-") {
        let mut to = BufWriter::new(io::stdout().lock());
        let written = format.write(&snapshot, &mut to);
        written.map_err(|error| Failure::write("to standard output", error))?;
    } else {
        let written = files::save(output, |to| format.write(&snapshot, to));
        written.map_err(|error| Failure::write(output.display().to_string(), error))?;
    }
    Ok(Outcome::Survived)
}
