//! `freeboard replay`: one trace under one policy.

use std::fmt::Write as _;

use clap::Args;
use freeboard_allocator::{Planning, Stitching};
use freeboard_replay::{Run, Trace};

use crate::Outcome;
use crate::failure::Failure;
use crate::options::PolicyArguments;
use crate::output::{print, print_json};
use crate::source::Source;

/// Run a trace under a policy and say what it took
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// A text trace, plain, gzip or zstd; - for standard input; or workload:NAME, workload:NAME@SEED
    trace: Source,
    #[command(flatten)]
    policy: PolicyArguments,
    /// Go on after a request ran out of memory, without its memory
    #[arg(long)]
    keep_going: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let options = arguments.policy.options()?.keep_going(arguments.keep_going);
    let trace = arguments.trace.trace()?;
    let run = freeboard_replay::run::run(&trace, &options).map_err(Failure::run(&trace.name))?;
    if arguments.json {
        print_json(&run)?;
    } else {
        print(&summary(&trace, &run))?;
    }
    Ok(if run.survived { Outcome::Survived } else { Outcome::RanOutOfMemory })
}

fn summary(trace: &Trace, run: &Run) -> String {
    let mut text = String::new();
    let verdict = if run.survived { "survived" } else { "ran out of memory" };
    let _ = writeln!(text, "{}: {verdict} on {}", trace.name, run.capacity);
    let reserved = run.peak_reserved.as_f64() / run.peak_allocated.as_f64().max(1.0);
    for (what, value) in [
        ("peak requested", run.peak_requested.to_string()),
        ("peak allocated", run.peak_allocated.to_string()),
        ("peak reserved", format!("{} ({reserved:.3} × allocated)", run.peak_reserved)),
        ("driver calls", run.calls.values().sum::<u64>().to_string()),
        ("retries", run.num_alloc_retries.to_string()),
        ("stalls", run.stalls.to_string()),
        ("out of memory", run.oom_events.to_string()),
    ] {
        let _ = writeln!(text, "  {what:<15} {value}");
    }
    for (what, value) in stitched(&run.stitching).into_iter().chain(planned(&run.planning)) {
        let _ = writeln!(text, "  {what:<15} {value}");
    }
    for oom in &run.ooms {
        let _ = writeln!(text, "line {}: {}", oom.line, oom.message);
    }
    text
}

/// What stitching did, as far as it did anything.
fn stitched(did: &Stitching) -> Vec<(&'static str, String)> {
    let lines = [
        (did.handles, "handles", format!("{}, mapped at {} places", did.handles, did.mappings)),
        (
            did.stitches,
            "stitched",
            format!("{} for {} requests, mapped anew", did.stitched_bytes, did.stitches),
        ),
        (
            did.windows,
            "windows",
            format!("{} for {} requests, mapped before", did.woken_bytes, did.windows),
        ),
        (
            did.stream_waits + did.pending_waits,
            "stream waits",
            format!("{}, and {} for pending blocks", did.stream_waits, did.pending_waits),
        ),
        (did.divided, "divided", format!("{} handles", did.divided)),
    ];
    lines.into_iter().filter(|line| line.0 > 0).map(|(_, what, value)| (what, value)).collect()
}

/// What planning did, once a step was planned.
fn planned(did: &Planning) -> Vec<(&'static str, String)> {
    if did.plans == 0 {
        return Vec::new();
    }
    let step = format!("{} requests, {} of them served as always", did.requests, did.elsewhere);
    let served = format!(
        "{} hits, {} misses, {} deviations, {} whole steps",
        did.hits, did.misses, did.deviations, did.rounds
    );
    vec![("planned step", step), ("served by it", served)]
}
