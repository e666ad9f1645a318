//! `freeboard time`: nanoseconds per cached allocation and free.

use clap::Args;
use freeboard_replay::timing::{self, Repeat};

use crate::Outcome;
use crate::failure::Failure;
use crate::options::PolicyArguments;
use crate::output::print_json_line;
use crate::source::Source;

/// Replay a trace over and over on a warm device and time it; prints one line of JSON
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// A text trace, plain, gzip or zstd; - for standard input; or workload:NAME, workload:NAME@SEED
    trace: Source,
    /// Rounds of the trace in each of seven repeats
    #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    loops: u32,
    /// Threads that replay the trace at once, each for itself, on one allocator
    #[arg(long, allow_negative_numbers = true, default_value_t = 1, value_parser = 1..=256)]
    threads: i64,
    #[command(flatten)]
    policy: PolicyArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let options = arguments.policy.options()?;
    if options.event_lag > 0 {
        return Err(Failure::Usage(
            "--event-lag: no time passes on the device while it is timed; leave it out".to_owned(),
        ));
    }
    let config = match options.fraction {
        Some(fraction) => options.config.with_memory_fraction(fraction)?,
        None => options.config,
    };
    let trace = arguments.trace.trace()?;
    let threads = usize::try_from(arguments.threads).unwrap_or(1);
    let repeat = Repeat { loops: arguments.loops, threads };
    let timing = timing::time(&trace, &config, options.capacity, repeat)
        .map_err(|error| Failure::Allocator { trace: trace.name, error })?;
    print_json_line(&timing)?;
    Ok(Outcome::Survived)
}
