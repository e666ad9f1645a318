//! `freeboard summary`: where the memory of a snapshot went, on one screen.

use std::path::PathBuf;

use clap::Args;
use console::style;
use freeboard_snapshot::summary::{self, PytorchStats};
use freeboard_snapshot::{Snapshot, Timeline};
use freeboard_units::DeviceId;

use crate::Outcome;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::snapshot_file;

/// Say where the memory of a snapshot went, on one screen for each device
#[derive(Args, Debug)]
#[expect(clippy::doc_markdown, reason = "this is the text of the help, where backticks would show")]
pub(crate) struct Arguments {
    /// What torch.cuda.memory._dump_snapshot wrote, or our JSON; - for standard input
    file: PathBuf,
    /// Only this device
    #[arg(long, value_name = "N")]
    device: Option<u32>,
    /// As torch.cuda.memory_summary writes it; peaks and sums are those of the recorded history
    #[arg(long, conflicts_with = "json")]
    pytorch: bool,
    /// Print everything as JSON, a list with one entry for each device
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let snapshot = snapshot_file::read(&arguments.file)?;
    let devices = chosen(&snapshot, arguments)?;
    let timelines = devices.into_iter().map(|device| Timeline::new(&snapshot, device));
    if arguments.json {
        let all: Vec<_> = timelines.map(|timeline| summary::of_timeline(&timeline)).collect();
        print_json(&all)?;
        return Ok(Outcome::Survived);
    }
    let texts = timelines.map(|timeline| {
        if arguments.pytorch {
            let stats = PytorchStats::of_timeline(&timeline);
            summary::pytorch(&stats, timeline.device(), false)
        } else {
            styled(&summary::of_timeline(&timeline).to_string())
        }
    });
    print(&texts.collect::<Vec<_>>().join("\n"))?;
    Ok(Outcome::Survived)
}

/// The devices to tell of.
fn chosen(snapshot: &Snapshot, arguments: &Arguments) -> Result<Vec<DeviceId>, Failure> {
    let all = snapshot.device_ids();
    let name = arguments.file.display();
    if all.is_empty() {
        return Err(Failure::Usage(format!(
            "{name}: nothing was allocated or recorded when this snapshot was taken; \
             dump it while the program holds memory"
        )));
    }
    let Some(device) = arguments.device.map(DeviceId::new) else { return Ok(all) };
    if all.contains(&device) {
        return Ok(vec![device]);
    }
    let there: Vec<String> = all.iter().map(|device| device.get().to_string()).collect();
    let there = there.join(", ");
    Err(Failure::Usage(format!("{name} tells nothing of {device}; give --device one of: {there}")))
}

/// Headings stand out where the output is a terminal.
fn styled(text: &str) -> String {
    let lines = text.lines().map(|line| match line {
        _ if line.starts_with(' ') || line.is_empty() => format!("{line}\n"),
        _ if line.starts_with("out of memory") => format!("{}\n", style(line).red().bold()),
        _ => format!("{}\n", style(line).bold()),
    });
    lines.collect()
}
