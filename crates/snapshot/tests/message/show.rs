//! The logs, and a message in one line.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use freeboard_snapshot::{Facts, Message};

/// The sizes that are known, by name.
pub(crate) fn sizes(facts: &Facts) -> Vec<(String, u64)> {
    let named = [
        ("requested", facts.requested),
        ("total", facts.total),
        ("free", facts.free),
        ("limit", facts.limit),
        ("process", facts.process),
        ("reserved", facts.reserved),
        ("allocated", facts.allocated),
        ("pending", facts.pending),
        ("largest_own", facts.largest_own),
        ("free_private", facts.free_private),
    ];
    let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.get())));
    let others = facts.others.iter().map(|other| (format!("{:?}", other.pid), other.bytes.get()));
    named.chain(others).collect()
}

/// A message in one line: what is not known is left out, sizes are in bytes.
pub(crate) fn show(message: &Message) -> String {
    let mut text = format!("{}", message.line);
    if let Some(rank) = message.rank {
        write!(text, " rank {rank}").unwrap();
    }
    if let Some(pid) = message.pid {
        write!(text, " pid {pid}").unwrap();
    }
    if let Some(time) = &message.time {
        write!(text, " at {time}").unwrap();
    }
    if let Some(step) = message.step {
        write!(text, " step {step}").unwrap();
    }
    write!(text, " {:?} {:?} '{}'", message.kind, message.origin, message.wording).unwrap();
    if message.truncated {
        text += " truncated";
    }
    let facts = &message.facts;
    if let Some(device) = facts.device {
        write!(text, " device={}", device.get()).unwrap();
    }
    for (name, bytes) in sizes(facts) {
        write!(text, " {name}={bytes}").unwrap();
    }
    if let Some(fraction) = facts.fraction {
        write!(text, " fraction={fraction:.4}").unwrap();
    }
    if facts.refused_early {
        text += " refused_early";
    }
    if let Some(stream) = facts.stream {
        write!(text, " {stream}").unwrap();
    }
    if let Some(expandable) = facts.expandable {
        write!(text, " expandable={expandable}").unwrap();
    }
    if let Some(place) = &message.place {
        write!(text, " in {}:{} {}", place.file, place.line, place.function).unwrap();
    }
    if let Some(phase) = message.phase {
        write!(text, " {phase:?}").unwrap();
    }
    text
}

/// The logs, by name.
pub(crate) fn logs() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/messages");
    let mut logs: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    logs.sort();
    logs
}

pub(crate) fn log(name: &str) -> String {
    logs().into_iter().find(|(known, _)| known == name).unwrap().1
}
