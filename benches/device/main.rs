//! What a device costs: its calls by size, cached allocation over it, and a recorded run in which
//! every block is written and looked at. On this machine's memory, and on a GPU where there is one;
//! there gradients are unscaled and checked, too.
//!
//! `cargo bench --bench device` prints tables; with `FREEBOARD_JSON=FILE` it also writes the figures
//! there. These are measurements of one machine; nothing in the library depends on them.
#![allow(clippy::print_stdout, reason = "a program that prints its findings")]
#![allow(unsafe_code, reason = "kernels of a host device work through pointers")]

mod costs;
mod cuda;
mod kernels;
mod model;
mod scaler;
mod touched;

use std::collections::BTreeMap;
use std::path::Path;

use freeboard::device::{Memory, Order, Transfer};
use freeboard::device_sim::CostModel;
use freeboard::replay::timing::{Repeat, time_on};
use freeboard::replay::{Trace, TraceError};
use freeboard::{Bytes, Config, CudaDevice, HostDevice, StreamId};
use serde::Serialize;

use costs::CallTime;
use cuda::{CudaKernels, DriverPair};
use kernels::{HostKernels, Kernels};
use scaler::Unscaled;
use touched::{Stage, Touched};

/// For cached allocation.
const REPEAT: Repeat = Repeat { loops: 50, threads: 1 };
const SIZES: [Bytes; 3] = [Bytes::kib(4), Bytes::mib(3), Bytes::mib(64)];
const STREAMS: usize = 8;
/// The name of the fake driver's device.
const FAKE: &str = "Freeboard fake GPU";
const RECORDED: &str = "tests/data/resnet50_varsize.trace.gz";

/// What was seen on one device.
#[derive(Serialize)]
struct Findings {
    device: String,
    calls: Vec<CallTime>,
    /// What a simulated device needs to cost the same.
    cost_model: CostModel,
    /// Nanoseconds for a cached allocation and its free, by size.
    cached: BTreeMap<String, f64>,
    /// The same by the driver itself, on a GPU.
    driver: Vec<DriverPair>,
    touched: Vec<Touched>,
    /// Gradients, on a GPU.
    unscaled: Vec<Unscaled>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = HostDevice::new(Bytes::gib(4))?;
    let kernels = HostKernels::new(device.clone());
    let streams = (0..STREAMS).map(|_| device.create_stream()).collect::<Result<Vec<_>, _>>()?;
    // A recorded run has tens of GiB; a sixteenth of each block fits here.
    let limits = Limits { most: Bytes::mib(256), divisor: 16 };
    let mut findings = vec![measure("this machine's memory", &device, &kernels, &streams, limits)?];
    match CudaDevice::new(0) {
        Ok(device) => findings.push(measure_gpu(&device)?),
        Err(reason) => println!("no GPU: {reason}"),
    }
    for found in &findings {
        print(found);
    }
    if let Some(path) = std::env::var_os("FREEBOARD_JSON") {
        std::fs::write(path, serde_json::to_string_pretty(&findings)?)?;
    }
    Ok(())
}

fn measure_gpu(device: &CudaDevice) -> Result<Findings, Box<dyn std::error::Error>> {
    let (kernels, streams) = CudaKernels::new(device, STREAMS)?;
    let name = device.cudarc()?.name()?;
    let large = device.info()?.free > Bytes::gib(64);
    let limits = Limits { most: Bytes::gib(1), divisor: if large { 1 } else { 16 } };
    let mut findings = measure(&name, device, &kernels, &streams, limits)?;
    findings.driver = cuda::driver_pairs(device, &SIZES)?;
    // The fake driver runs kernels a thread at a time; small cards have no 2 GiB to spare.
    let tiny = name == FAKE || device.info()?.free < Bytes::gib(4);
    findings.unscaled = scaler::unscale(device, if tiny { 1 << 16 } else { 1 })?;
    Ok(findings)
}

/// How far a device is driven.
#[derive(Clone, Copy)]
struct Limits {
    /// Calls are timed up to this size.
    most: Bytes,
    /// Blocks of the recorded run are divided by this.
    divisor: u64,
}

/// All that is measured on any device.
fn measure<D: Transfer + Clone + Send + Sync + 'static>(
    name: &str,
    device: &D,
    kernels: &impl Kernels,
    streams: &[StreamId],
    limits: Limits,
) -> Result<Findings, Box<dyn std::error::Error>> {
    let calls = costs::costs(device, limits.most)?;
    let recorded = match std::env::var_os("FREEBOARD_TRACE") {
        Some(path) => Trace::read(path)?,
        None => Trace::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORDED))?,
    };
    let mut cached = BTreeMap::new();
    for size in SIZES {
        let timing = time_on(device.clone(), streams, &pair(size)?, &Config::default(), REPEAT)?;
        cached.insert(size.to_string(), timing.ns_per_pair_min - timing.loop_overhead_ns);
    }
    let stage = Stage { device, kernels, streams, trace: &recorded, divisor: limits.divisor };
    let touched = [("pytorch", Config::pytorch()), ("freeboard", Config::default())]
        .into_iter()
        .map(|(name, config)| touched::replay(&stage, name, config))
        .collect::<Result<_, _>>()?;
    let cost_model = model::cost_model(&calls);
    let (device, driver, unscaled) = (name.to_owned(), Vec::new(), Vec::new());
    Ok(Findings { device, calls, cost_model, cached, driver, touched, unscaled })
}

/// One size, allocated and freed a thousand times.
fn pair(size: Bytes) -> Result<Trace, TraceError> {
    let text = (0..1000).map(|id| format!("a {id} {} 0\nf {id}\n", size.get()));
    Trace::parse("pair", text.collect::<String>().as_bytes())
}

fn print(found: &Findings) {
    println!("\n{}", found.device);
    println!("  {:<24}{:>12}{:>14}{:>14}", "call", "bytes", "median ns", "least ns");
    for CallTime { call, size, median_ns, least_ns } in &found.calls {
        println!("  {call:<24}{:>12}{median_ns:>14}{least_ns:>14}", size.to_string());
    }
    println!("  as a cost model: {:?}", found.cost_model);
    for (size, ns) in &found.cached {
        println!("  cached allocation and free of {size}: {ns:.1} ns");
    }
    for DriverPair { size, pool_ns, plain_ns } in &found.driver {
        println!(
            "  the driver's own, {size}: {pool_ns:.0} ns from its pool, {plain_ns:.0} ns plain"
        );
    }
    for Touched { policy, trace, blocks, bytes, wrong_words, reserved, .. } in &found.touched {
        println!(
            "  {trace} under {policy}: {blocks} blocks, {bytes} written and read, {wrong_words} \
             wrong words, {reserved} reserved"
        );
    }
    for Unscaled { dtype, tensors, elements, unscale, copy, .. } in &found.unscaled {
        println!(
            "  {tensors} x {elements} {dtype} unscaled and checked in {:.4} ms, copied in {:.4} ms",
            unscale.median_ms, copy.median_ms
        );
    }
}
