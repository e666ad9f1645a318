//! Reading snapshots: `PyTorch`'s pickles and our JSON, packed or not.

use std::io::{BufRead, Read};
use std::path::Path;

use freeboard_replay::files;
use freeboard_snapshot::Snapshot;
use freeboard_snapshot::pickle;

use crate::failure::Failure;
use crate::progress::Progress;

/// More JSON than a history of ten million events takes.
const JSON_BYTES_MAX: u64 = 4 << 30;

/// Reads a snapshot; its first byte tells which of the two it is.
pub(crate) fn read(path: &Path) -> Result<Snapshot, Failure> {
    let mut file = files::open(path).map_err(|error| {
        let name = path.display();
        Failure::Usage(format!("cannot read {name}: {error}; check that the path is right"))
    })?;
    let name = file.name().to_owned();
    let spinner = Progress::spinner(format!("reading {name}"));
    let first = file.fill_buf().map_err(|error| {
        Failure::Usage(format!("{name}: {error}; fetch the file again, or unpack it by hand"))
    })?;
    let is_json = first.first() == Some(&b'{');
    let snapshot = if is_json { read_json(&name, file) } else { read_pickle(&name, file) };
    drop(spinner);
    snapshot
}

fn read_pickle(name: &str, file: impl Read) -> Result<Snapshot, Failure> {
    let options = pickle::ReadOptions::default();
    pickle::read(file, &options).map_err(|error| Failure::Usage(format!("{name}: {error}")))
}

fn read_json(name: &str, file: impl BufRead) -> Result<Snapshot, Failure> {
    let mut file = file.take(JSON_BYTES_MAX);
    serde_json::from_reader(&mut file).map_err(|error| {
        let limit = file.limit() == 0;
        let why = if limit { "it is longer than 4 GiB".to_owned() } else { error.to_string() };
        Failure::Usage(format!(
            "{name}: no snapshot in JSON: {why}; write one with 'freeboard convert'"
        ))
    })
}
