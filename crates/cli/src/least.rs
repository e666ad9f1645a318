//! `freeboard min-capacity`: the smallest device a trace survives on.

use std::path::PathBuf;

use clap::Args;
use freeboard_replay::{Trace, least};

use crate::Outcome;
use crate::failure::Failure;
use crate::policy::{PolicyArguments, print, print_json};

/// Find the smallest device that a trace survives on
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// A text trace, plain, gzip or zstd; - for standard input
    trace: PathBuf,
    #[command(flatten)]
    policy: PolicyArguments,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let options = arguments.policy.options()?;
    let trace = Trace::read(&arguments.trace)?;
    let least = least::least(&trace, &options)?;
    if arguments.json {
        print_json(&least)?;
    } else {
        print(&format!(
            "{}: survives on {} ({:.4} × the {} it asks for), with {} stalls; {} runs\n",
            trace.name,
            least.min_capacity,
            least.ratio,
            least.peak_requested,
            least.stalls_there,
            least.tries,
        ))?;
    }
    Ok(Outcome::Survived)
}
