//! What a device costs: its calls by size, cached allocation over it, and a recorded run in which
//! every block is written and looked at. On this machine's memory, and on a GPU where there is one.
//!
//! `cargo bench --bench device` prints tables; with `FREEBOARD_JSON=FILE` it also writes the figures
//! there. These are measurements of one machine; nothing in the library depends on them.
#![allow(clippy::print_stdout, reason = "a program that prints its findings")]
#![allow(unsafe_code, reason = "kernels of a host device work through pointers")]

mod costs;
mod kernels;
mod touched;

use std::collections::BTreeMap;
use std::path::Path;

use freeboard::device::Transfer;
use freeboard::replay::timing::{Repeat, Timing, time_on};
use freeboard::replay::{Trace, workload};
use freeboard::{Bytes, Config, HostDevice, StreamId};
use serde::Serialize;

use costs::CallTime;
use kernels::{HostKernels, Kernels};
use touched::{Stage, Touched};

/// For cached allocation.
const REPEAT: Repeat = Repeat { loops: 3, threads: 1 };

/// What was seen on one device.
#[derive(Serialize)]
struct Findings {
    device: String,
    calls: Vec<CallTime>,
    cached: BTreeMap<String, Timing>,
    touched: Vec<Touched>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = HostDevice::new(Bytes::gib(4))?;
    let kernels = HostKernels::new(device.clone());
    // A recorded run has tens of GiB; a sixteenth of each block fits here.
    let findings = vec![measure("this machine's memory", device, &kernels, Bytes::mib(256), 16)?];
    for found in &findings {
        print(found);
    }
    if let Some(path) = std::env::var_os("FREEBOARD_JSON") {
        std::fs::write(path, serde_json::to_string_pretty(&findings)?)?;
    }
    Ok(())
}

/// All that is measured on a device. Calls up to `most` bytes; blocks of the recorded run divided
/// by `divisor`.
fn measure<D: Transfer + Clone + Send + Sync + 'static>(
    name: &str,
    device: D,
    kernels: &impl Kernels,
    most: Bytes,
    divisor: u64,
) -> Result<Findings, Box<dyn std::error::Error>> {
    let calls = costs::costs(&device, most)?;
    let mut streams = vec![StreamId::DEFAULT];
    for _ in 0..7 {
        streams.push(device.create_stream()?);
    }
    let recorded =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/resnet50_varsize.trace.gz");
    let recorded = match std::env::var_os("FREEBOARD_TRACE") {
        Some(path) => Trace::read(path)?,
        None => Trace::read(recorded)?,
    };
    let mut cached = BTreeMap::new();
    let small = workload::find("h15-fifo").ok_or("a workload of ours")?.trace(0);
    for trace in [&small, &recorded] {
        if trace.peak_requested < device.info()?.free {
            let timing = time_on(device.clone(), &streams, trace, &Config::default(), REPEAT)?;
            cached.insert(trace.name.clone(), timing);
        }
    }
    let stage = Stage { device: &device, kernels, streams: &streams, trace: &recorded, divisor };
    let mut touched = Vec::new();
    for (name, config) in [("pytorch", Config::pytorch()), ("freeboard", Config::default())] {
        touched.push(touched::replay(&stage, name, config)?);
    }
    Ok(Findings { device: name.to_owned(), calls, cached, touched })
}

fn print(found: &Findings) {
    println!("\n{}", found.device);
    println!("  {:<24}{:>12}{:>14}{:>14}", "call", "bytes", "median ns", "least ns");
    for CallTime { call, size, median_ns, least_ns } in &found.calls {
        println!("  {call:<24}{:>12}{median_ns:>14}{least_ns:>14}", size.to_string());
    }
    for (name, timing) in &found.cached {
        let net = timing.ns_per_pair_min - timing.loop_overhead_ns;
        println!("  cached allocation and free, {name}: {net:.1} ns");
    }
    for Touched { policy, trace, blocks, bytes, wrong_words, reserved, .. } in &found.touched {
        println!(
            "  {trace} under {policy}: {blocks} blocks, {bytes} written and read, {wrong_words} \
             wrong words, {reserved} reserved"
        );
    }
}
