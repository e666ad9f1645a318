//! A network trained within budgets: what a plan keeps, recomputes and offloads, what it predicts and
//! what that comes to.
//!
//! `cargo run --release --example checkpoint_chain`; on the host device, whose streams are threads.
//! Every budget trains the same network from the same weights, and has to come to the same losses, bit
//! by bit, within the predicted peak. Then a device is too small for the plan, and the loop finds out.

#![allow(clippy::print_stdout, reason = "it is there to be read")]

mod network;

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use freeboard::{Bytes, CachingAllocator, Config, HostDevice, StreamId};
use freeboard_budget::{AllocatorMeter, ClosedLoop, Outcome, Planning, Step};
use freeboard_checkpoint::{
    Chain, Meter, Moves, Operation, Profiler, Random, Segment, keep_all, least_bytes,
};
use freeboard_offload::{Mover, MoverConfig, measure_link};

use network::{Allocator, Batch, Layer, Values, layers};

/// Steps in every budget; the first one warms up and is not timed.
const STEPS: u64 = 4;
/// How far the measured peak may be from the predicted one, as a share of it.
const TOLERANCE: f64 = 0.01;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let allocator = allocator(Bytes::gib(1))?;
    let mut model = layers(&allocator)?;
    let mut batch = Batch { allocator: &allocator, number: 1, loss: 0.0 };
    let meter = AllocatorMeter::new(&allocator);
    let chain = Profiler::new(&meter).profile(&mut model, Random::new(0), || batch.input())?;
    drop(model);
    let link = measure_link(&allocator, StreamId::DEFAULT, Bytes::mib(64))?;
    let (all, least) = (keep_all(&chain).peak_bytes, least_bytes(&chain)?);
    println!(
        "{} layers: keeping all takes {all}, the least is {least}; copies at {:.1} and {:.1} GB/s\n",
        chain.layers().len(),
        link.to_host / 1e9,
        link.to_device / 1e9,
    );
    plain(&allocator)?; // the processor wakes up
    let plain = plain(&allocator)?;
    println!(
        "    budget  keep/recompute/offload   predicted    measured  deviation       extra time  losses"
    );
    println!("{:>86}  as without a plan", "plan   run");
    for percent in [100, 80, 60, 45, 30, 0] {
        let budget = least.max(Bytes::new(all.get() * percent / 100));
        let run = train(&allocator, &chain, budget, Planning::optimal())?;
        line(&chain, budget, &run, &plain)?;
    }
    let mover = Mover::new(&allocator, MoverConfig::default())?;
    for percent in [60, 45, 30] {
        let budget = least.max(Bytes::new(all.get() * percent / 100));
        let run = train(&allocator, &chain, budget, Planning::three_way(&mover, link))?;
        line(&chain, budget, &run, &plain)?;
    }
    mover.synchronize()?;
    let stats = mover.stats();
    println!(
        "\nOffloading: {} out, {} back; {:.0} % of the copying was hidden behind computation ({:.1} of \
         {:.1} ms waited for)\n",
        stats.bytes_out,
        stats.bytes_back,
        100.0 * stats.hidden(),
        stats.waited.as_secs_f64() * 1e3,
        stats.copying.as_secs_f64() * 1e3,
    );
    heal(&chain, all, &plain)
}

fn allocator(capacity: Bytes) -> Result<Allocator> {
    Ok(Arc::new(CachingAllocator::new(HostDevice::new(capacity)?, Config::default())?))
}

/// Some steps: their losses, the time that the fastest took, what the last one came to.
struct Run<V> {
    losses: Vec<u32>,
    seconds: f64,
    last: Option<Outcome<V>>,
}

impl<V> Run<V> {
    fn new(losses: Vec<u32>, seconds: &[f64], last: Option<Outcome<V>>) -> Self {
        Self { losses, seconds: seconds.iter().copied().fold(f64::INFINITY, f64::min), last }
    }
}

/// Without a plan and without the runtime: forward, then backward.
fn plain(allocator: &Allocator) -> Result<Run<Values>> {
    let mut model = layers(allocator)?;
    let (mut losses, mut seconds) = (Vec::new(), Vec::new());
    for number in 0..STEPS {
        let mut batch = Batch { allocator, number, loss: 0.0 };
        let random = Random::new(1000 + number);
        let start = Instant::now();
        let input = batch.input()?;
        let mut stored = Vec::new();
        for (layer, place) in model.iter().zip(1..) {
            let last = stored.last().and_then(|saved| layer.output(saved)).unwrap_or(&input);
            stored.push(layer.forward_saving(last, random.fork(place))?);
        }
        let mut gradient: Option<Values> = None;
        for place in (0..model.len()).rev() {
            let layer = &mut model[place];
            let saved = stored.pop().ok_or("as many are stored as there are layers")?;
            let output = layer.output(&saved).ok_or("the output is saved")?;
            let above = match gradient {
                Some(gradient) => gradient,
                None => batch.loss_gradient(output)?,
            };
            let below = stored.last().and_then(|saved| layer.output(saved)).unwrap_or(&input);
            let below = below.try_clone()?;
            gradient =
                Some(layer.backward(&below, &saved, &above, random.fork(place as u64 + 1))?);
        }
        seconds.extend((number > 0).then(|| start.elapsed().as_secs_f64()));
        model.iter_mut().try_for_each(Layer::descend)?;
        losses.push(batch.loss.to_bits());
    }
    Ok(Run::new(losses, &seconds, None))
}

/// The same steps by a plan.
fn train<O: Moves<Layer> + Clone>(
    allocator: &Allocator,
    chain: &Chain,
    budget: Bytes,
    planning: Planning<O>,
) -> Result<Run<Values>> {
    let mut model = layers(allocator)?;
    let meter = AllocatorMeter::new(allocator);
    let mut training = ClosedLoop::with_planning(&model, chain.clone(), budget, meter, planning)?;
    let (mut losses, mut seconds, mut last) = (Vec::new(), Vec::new(), None);
    for number in 0..STEPS {
        let mut batch = Batch { allocator, number, loss: 0.0 };
        let start = Instant::now();
        let outcome = training.step(&mut model, &mut batch, Random::new(1000 + number))?;
        seconds.extend((number > 0).then(|| start.elapsed().as_secs_f64()));
        for replan in &outcome.replans {
            println!("  {replan}");
        }
        last = Some(outcome);
        model.iter_mut().try_for_each(Layer::descend)?;
        losses.push(batch.loss.to_bits());
    }
    Ok(Run::new(losses, &seconds, last))
}

/// Prints a run, and fails if it is not what was predicted.
fn line(chain: &Chain, budget: Bytes, run: &Run<Values>, plain: &Run<Values>) -> Result<()> {
    let Outcome { report, plan, .. } = run.last.as_ref().ok_or("there were steps")?;
    let layers = chain.layers().len();
    let of = |is: fn(&Operation) -> bool| plan.operations.iter().filter(|&op| is(op)).count();
    let again = of(|operation| operation.is_forward()) - layers;
    let offloaded = of(|operation| matches!(operation, Operation::Offload { .. }));
    let is_same = run.losses == plain.losses;
    println!(
        "{:>10}  {:>22}  {:>10}  {:>10}  {:>7.2} %  {:>5.1} % {:>5.1} %  {}",
        budget.to_string(),
        format!("{}/{again}/{offloaded}", layers - again.min(layers) - offloaded),
        report.predicted.to_string(),
        report.measured.to_string(),
        100.0 * report.deviation(),
        100.0 * plan.extra_time().max(0.0) / plan.ideal_time,
        100.0 * (run.seconds / plain.seconds - 1.0),
        if is_same { "the same bits" } else { "DIFFERENT" },
    );
    if !is_same {
        return Err("a plan must not change any number".into());
    }
    if report.deviation().abs() > TOLERANCE {
        return Err(format!("more than {:.0} % off: {report}", 100.0 * TOLERANCE).into());
    }
    Ok(())
}

/// A device that holds half of what the loop is told.
fn heal(chain: &Chain, all: Bytes, plain: &Run<Values>) -> Result<()> {
    let capacity = Bytes::new(all.get() / 2).align_up(Bytes::mib(2));
    println!("A device of {capacity} beside the parameters, and a budget of {all}:");
    let parameters = {
        let roomy = allocator(Bytes::gib(1))?;
        let _model = layers(&roomy)?;
        AllocatorMeter::new(&roomy).in_use().align_up(Bytes::mib(2))
    };
    let small = allocator(capacity + parameters)?;
    let run = train(&small, chain, all, Planning::optimal())?;
    line(chain, all, &run, plain)
}
