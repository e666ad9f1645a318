//! `freeboard view`: a snapshot as a page.

use std::ffi::OsString;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use clap::Args;
use freeboard_replay::files;
use freeboard_snapshot::page::{self, PageOptions};
use freeboard_units::DeviceId;

use crate::Outcome;
use crate::failure::Failure;
use crate::output::print;
use crate::progress::Progress;
use crate::snapshot_file;

/// Show what memory did: write a snapshot as one HTML page, to be opened in any browser
#[derive(Args, Debug)]
#[expect(clippy::doc_markdown, reason = "this is the text of the help, where backticks would show")]
pub(crate) struct Arguments {
    /// What torch.cuda.memory._dump_snapshot wrote, or our JSON; - for standard input
    file: PathBuf,
    /// Where to write; - for standard output [default: beside the file, with .html]
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Show this device only [default: all, with a chooser]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    device: Option<u32>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let output = output(arguments)?;
    let snapshot = snapshot_file::read(&arguments.file)?;
    let device = arguments.device.map(DeviceId::new);
    if let Some(missing) = device.filter(|device| !snapshot.device_ids().contains(device)) {
        let known: Vec<String> =
            snapshot.device_ids().iter().map(|device| device.get().to_string()).collect();
        return Err(Failure::Usage(format!(
            "--device: the snapshot says nothing of {missing}; it knows {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        )));
    }
    let name = arguments.file.file_name().unwrap_or(arguments.file.as_os_str());
    let options = PageOptions::default().title(name.to_string_lossy()).device(device);
    if output == Path::new("-") {
        page::write(&snapshot, &options, BufWriter::new(io::stdout().lock()))
            .map_err(|error| Failure::write("to standard output", error))?;
        return Ok(Outcome::Survived);
    }
    let writing = Progress::spinner("writing the page");
    files::save(&output, |to| page::write(&snapshot, &options, to))
        .map_err(|error| Failure::write(format!("{}", output.display()), error))?;
    drop(writing);
    print(&format!("{}\n", output.display()))?;
    Ok(Outcome::Survived)
}

/// Where the page goes.
fn output(arguments: &Arguments) -> Result<PathBuf, Failure> {
    match &arguments.output {
        Some(output) => Ok(output.clone()),
        None if arguments.file == Path::new("-") => Err(Failure::Usage(
            "say where to write with -o OUT.html: standard input has no place beside it".to_owned(),
        )),
        None => Ok(beside(&arguments.file)),
    }
}

/// `run.pickle.gz` becomes `run.html`; no file becomes itself.
fn beside(file: &Path) -> PathBuf {
    let mut stem = file.to_owned();
    for endings in [&["gz", "zst"][..], &["pickle", "pkl", "json"]] {
        let ending = stem.extension().and_then(|ending| ending.to_str()).unwrap_or("");
        if endings.contains(&ending) {
            stem.set_extension("");
        }
    }
    let mut name: OsString = stem.into_os_string();
    name.push(".html");
    name.into()
}
