//! Diagnoses of real snapshots whose cause is known, and of anything a file may hold.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its data has failed")]

mod any;
mod model;
mod real;
mod series;
mod thresholds;

use std::fs;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use freeboard_snapshot::message::{self, Message};
use freeboard_snapshot::{Snapshot, pickle};

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/oom").join(file)
}

/// One of the real snapshots.
fn snapshot(name: &str) -> Snapshot {
    let file = fs::File::open(path(&format!("{name}.pickle.gz"))).unwrap();
    pickle::read(GzDecoder::new(file), &pickle::ReadOptions::default()).unwrap()
}

/// The error of the same run.
fn error(name: &str) -> Message {
    message::find(&fs::read_to_string(path(&format!("{name}.txt"))).unwrap()).remove(0)
}
