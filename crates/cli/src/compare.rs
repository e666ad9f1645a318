//! `freeboard compare`: many traces under many policies.

mod table;
mod verdict;

use std::path::{Path, PathBuf};

use clap::Args;
use freeboard_replay::Trace;
use freeboard_replay::compare::{self, AMPLE, CompareOptions, Comparison, Contender};
use freeboard_replay::picture::{self, Panel, Series};
use freeboard_units::Bytes;

use crate::Outcome;
use crate::failure::Failure;
use crate::options::{DeviceArguments, Policy};
use crate::output::{print, print_json};
use crate::progress::Progress;
use crate::source::Source;

const DETAILS: &str = "\
Without --conf, these compete: PyTorch's policy as it comes, PyTorch's policy with \
expandable_segments:True, and freeboard. With --conf, those settings compete, between PyTorch's \
policy as it comes and freeboard.

The winner dies on the fewest traces; then survives on the smallest device in the geometric mean \
(as a multiple of the live peak, the most bytes asked for and live at one time); then holds the \
least memory for what it hands out; then takes the least time in the driver. Where all of that is \
equal there is no winner, and \"winner\" is null in the JSON.

Exit status: 0, every contender survived every trace on the device given; 1, one did not; 2, bad \
usage or input.";

/// Run traces under several policies and say which does best
#[derive(Args, Debug)]
#[command(after_help = DETAILS)]
#[expect(clippy::doc_markdown, reason = "this is the text of the help, where backticks would show")]
pub(crate) struct Arguments {
    /// Text traces, plain, gzip or zstd; - for standard input; or workload:NAME for a synthetic
    /// one, like workload:transformer, or workload:moe@7 for another seed
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<Source>,
    /// Settings as in PYTORCH_ALLOC_CONF, like "max_split_size_mb:128"; may be repeated
    #[arg(long, value_name = "KEY:VALUE,…", allow_hyphen_values = true)]
    conf: Vec<String>,
    /// Whose decisions the settings of --conf change [default: pytorch]
    #[arg(long, value_enum, requires = "conf")]
    policy: Option<Policy>,
    #[command(flatten)]
    device: DeviceArguments,
    /// Do not look for the smallest surviving device, which takes some ten runs each
    #[arg(long)]
    no_min: bool,
    /// Also run each trace on a device this many times as large as its live peak, like 1.02; may be
    /// repeated
    #[arg(long, value_name = "FACTOR", value_parser = factor, allow_negative_numbers = true)]
    tight: Vec<f64>,
    /// Print everything as JSON: {"rows": […], "summary": […], "winner": "…"}
    #[arg(long)]
    json: bool,
    /// Also draw memory over time into this SVG file, one panel for each trace
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let capacity = arguments.device.capacity()?;
    let contenders = contenders(arguments)?;
    if arguments.plot.as_deref() == Some(Path::new("-")) {
        let remedy = "--plot: write a file's name, like memory.svg";
        return Err(Failure::Usage(remedy.to_owned()));
    }
    let traces = traces(&arguments.traces)?;
    let options = CompareOptions::default()
        .capacity(capacity)
        .fraction(arguments.device.fraction)
        .event_lag(arguments.device.event_lag)
        .search(!arguments.no_min)
        .tight(&arguments.tight)
        .stretches(if arguments.plot.is_some() { picture::STRETCHES } else { 0 });
    let bar = Progress::bar(traces.len() * contenders.len());
    let comparison = compare::compare(&traces, &contenders, &options, &|done, _| bar.set(done));
    drop(bar);
    if arguments.json {
        print_json(&comparison)?;
    } else {
        print(&table::table(&comparison, options.search))?;
        print(&format!("\n{}\n", verdict::verdict(&comparison.summary)))?;
    }
    if let Some(path) = &arguments.plot {
        picture::save(&panels(comparison.clone(), capacity), path)?;
    }
    let survived = comparison.rows.iter().all(|row| row.survived);
    Ok(if survived { Outcome::Survived } else { Outcome::RanOutOfMemory })
}

/// A factor by which a device is larger than what has to fit.
fn factor(text: &str) -> Result<f64, String> {
    let factor = text.parse::<f64>().ok().filter(|factor| (1.0..=1000.0).contains(factor));
    factor.ok_or_else(|| "write a number from 1 to 1000, like 1.02".to_owned())
}

/// Those that were asked for between the references, none twice.
fn contenders(arguments: &Arguments) -> Result<Vec<Contender>, Failure> {
    let mut all = vec![Contender::pytorch()];
    if arguments.conf.is_empty() {
        all.push(Contender::pytorch_expandable());
    }
    let policy = arguments.policy.unwrap_or(Policy::Pytorch);
    let mut asked_for = Vec::new();
    for settings in &arguments.conf {
        let config = policy.config(settings, arguments.device.fraction)?;
        asked_for.push(Contender::new(format!("{} {}", policy.name(), settings.trim()), config));
    }
    let freeboard = Contender::freeboard();
    for contender in asked_for {
        let known = |other: &Contender| other.config == contender.config;
        if !all.iter().any(known) && !known(&freeboard) {
            all.push(contender);
        }
    }
    all.push(freeboard);
    Ok(all)
}

/// The traces, under names of their own: reports go by name.
fn traces(sources: &[Source]) -> Result<Vec<Trace>, Failure> {
    let mut traces: Vec<Trace> = Vec::new();
    for source in sources {
        let mut trace = source.trace()?;
        if traces.iter().any(|other| other.name == trace.name) {
            trace.name = source.path().display().to_string();
        }
        let name = trace.name.clone();
        let mut count = 1;
        while traces.iter().any(|other| other.name == trace.name) {
            count += 1;
            trace.name = format!("{name} ({count})");
        }
        traces.push(trace);
    }
    Ok(traces)
}

fn panels(comparison: Comparison, capacity: Bytes) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for row in comparison.rows {
        if panels.last().is_none_or(|panel| panel.title != row.trace) {
            let capacity = (capacity != AMPLE).then_some(capacity);
            panels.push(Panel { title: row.trace, capacity, series: Vec::new() });
        }
        if let Some(panel) = panels.last_mut() {
            panel.series.push(Series { name: row.contender, samples: row.samples });
        }
    }
    panels
}
