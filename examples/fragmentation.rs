//! Fragmentation, reproduced: two recorded training runs and a synthetic one under `PyTorch`'s
//! policies and ours, as a table and as a picture.
//!
//! `cargo run --release --example fragmentation [-- PICTURE.svg]`
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;

use freeboard::Config;
use freeboard::replay::compare::{self, CompareOptions, Comparison, Contender};
use freeboard::replay::picture::{self, Panel, Series};
use freeboard::replay::run::{RunOptions, run};
use freeboard::replay::{Trace, workload};
use indicatif::ProgressBar;

fn main() -> Result<(), Box<dyn Error>> {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let traces = [
        Trace::read(data.join("fsdp8_llama8b_streams.trace.gz"))?,
        Trace::read(data.join("resnet50_varsize.trace.gz"))?,
        workload::find("transformer-varlen").ok_or("a workload of ours")?.trace(0),
    ];
    let contenders =
        [Contender::pytorch(), Contender::pytorch_expandable(), Contender::freeboard()];
    let options = CompareOptions::default().search(true).stretches(picture::STRETCHES);

    let bar = ProgressBar::new((traces.len() * contenders.len()) as u64);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let comparison = compare::compare(&traces, &contenders, &options, &|done, _| {
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();

    print_table(&comparison, &traces, &contenders)?;
    let path = std::env::args_os().nth(1).map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/fragmentation.svg"),
        PathBuf::from,
    );
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    picture::save(&panels(comparison), &path)?;
    println!("\nReserved against allocated over time: {}", path.display());
    Ok(())
}

/// Per trace and policy: what is reserved with ample memory, the smallest device that survives, and
/// what happens on a device a twentieth larger than the live peak.
fn print_table(
    comparison: &Comparison,
    traces: &[Trace],
    contenders: &[Contender],
) -> Result<(), Box<dyn Error>> {
    for trace in traces {
        println!("{}: {} live at its peak", trace.name, trace.peak_requested);
        println!(
            "  {:<34} {:>10} {:>12} {:>13}   on 1.05 × the peak",
            "policy", "reserved", "least device", "driver calls"
        );
        for contender in contenders {
            let row = comparison
                .rows
                .iter()
                .find(|row| row.trace == trace.name && row.contender == contender.name)
                .ok_or("a row for every trace and policy")?;
            let ratio =
                |ratio: Option<f64>| ratio.map_or("-".into(), |ratio| format!("{ratio:.3} ×"));
            println!(
                "  {:<34} {:>10} {:>12} {:>13}   {}",
                contender.name,
                ratio(row.reserved_ratio),
                ratio(row.capacity_ratio),
                row.driver_calls,
                when_tight(trace, contender)?,
            );
        }
        println!("  {}\n", what_stitching_did(trace)?);
    }
    match &comparison.winner {
        Some(winner) => println!("Smallest devices: {winner}."),
        None => println!("Smallest devices: a tie."),
    }
    Ok(())
}

/// What our policy stitched with ample memory.
fn what_stitching_did(trace: &Trace) -> Result<String, Box<dyn Error>> {
    let did = run(trace, &RunOptions::new(Config::default(), compare::AMPLE))?.stitching;
    Ok(format!(
        "freeboard stitched {} of free memory for {} requests, rather than take it from the device;\n  \
         {} more requests were served where such memory was mapped already",
        did.stitched_bytes, did.stitches, did.windows,
    ))
}

/// What happens on a device a twentieth larger than the live peak.
fn when_tight(trace: &Trace, contender: &Contender) -> Result<String, Box<dyn Error>> {
    let peak = trace.peak_requested.get();
    let capacity = freeboard::Bytes::new(peak + peak / 20).align_down(freeboard::Bytes::mib(2));
    let run = run(trace, &RunOptions::new(contender.config.clone(), capacity))?;
    Ok(match run.ooms.first() {
        None => format!("survives, {} stalls", run.stalls),
        Some(oom) => {
            let free = capacity.saturating_sub(run.current_allocated);
            format!("dies at line {}: {} wanted, {free} free in pieces", oom.line, oom.size)
        }
    })
}

fn panels(comparison: Comparison) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for row in comparison.rows {
        if panels.last().is_none_or(|panel| panel.title != row.trace) {
            panels.push(Panel { title: row.trace, capacity: None, series: Vec::new() });
        }
        if let Some(panel) = panels.last_mut() {
            panel.series.push(Series { name: row.contender, samples: row.samples });
        }
    }
    panels
}
