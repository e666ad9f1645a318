//! `freeboard convert`: snapshots from one format to the other, and their history as a trace.

use std::ffi::OsStr;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use freeboard_replay::{Recorded, Trace, files};
use freeboard_snapshot::{Snapshot, pickle};
use freeboard_units::DeviceId;

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
    /// The format [default: by the output's name, .pickle, .json or .trace]
    #[arg(long, value_enum)]
    to: Option<Format>,
    /// For a trace: the device whose history is written [default: the first that has one]
    #[arg(long, value_name = "N")]
    device: Option<u32>,
}

/// A format that snapshots are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// PyTorch's, for its own tools and viewer
    Pickle,
    /// Ours
    Json,
    /// The run up to its last failed request, for replay, compare and min-capacity
    Trace,
}

impl Format {
    /// The format that a file's name asks for.
    fn of(path: &Path) -> Option<Self> {
        let is_packed = |path: &Path| matches!(ending(path), Some("gz" | "zst"));
        let stem = path.file_stem().map(Path::new);
        match ending(stem.filter(|_| is_packed(path)).unwrap_or(path))? {
            "pickle" | "pkl" => Some(Self::Pickle),
            "json" => Some(Self::Json),
            "trace" => Some(Self::Trace),
            _ => None,
        }
    }

    /// What is written, made before the file is.
    fn content(self, snapshot: Snapshot, arguments: &Arguments) -> Result<Content, Failure> {
        Ok(match self {
            Self::Pickle => Content::Pickle(snapshot),
            Self::Json => Content::Json(snapshot),
            Self::Trace => Content::Trace(recorded(&snapshot, arguments)?.trace),
        })
    }
}

/// What is written.
enum Content {
    Pickle(Snapshot),
    Json(Snapshot),
    Trace(Trace),
}

impl Content {
    fn write(&self, mut to: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Pickle(snapshot) => pickle::write(snapshot, &mut to)?,
            Self::Json(snapshot) => {
                serde_json::to_writer(&mut to, snapshot)?;
                to.write_all(b"\n")?;
            }
            Self::Trace(trace) => trace.write(&mut to)?,
        }
        to.flush()
    }
}

/// The run that a snapshot recorded.
fn recorded(snapshot: &Snapshot, arguments: &Arguments) -> Result<Recorded, Failure> {
    let name = arguments.file.display();
    let wanted = |device: &DeviceId| arguments.device.is_none_or(|number| device.get() == number);
    let mut devices = snapshot.device_ids().into_iter().filter(wanted);
    let run = devices.find_map(|device| Recorded::of(snapshot, device, &name.to_string()));
    run.ok_or_else(|| {
        Failure::Usage(format!(
            "{name}: no history of this device; record one with \
             torch.cuda.memory._record_memory_history()"
        ))
    })
}

fn ending(path: &Path) -> Option<&str> {
    path.extension().and_then(OsStr::to_str)
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let output = &arguments.output;
    let format = arguments.to.or_else(|| Format::of(output)).ok_or_else(|| {
        let name = output.display();
        Failure::Usage(format!(
            "-o {name}: this name does not tell the format; end it in .pickle, .json or \
             .trace, or say --to"
        ))
    })?;
    let snapshot = snapshot_file::read(&arguments.file)?;
    let content = format.content(snapshot, arguments)?;
    if output == Path::new("-") {
        let mut to = BufWriter::new(io::stdout().lock());
        let written = content.write(&mut to);
        written.map_err(|error| Failure::write("to standard output", error))?;
    } else {
        let written = files::save(output, |to| content.write(to));
        written.map_err(|error| Failure::write(output.display().to_string(), error))?;
    }
    Ok(Outcome::Survived)
}
