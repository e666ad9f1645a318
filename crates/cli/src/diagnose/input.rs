//! What there is to read: snapshots, logs, traces, folders; the content tells which.

use std::io::{BufRead, BufReader};
use std::path::Path;

use freeboard_allocator::Config;
use freeboard_replay::{RunOptions, Trace};
use freeboard_snapshot::message::{self, Message};
use freeboard_snapshot::{Diagnosis, Snapshot};
use freeboard_units::{Bytes, DeviceId};
use freeboard_watch::{Bundle, BundleError, Manifest};

use super::Arguments;
use super::case::Case;
use crate::failure::Failure;
use crate::snapshot_file::{self, Watched, broken};

/// Reads one path: its snapshots become cases, its messages are told.
pub(super) fn read(
    path: &Path,
    arguments: &Arguments,
    cases: &mut Vec<Case>,
    messages: &mut Vec<(String, Message)>,
) -> Result<(), Failure> {
    if path.join(Manifest::FILE).is_file() {
        return read_bundle(path, arguments, cases);
    }
    if path.is_dir() {
        return read_folder(path, arguments, cases, messages);
    }
    let mut file = Watched::open(path)?;
    let name = file.name().to_owned();
    let first = file.first()?;
    if first.is_empty() {
        return Err(Failure::Usage(format!("{name} is empty; give a snapshot, a log or a trace")));
    }
    if first[0] == 0x80 {
        let snapshot = snapshot_file::read_pickle(file)?;
        return add_snapshot(&name, path, &snapshot, arguments, cases);
    }
    if first[0] == b'{' {
        let text = file.read_all()?;
        if let Ok(snapshot) = serde_json::from_slice::<Snapshot>(&text) {
            return add_snapshot(&name, path, &snapshot, arguments, cases);
        }
        return add_messages(&name, &text[..], messages);
    }
    if is_trace(first) {
        let text = file.read_all()?;
        return run_trace(&name, &text, arguments, cases);
    }
    add_messages(&name, BufReader::new(file), messages)
}

/// A folder that was dumped when memory ran out: each piece may be missing.
fn read_bundle(path: &Path, arguments: &Arguments, cases: &mut Vec<Case>) -> Result<(), Failure> {
    let unreadable = |error: BundleError| Failure::Usage(error.to_string());
    let bundle = Bundle::open(path).map_err(unreadable)?;
    let name = path.display().to_string();
    let before = cases.len();
    if let Ok(snapshot) = bundle.snapshot() {
        add_snapshot(&name, path, &snapshot, arguments, cases)?;
    }
    match bundle.report() {
        // The report knows other processes and the limit, and its numbers are those of the failure.
        Ok(report) => match cases.get_mut(before) {
            Some(case) => {
                case.facts = report.facts.or(&case.facts);
                case.diagnosis = Diagnosis::of(&case.facts);
            }
            None => cases.push(Case::of_facts(&name, report.facts)),
        },
        Err(error) if cases.len() == before => return Err(unreadable(error)),
        Err(_) => {}
    }
    Ok(())
}

/// What is read of a folder: bundles, of which a job has one for each rank, snapshots and logs.
fn is_wanted(file: &Path) -> bool {
    let name = file.to_string_lossy().to_ascii_lowercase();
    let ends = [".pickle", ".pickle.gz", ".pickle.zst", ".pkl", ".log", ".txt", ".out", ".err"];
    file.join(Manifest::FILE).is_file()
        || (file.is_file() && ends.iter().any(|end| name.ends_with(end)))
}

/// A folder of snapshots, logs or bundles.
fn read_folder(
    path: &Path,
    arguments: &Arguments,
    cases: &mut Vec<Case>,
    messages: &mut Vec<(String, Message)>,
) -> Result<(), Failure> {
    let name = path.display();
    let unreadable = |error| Failure::Usage(format!("cannot read {name}: {error}"));
    let mut files = Vec::new();
    for entry in path.read_dir().map_err(unreadable)? {
        files.push(entry.map_err(unreadable)?.path());
    }
    files.sort();
    let before = cases.len() + messages.len();
    for file in files.iter().filter(|file| is_wanted(file)) {
        // A folder may hold other files: what one of them lacks does not matter.
        match read(file, arguments, cases, messages) {
            Err(Failure::Usage(_)) | Ok(()) => {}
            Err(failure) => return Err(failure),
        }
    }
    if cases.len() + messages.len() == before {
        return Err(Failure::Usage(format!(
            "{name}: no snapshot (*.pickle) and no log with an error in this folder"
        )));
    }
    Ok(())
}

fn add_snapshot(
    name: &str,
    path: &Path,
    snapshot: &Snapshot,
    arguments: &Arguments,
    cases: &mut Vec<Case>,
) -> Result<(), Failure> {
    let devices = snapshot.device_ids();
    let wanted = |device: &&DeviceId| arguments.device.is_none_or(|number| device.get() == number);
    let rank = super::rank_of(path);
    let mut found: Vec<Case> = devices
        .iter()
        .filter(wanted)
        .map(|&device| Case::of_snapshot(name, rank, snapshot, device))
        .collect();
    // A process uses several devices now and then, and one of them fails.
    if found.iter().any(Case::failed) {
        found.retain(Case::failed);
    } else {
        found.truncate(1);
    }
    if found.is_empty() {
        return Err(Failure::Usage(format!(
            "{name}: nothing was allocated or recorded on this device; dump the snapshot while the \
             program holds memory, and give --device where it has several"
        )));
    }
    cases.append(&mut found);
    Ok(())
}

fn add_messages(
    name: &str,
    log: impl BufRead,
    messages: &mut Vec<(String, Message)>,
) -> Result<(), Failure> {
    let found = message::read(log).map_err(|error| broken(name, &error))?;
    let firsts = message::firsts(&found);
    if firsts.is_empty() {
        return Err(Failure::Usage(format!(
            "{name}: no error about memory, and none that looks like one; give the part of the log \
             with the message, or a snapshot"
        )));
    }
    messages.extend(firsts.into_iter().map(|message| (name.to_owned(), message.clone())));
    Ok(())
}

/// Runs a trace; where it fails there is a case.
fn run_trace(
    name: &str,
    text: &[u8],
    arguments: &Arguments,
    cases: &mut Vec<Case>,
) -> Result<(), Failure> {
    let trace = Trace::parse(name, text)?;
    let Some(capacity) = arguments.capacity else {
        return Err(Failure::Usage(format!(
            "{name} is a trace: say what device it runs on, as in --capacity 24GiB"
        )));
    };
    let config = Config::pytorch().parse_onto(&arguments.conf)?.config;
    let options = RunOptions::new(config, capacity.align_down(Bytes::mib(2))).snapshot(true);
    let run = freeboard_replay::run::run(&trace, &options).map_err(Failure::run(name))?;
    let Some(mut snapshot) = run.snapshot else {
        return Err(Failure::Usage(format!(
            "{name} survives on {capacity}: nothing failed; its peak is {} reserved",
            run.peak_reserved
        )));
    };
    // The run stands for one of PyTorch's.
    snapshot.devices.clear();
    cases.push(Case::of_snapshot(name, None, &snapshot, DeviceId::new(0)));
    Ok(())
}

/// Whether text begins like a trace: an operation on the first line that is no comment.
fn is_trace(first: &[u8]) -> bool {
    let text = String::from_utf8_lossy(first);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let Some(line) = lines.find(|line| !line.starts_with('#')) else {
        return text.trim_start().starts_with('#');
    };
    let mut words = line.split_ascii_whitespace();
    let is_operation = matches!(words.next(), Some("a" | "f" | "r" | "e"));
    is_operation && words.all(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
}
