//! `freeboard diagnose`: why a run ran out of memory, and what to do.

mod case;
mod input;
mod ranks;

use std::path::PathBuf;

use clap::Args;
use console::style;
use freeboard_snapshot::{Diagnosis, Verdict};
use freeboard_units::Bytes;
use serde::Serialize;

use crate::Outcome;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::progress::Progress;

use case::Case;
use ranks::{Rank, Ranks};

/// Say why a run ran out of memory: the root cause, the fix, how to verify it and how to prevent it
#[derive(Args, Debug)]
#[expect(clippy::doc_markdown, reason = "this is the text of the help, where backticks would show")]
#[command(
    after_help = "Exit status: 0, a cause was found; 1, none could be told; 2, bad usage or input."
)]
pub(crate) struct Arguments {
    /// What torch.cuda.memory._dump_snapshot wrote, one file or one for each rank; a log with the
    /// error in it; a folder that was dumped when memory ran out; a trace; - for standard input.
    /// A snapshot and its log together tell more than either
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The device's memory, like 80GiB, where the files do not tell it; for a trace, what it runs on
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    capacity: Option<Bytes>,
    /// For a trace: settings as in PYTORCH_CUDA_ALLOC_CONF
    #[arg(long, value_name = "KEY:VALUE,…", allow_hyphen_values = true, default_value = "")]
    conf: String,
    /// The batch size of the run, so that the largest that fits can be told
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Only this device
    #[arg(long, value_name = "N")]
    device: Option<u32>,
    /// Do not replay the run to verify the advice
    #[arg(long)]
    no_replay: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON: the diagnosis of the rank that failed first, and how the others were.
#[derive(Serialize)]
struct Report<'r> {
    /// What was read.
    source: &'r str,
    #[serde(flatten)]
    diagnosis: &'r Diagnosis,
    #[serde(skip_serializing_if = "Option::is_none")]
    ranks: Option<&'r Ranks>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let spinner = Progress::spinner("reading");
    let mut cases = Vec::new();
    let mut messages = Vec::new();
    for path in &arguments.files {
        spinner.say(format!("reading {}", path.display()));
        input::read(path, arguments, &mut cases, &mut messages)?;
    }
    case::join(&mut cases, messages, arguments);
    for case in &mut cases {
        spinner.say(format!("replaying {}", case.source));
        case.diagnose(arguments, |policy| spinner.say(format!("replaying: {policy}")))?;
    }
    drop(spinner);
    let ranks = (cases.len() > 1).then(|| Ranks::of(&cases));
    let chosen = ranks.as_ref().map_or(0, |ranks| ranks.culprit);
    let Some(Case { source, diagnosis, .. }) = cases.get_mut(chosen) else {
        return Err(Failure::Usage("nothing to diagnose in these files".to_owned()));
    };
    if let Some(ranks) = &ranks {
        diagnosis.evidence.extend(ranks.evidence());
    }
    if arguments.json {
        print_json(&Report { source, diagnosis, ranks: ranks.as_ref() })?;
    } else {
        print(&text(source, diagnosis, ranks.as_ref()))?;
    }
    let known = diagnosis.verdict != Verdict::Unknown;
    Ok(if known { Outcome::Survived } else { Outcome::RanOutOfMemory })
}

/// Headings stand out where the output is a terminal.
fn text(source: &str, diagnosis: &Diagnosis, ranks: Option<&Ranks>) -> String {
    let mut text = format!("{}\n\n", style(source).dim());
    for line in diagnosis.to_string().lines() {
        let is_heading = !line.is_empty() && !line.starts_with(' ');
        let line = if is_heading { style(line).bold().to_string() } else { line.to_owned() };
        text.push_str(&line);
        text.push('\n');
    }
    if let Some(ranks) = ranks {
        let heading = style("Ranks").bold().to_string();
        text.extend(["\n", &heading, "\n", &ranks.to_string()]);
    }
    text
}

/// What several ranks, or several devices, are called.
fn rank_of(path: &std::path::Path) -> Option<u32> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let digits = |text: &str| {
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        text[..end].parse().ok()
    };
    let (_, after) = name.split_once("rank")?;
    digits(after.trim_start_matches(['_', '-', '=', '.']))
}

impl From<&Case> for Rank {
    fn from(case: &Case) -> Self {
        Self {
            name: case.name.clone(),
            source: case.source.clone(),
            verdict: case.failed().then_some(case.diagnosis.verdict),
            failed_at_us: case.failed_at_us,
            peak_allocated: case.peak_allocated,
        }
    }
}
