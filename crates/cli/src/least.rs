//! `freeboard min-capacity`: the smallest device a trace survives on.

use clap::Args;
use freeboard_replay::least;

use crate::Outcome;
use crate::failure::Failure;
use crate::options::PolicyArguments;
use crate::output::{print, print_json};
use crate::progress::Progress;
use crate::source::Source;

/// Find the smallest device that a trace survives on
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// A text trace, plain, gzip or zstd; - for standard input; or workload:NAME, workload:NAME@SEED
    trace: Source,
    #[command(flatten)]
    policy: PolicyArguments,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let options = arguments.policy.options()?;
    let trace = arguments.trace.trace()?;
    let spinner = Progress::spinner(format!("looking for the smallest device for {}", trace.name));
    let least = least::least(&trace, &options).map_err(Failure::run(&trace.name))?;
    drop(spinner);
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
