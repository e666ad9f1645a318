//! A training run out of memory, explained: the report, a snapshot that `PyTorch`'s tools open too, and
//! a page that shows it.
//!
//! `cargo run --example explain_an_oom [FOLDER]`; on this machine's memory, so that what is written
//! into it is really there. The run is made to fail: sequences of all lengths under `PyTorch`'s
//! policy, in a little more memory than they need.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;

use freeboard::allocator::{Borrowed, HistoryOptions, scope};
use freeboard::replay::Recorded;
use freeboard::replay::verify::{VerifyOptions, verify};
use freeboard::snapshot::{Diagnosis, Facts, page};
use freeboard::watch::{Bundle, LogOptions, dump_on_oom};
use freeboard::{Bytes, CachingAllocator, Config, HostDevice, StreamId};

const LAYERS: u64 = 12;
const STEPS: u64 = 200;
const KEPT: usize = 8;
const MEMORY: Bytes = Bytes::mib(208);

type Allocator = CachingAllocator<HostDevice>;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(
        || std::env::temp_dir().join(format!("freeboard-oom-{}", std::process::id())),
        PathBuf::from,
    );
    let allocator = Arc::new(CachingAllocator::new(HostDevice::new(MEMORY)?, Config::pytorch())?);
    allocator.record_history(HistoryOptions::default());
    // All that a program needs to be explained when it fails.
    let dump = dump_on_oom(&allocator, &folder);
    let Err(failure) = train(&allocator, &dump) else {
        return Err("it was to fail; has the allocator become better than PyTorch's?".into());
    };
    println!("{failure}\n");

    let written = dump.written();
    let bundle = Bundle::open(written.first().ok_or("nothing was dumped")?)?;
    let snapshot = bundle.snapshot()?;
    let page_path = bundle.path().join("memory.html");
    let options = page::PageOptions::default().title("explain_an_oom");
    page::write(&snapshot, &options, BufWriter::new(File::create(&page_path)?))?;

    // What the report says is tried on the very run that failed.
    let report = bundle.report()?;
    let facts = report.facts.or(&Facts::of_snapshot(&snapshot, report.report.device));
    let mut diagnosis = Diagnosis::of(&facts);
    let recorded = Recorded::of(&snapshot, report.report.device, "run").ok_or("no history")?;
    let options = VerifyOptions::of(&facts).ok_or("no numbers")?;
    verify(&mut diagnosis, &recorded, &options, |policy| println!("replaying: {policy}"))?;
    println!("\n{diagnosis}");

    let ours = Arc::new(CachingAllocator::new(HostDevice::new(MEMORY)?, Config::default())?);
    train(&ours, &dump_on_oom(&ours, &folder))?;
    println!("Under Freeboard's policy the same run ends well on the same {MEMORY}.\n");
    println!(
        "Look at it:\n  freeboard diagnose {0}\n  {1}",
        bundle.path().display(),
        page_path.display()
    );
    Ok(())
}

/// Layers whose activations live from the forward to the backward pass, in sequences of all lengths.
fn train(
    allocator: &Arc<Allocator>,
    dump: &freeboard::watch::OomDump,
) -> Result<(), Box<dyn Error>> {
    let mut log = LogOptions::default().every(20).events_only();
    let _weights = {
        let _scope = scope("weights");
        layers(allocator, |_| Bytes::mib(4))?
    };
    let mut kept = Vec::new();
    for step in 0..STEPS {
        dump.set_step(step);
        allocator.annotate(format!("step {step}"));
        let _scope = scope("activations");
        let tokens = 64 + (step * 7919) % 961;
        let activations = layers(allocator, |layer| Bytes::kib(tokens * (6 + layer % 5)))?;
        // A result is kept for a while, and lies where activations were.
        kept.push(allocator.allocate(Bytes::kib(3200 + 2 * tokens), StreamId::DEFAULT)?);
        if kept.len() > KEPT {
            drop(kept.remove(usize::try_from(step * 31)? % KEPT));
        }
        drop(activations);
        allocator.step();
        log.step(allocator);
    }
    log.finish()?;
    Ok(())
}

fn layers(
    allocator: &Allocator,
    size: impl Fn(u64) -> Bytes,
) -> Result<Vec<Borrowed<'_, HostDevice>>, freeboard::Error> {
    let layer = |layer| {
        let _scope = scope(&format!("layer{layer}"));
        allocator.allocate(size(layer), StreamId::DEFAULT)
    };
    (0..LAYERS).map(layer).collect()
}
