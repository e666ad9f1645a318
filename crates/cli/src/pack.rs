//! `freeboard pack`: buffers with known lifetimes into one range of addresses.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use freeboard_packing::{Options, Packing, check, pack, peak_live};
use freeboard_units::Bytes;
use serde::Serialize;

use crate::Outcome;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::progress::Progress;
use crate::source::read_text;

mod table;

/// Choose addresses for buffers whose lifetimes are known, as low as can be
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// A table with the columns id, lower, upper, size, parted by commas; - for standard input
    file: PathBuf,
    /// The addresses there are, like 1048576 or 80GiB [default: find the smallest height]
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    capacity: Option<Bytes>,
    /// Make every offset and the room of every buffer a multiple of this
    #[arg(long, value_name = "BYTES", default_value = "1", allow_hyphen_values = true)]
    alignment: Bytes,
    /// Search no longer than this [default: until a fixed number of steps is done]
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = seconds)]
    seconds: Option<Duration>,
    /// Print offsets and figures as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Offset<'a> {
    id: &'a str,
    offset: Bytes,
}

#[derive(Serialize)]
struct Report<'a> {
    offsets: Vec<Offset<'a>>,
    height: Bytes,
    peak_live: Bytes,
    capacity: Option<Bytes>,
    /// No packing is lower.
    at_least: Bytes,
    /// The buffers were found to fit (or not), or proven not to; unknown with neither.
    fits: bool,
    impossible: bool,
    steps: u64,
    seconds: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let name = arguments.file.display().to_string();
    let text = read_text(&arguments.file)?;
    let (ids, buffers) =
        table::parse(&text).map_err(|problem| Failure::Usage(format!("{name}, {problem}")))?;
    let options = Options::default()
        .alignment(arguments.alignment)
        .capacity(arguments.capacity)
        .time_limit(arguments.seconds);
    let spinner = Progress::spinner(format!("packing {} buffers", buffers.len()));
    let begin = Instant::now();
    let packing =
        pack(&buffers, &options).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    let seconds = begin.elapsed().as_secs_f64();
    drop(spinner);
    check(&buffers, &packing.offsets)
        .map_err(|clash| Failure::Usage(format!("{name}: a bug of this program: {clash}")))?;
    let fits = arguments.capacity.is_none_or(|capacity| packing.height <= capacity);
    let impossible = arguments.capacity.is_some_and(|capacity| packing.at_least > capacity);
    let report = Report {
        offsets: ids
            .iter()
            .zip(&packing.offsets)
            .map(|(id, &offset)| Offset { id, offset })
            .collect(),
        height: packing.height,
        peak_live: peak_live(&buffers),
        capacity: arguments.capacity,
        at_least: packing.at_least,
        fits,
        impossible,
        steps: packing.steps,
        seconds,
    };
    if arguments.json {
        print_json(&report)?;
    } else {
        print(&text_of(&report, &packing))?;
    }
    Ok(if fits { Outcome::Survived } else { Outcome::RanOutOfMemory })
}

fn text_of(report: &Report<'_>, packing: &Packing) -> String {
    let Report { height, peak_live, at_least, .. } = *report;
    let ratio = height.as_f64() / peak_live.as_f64().max(1.0);
    let verdict = match report.capacity {
        _ if packing.is_optimal() && report.fits => "no packing is lower".to_owned(),
        None => format!("a packing of {} bytes is not ruled out", at_least.get()),
        Some(_) if report.fits => "it fits".to_owned(),
        Some(_) if report.impossible => {
            format!("it cannot fit: {} bytes are needed at the least", at_least.get())
        }
        Some(_) => "no fitting packing was found, nor proven impossible".to_owned(),
    };
    let capacity = match report.capacity {
        Some(capacity) => format!("{} bytes", capacity.get()),
        None => "any".to_owned(),
    };
    format!(
        "peak live  {} bytes\nheight     {} bytes, {ratio:.4} × the peak\ncapacity   {capacity}\n\
         verdict    {verdict}\ntime       {:.3} s for {} buffers, {} steps of search\n",
        peak_live.get(),
        height.get(),
        report.seconds,
        report.offsets.len(),
        report.steps,
    )
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = "write a number of seconds from 0 to 1000000, like 0.5";
    let seconds = text.parse::<f64>().map_err(|_| wrong)?;
    if !(0.0..=1e6).contains(&seconds) {
        return Err(wrong.to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}
