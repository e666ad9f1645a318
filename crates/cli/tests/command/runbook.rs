//! Every command in `docs/out-of-memory.md`, run as it is written.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use freeboard_allocator::{CachingAllocator, Config, HistoryOptions};
use freeboard_device_sim::SimDevice;
use freeboard_units::{Bytes, StreamId};

use crate::{Folder, freeboard_in};

const PAGE: &str = include_str!("../../../../docs/out-of-memory.md");

/// The command lines of the page: in its `sh` blocks, and between backticks.
fn commands() -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut language = None;
    for line in PAGE.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            language = if language.is_none() { Some(fence) } else { None };
        } else if language == Some("sh") {
            found.push(line);
        } else if language.is_none() {
            let quoted = line.split('`').skip(1).step_by(2);
            found.extend(quoted.filter(|text| text.starts_with("freeboard ")));
        }
    }
    found
}

/// The files the page speaks of.
fn prepare(folder: &Folder) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshot/tests/data");
    let copy = |from: &str, to: &str| {
        fs::copy(data.join(from), folder.path(to)).unwrap();
    };
    copy("oom_fragmentation.pickle.gz", "snapshot.pickle");
    copy("messages/pytorch-2.15.txt", "train.log");
    copy("train_expandable.pickle.gz", "rank0.pickle");
    copy("oom_fragmentation.pickle.gz", "rank1.pickle");
    copy("train_expandable.pickle.gz", "rank2.pickle");
    let trace = ["convert", "snapshot.pickle", "-o", "run.trace"];
    assert_eq!(freeboard_in(folder, &trace, "").status, 0);
    dump(Path::new(&folder.path("oom")));
}

/// A bundle of a request that failed.
fn dump(folder: &Path) {
    let device = SimDevice::new(Bytes::mib(64));
    let allocator = Arc::new(CachingAllocator::new(device, Config::default()).unwrap());
    allocator.record_history(HistoryOptions::default());
    let dump = freeboard_watch::dump_on_oom(&allocator, folder);
    let _held = allocator.allocate(Bytes::mib(40), StreamId::DEFAULT).unwrap();
    allocator.allocate(Bytes::mib(40), StreamId::DEFAULT).unwrap_err();
    assert_eq!(dump.written().len(), 1);
}

#[test]
fn every_command_of_the_runbook_does_what_it_says() {
    let folder = Folder::new("runbook");
    prepare(&folder);
    let log = fs::read_to_string(folder.path("train.log")).unwrap();
    let commands = commands();
    assert!(commands.len() > 15, "{commands:?}");
    for command in commands {
        let words: Vec<&str> =
            command.split_whitespace().skip(1).map(|word| word.trim_matches('"')).collect();
        // Only the replay under the settings that it died with fails.
        let expected = i32::from(command.contains("--conf \"\""));
        let said = freeboard_in(&folder, &words, &log);
        assert_eq!(said.status, expected, "{command}\n{said:?}");
        assert!(!said.out.trim().is_empty() || command.contains("-o "), "{command} says nothing");
    }
    for written in ["memory.html", "run.trace.gz"] {
        assert!(fs::metadata(folder.path(written)).unwrap().len() > 1000, "{written}");
    }
}
