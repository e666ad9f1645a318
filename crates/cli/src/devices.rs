//! `freeboard devices`: the GPUs of this machine, who holds their memory, and what ails them.

mod table;

use std::thread;
use std::time::Duration;

use clap::Args;
use console::Term;
use freeboard_survey::Source;

use crate::Outcome;
use crate::failure::Failure;
use crate::output::{print, print_json, print_json_line};

const ENVIRONMENT: &str = "Asks NVML, which comes with NVIDIA's driver, or else the CUDA driver. \
    FREEBOARD_NVML_LIBRARY names another file than libnvidia-ml.so.1; empty, none is asked. \
    FREEBOARD_CUDA_LIBRARY names another driver than libcuda.so.1.";

/// Show each GPU: memory and who holds it, health, and why it cannot be used
#[derive(Args, Debug)]
#[command(after_help = ENVIRONMENT)]
pub(crate) struct Arguments {
    /// Print everything as JSON; with --watch, one document per line
    #[arg(long)]
    json: bool,
    /// Look again every so many seconds, at least 0.1, until interrupted
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = interval)]
    watch: Option<Duration>,
    /// Stop after so many looks
    #[arg(long, value_name = "N", requires = "watch", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let terminal = Term::stdout();
    let mut source = Source::open(true)?;
    let mut looks = 0;
    loop {
        let survey = source.survey()?;
        match (arguments.json, arguments.watch) {
            (true, None) => print_json(&survey)?,
            (true, Some(_)) => print_json_line(&survey)?,
            (false, watch) => {
                if watch.is_some() && terminal.is_term() {
                    terminal
                        .clear_screen()
                        .map_err(|error| Failure::write("to the terminal", error))?;
                } else if looks > 0 {
                    print("\n")?;
                }
                print(&table::table(&survey))?;
            }
        }
        looks += 1;
        let Some(interval) = arguments.watch.filter(|_| Some(looks) != arguments.count) else {
            return Ok(Outcome::Survived);
        };
        thread::sleep(interval);
        // A driver may have come since.
        if source.lacks_nvml() {
            source = Source::open(true)?;
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let wanted = "write a number of seconds, at least 0.1, like 2 or 0.5";
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds >= 0.1).ok_or(wanted)?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("{text} is too long; {wanted}"))
}
