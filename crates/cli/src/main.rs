//! The `freeboard` command.
//!
//! Exit status: 0, the trace survived (or the command did what it was asked); 1, it ran out of memory,
//! or would on the card, the buffers were not packed within the capacity, or no plan fits in the budget;
//! 2, bad usage or input, or a driver that fails, with a message that names the place and the remedy.
#![forbid(unsafe_code)]

mod compare;
mod convert;
mod devices;
mod diagnose;
mod estimate;
mod failure;
mod least;
mod options;
mod output;
mod pack;
mod plan;
mod progress;
mod replay;
mod snapshot_file;
mod source;
mod summary;
mod time;
mod view;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXIT_STATUS: &str = "Exit status: 0, done, and the trace survived; 1, it ran out of memory; \
    2, bad usage or input, or a driver that fails.";

/// Replay the allocations of training runs under any policy, on a simulated device of any size.
#[derive(Debug, Parser)]
#[command(name = "freeboard", version, after_help = EXIT_STATUS, max_term_width = 100)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Replay(replay::Arguments),
    MinCapacity(least::Arguments),
    Compare(compare::Arguments),
    Time(time::Arguments),
    Pack(pack::Arguments),
    Plan(plan::Arguments),
    Workload(workload::Arguments),
    Summary(summary::Arguments),
    Convert(convert::Arguments),
    Devices(devices::Arguments),
    Diagnose(diagnose::Arguments),
    Estimate(estimate::Arguments),
    View(view::Arguments),
}

/// Whether the trace survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Survived,
    RanOutOfMemory,
}

fn main() -> ExitCode {
    let outcome = match Command::parse().verb {
        Verb::Replay(arguments) => replay::run(&arguments),
        Verb::MinCapacity(arguments) => least::run(&arguments),
        Verb::Compare(arguments) => compare::run(&arguments),
        Verb::Time(arguments) => time::run(&arguments),
        Verb::Pack(arguments) => pack::run(&arguments),
        Verb::Plan(arguments) => plan::run(&arguments),
        Verb::Workload(arguments) => workload::run(&arguments),
        Verb::Summary(arguments) => summary::run(&arguments),
        Verb::Convert(arguments) => convert::run(&arguments),
        Verb::Devices(arguments) => devices::run(&arguments),
        Verb::Diagnose(arguments) => diagnose::run(&arguments),
        Verb::Estimate(arguments) => estimate::run(&arguments),
        Verb::View(arguments) => view::run(&arguments),
    };
    match outcome {
        Ok(Outcome::Survived) => ExitCode::SUCCESS,
        Ok(Outcome::RanOutOfMemory) => ExitCode::from(1),
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            ExitCode::from(failure.status())
        }
    }
}
