//! The real binary, run as people run it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "command/bad_input.rs"]
mod bad_input;
#[path = "command/compare.rs"]
mod compare;
#[path = "command/devices.rs"]
mod devices;
#[path = "command/diagnose.rs"]
mod diagnose;
#[path = "command/estimate.rs"]
mod estimate;
#[path = "command/pack.rs"]
mod pack;
#[path = "command/plan.rs"]
mod plan;
#[path = "command/runbook.rs"]
mod runbook;
#[path = "command/snapshot.rs"]
mod snapshot;
#[path = "command/streams.rs"]
mod streams;
#[path = "command/verbs.rs"]
mod verbs;
#[path = "command/view.rs"]
mod view;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A folder of its own for a test, gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let name = format!("freeboard-cli-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.0.join(name), content).unwrap();
        self.path(name)
    }

    /// A workload's trace in a file of this name.
    fn workload(&self, name: &str, file: &str) -> String {
        let path = self.path(file);
        assert_eq!(freeboard(&["workload", name, "-o", &path]).status, 0);
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// What a command said.
#[derive(Debug)]
struct Said {
    status: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The names in the JSON object, in order of the alphabet.
    fn keys(value: &Value) -> Vec<&str> {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs it in a folder, with this on standard input.
fn freeboard_in(folder: &Folder, arguments: &[&str], input: &str) -> Said {
    let given = folder.file(".input", input);
    let mut command = command(arguments);
    command.current_dir(&folder.0).stdin(fs::File::open(given).unwrap());
    command.output().unwrap().into()
}

/// Runs it with this on standard input.
fn fed(arguments: &[&str], input: &[u8]) -> Said {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap().into()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freeboard"));
    command.args(arguments).stdin(Stdio::null()).env_remove("PYTORCH_ALLOC_CONF");
    command
}

fn freeboard(arguments: &[&str]) -> Said {
    command(arguments).output().unwrap().into()
}
