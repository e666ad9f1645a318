//! Where traces come from: files, standard input, and workloads by name.

use std::path::{Path, PathBuf};
use std::{fs, io};

use freeboard_replay::Trace;

use crate::failure::Failure;
use crate::workload;

const PREFIX: &str = "workload:";

/// A file, `-`, or `workload:NAME@SEED`.
#[derive(Clone, Debug)]
pub(crate) struct Source(PathBuf);

impl From<std::ffi::OsString> for Source {
    fn from(text: std::ffi::OsString) -> Self {
        Self(text.into())
    }
}

impl Source {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Reads or makes the trace.
    pub(crate) fn trace(&self) -> Result<Trace, Failure> {
        match self.0.to_str().and_then(|text| text.strip_prefix(PREFIX)) {
            Some(name) => make(name),
            None => Ok(Trace::read(&self.0)?),
        }
    }
}

fn make(named: &str) -> Result<Trace, Failure> {
    let (name, seed) = match named.split_once('@') {
        None => (named, 0),
        Some((name, seed)) => {
            let parsed = seed.parse().map_err(|_| {
                Failure::Usage(format!(
                    "{PREFIX}{named}: the seed '{seed}' is no number; write {PREFIX}{name}@7"
                ))
            });
            (name, parsed?)
        }
    };
    let mut trace = workload::find(name)?.trace(seed);
    named.clone_into(&mut trace.name);
    Ok(trace)
}

/// The text of a file, or of standard input for `-`.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        fs::read_to_string(path)
    };
    text.map_err(|error| {
        let name = path.display();
        Failure::Usage(format!("cannot read {name}: {error}; check that the path is right"))
    })
}
