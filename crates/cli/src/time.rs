//! `freeboard time`: nanoseconds per cached allocation and free.

use std::path::PathBuf;

use clap::Args;
use freeboard_replay::{Trace, timing};

use crate::Outcome;
use crate::failure::Failure;
use crate::policy::{PolicyArguments, print};

/// Replay a trace over and over on a warm device and time it; prints one line of JSON
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// A text trace, plain, gzip or zstd; - for standard input
    trace: PathBuf,
    /// Rounds of the trace in each of seven repeats
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    loops: u32,
    /// Threads that replay the trace at once, each for itself, on one allocator
    #[arg(long, default_value_t = 1, value_parser = 1..=256)]
    threads: i64,
    #[command(flatten)]
    policy: PolicyArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let options = arguments.policy.options()?;
    let trace = Trace::read(&arguments.trace)?;
    let threads = usize::try_from(arguments.threads).unwrap_or(1);
    let timing = timing::time(&trace, &options.config, options.capacity, arguments.loops, threads)?;
    let line = serde_json::to_string(&timing).map_err(|error| Failure::Usage(error.to_string()))?;
    print(&format!("{line}\n"))?;
    Ok(Outcome::Survived)
}
