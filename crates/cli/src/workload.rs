//! `freeboard workload`: synthetic traces.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use freeboard_replay::{Workload, workload};

use crate::Outcome;
use crate::failure::Failure;
use crate::output::print;

/// Write a synthetic trace, the same for the same seed; without a name, list what there is
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The workload's name
    name: Option<String>,
    /// Draws other sizes and orders, where the workload draws any
    #[arg(long, allow_negative_numbers = true, default_value_t = 0)]
    seed: u64,
    /// Where to write; compressed for names that end in .gz or .zst [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Some(name) = &arguments.name else {
        print(&list())?;
        return Ok(Outcome::Survived);
    };
    let trace = find(name)?.trace(arguments.seed);
    match &arguments.output {
        Some(path) if path != Path::new("-") => trace.save(path)?,
        _ => trace
            .write(&mut io::BufWriter::new(io::stdout().lock()))
            .map_err(|error| Failure::write("to standard output", error))?,
    }
    Ok(Outcome::Survived)
}

/// The workload of this name.
pub(crate) fn find(name: &str) -> Result<&'static Workload, Failure> {
    workload::find(name).ok_or_else(|| {
        let list = list();
        Failure::Usage(format!("there is no workload '{name}'; these there are:\n{list}"))
    })
}

fn list() -> String {
    let mut text = String::new();
    for workload in workload::all() {
        let _ = writeln!(text, "  {:<22} {}", workload.name, workload.about);
    }
    text
}
