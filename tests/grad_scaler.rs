//! The gradient scaler against PyTorch's: random programs that were run through
//! `torch.amp.GradScaler`, one line after the other, on every device.
//!
//! Reads every `*.json.gz` in the folder that `FREEBOARD_VECTORS` names; `tests/data/vectors` if it
//! names none. Any NaN equals any NaN. With `REQUIRE_GPU=1` in the environment a GPU that is not
//! there is a failure; otherwise the fake driver takes its place.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "counts what is equal")]
#![allow(unsafe_code, reason = "names a driver library")]

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use flate2::read::GzDecoder;
use freeboard::device::Compute;
use freeboard::device_cuda::{CudaOptions, Driver};
use freeboard::device_host::{HostConfig, Streams};
use freeboard::grad_scaler::{
    GradScaler, Optimizer, OptimizerId, Outcome, ScalerConfig, ScalerError, StepError, Tensors,
};
use freeboard::{Bytes, CachingAllocator, Config, CudaDevice, DeviceBuffer, HostDevice, StreamId};
use freeboard_fake_cuda::Fake;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    programs: Vec<Program>,
}

#[derive(Deserialize)]
struct Program {
    config: Settings,
    optimizers: Vec<Vec<usize>>,
    ops: Vec<Op>,
}

#[derive(Deserialize)]
struct Settings {
    init_scale: f64,
    growth_factor: f64,
    backoff_factor: f64,
    growth_interval: u32,
}

/// The bits of the gradients of an optimizer, in hexadecimal.
type Gradients = Vec<Option<Vec<String>>>;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Op {
    Scale {
        value: String,
        result: String,
    },
    Grads {
        optimizer: usize,
        grads: Gradients,
    },
    Unscale {
        optimizer: usize,
        error: Option<String>,
        grads: Gradients,
    },
    Step {
        optimizer: usize,
        error: Option<String>,
        stepped: bool,
        grads: Gradients,
    },
    Update {
        new_scale: Option<f32>,
        error: Option<String>,
        scale: Option<String>,
        growth_tracker: Option<i32>,
    },
}

fn number(bits: &str) -> f32 {
    f32::from_bits(u32::from_str_radix(bits.trim_start_matches("0x"), 16).unwrap())
}

fn same(ours: f32, theirs: f32) -> bool {
    ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan()
}

/// An optimizer that changes nothing.
struct Counter<D: Compute> {
    gradients: Vec<Option<DeviceBuffer<f32, D>>>,
    runs: usize,
}

impl<D: Compute> Optimizer for Counter<D> {
    type Output = ();
    type Error = Infallible;

    fn gradients<'a>(&'a mut self, list: &mut Tensors<'a>) -> Result<(), ScalerError> {
        self.gradients.iter_mut().flatten().try_for_each(|buffer| list.push("p", buffer.view_mut()))
    }

    fn step(&mut self) -> Result<(), Infallible> {
        self.runs += 1;
        Ok(())
    }
}

/// The name that the vectors have for an error.
fn kind(error: &ScalerError) -> &'static str {
    match error {
        ScalerError::AlreadyUnscaled { .. } => "already_unscaled",
        ScalerError::UnscaleAfterStep { .. } => "unscale_after_step",
        ScalerError::AlreadyStepped { .. } => "already_stepped",
        ScalerError::NoInfChecks { .. } => "no_inf_checks",
        ScalerError::NotStarted { .. } => "scale_not_initialized",
        other => panic!("{other}"),
    }
}

struct Run<D: Compute> {
    allocator: Arc<CachingAllocator<D>>,
    stream: StreamId,
    scaler: GradScaler<D>,
    optimizers: Vec<(OptimizerId, Counter<D>)>,
}

impl<D: Compute + Send + Sync + 'static> Run<D> {
    fn new(allocator: &Arc<CachingAllocator<D>>, stream: StreamId, program: &Program) -> Self {
        let config = ScalerConfig {
            initial_scale: program.config.init_scale,
            growth_factor: program.config.growth_factor,
            backoff_factor: program.config.backoff_factor,
            growth_interval: program.config.growth_interval,
            ..ScalerConfig::default()
        };
        let mut scaler = GradScaler::new(allocator, stream, config).unwrap();
        let optimizers = program.optimizers.iter().enumerate().map(|(n, lengths)| {
            let gradients = lengths.iter().map(|_| None).collect();
            (scaler.add_optimizer(n.to_string()), Counter { gradients, runs: 0 })
        });
        let optimizers = optimizers.collect();
        Self { allocator: Arc::clone(allocator), stream, scaler, optimizers }
    }

    fn op(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::Scale { value, result } => {
                let value = [number(value)];
                let mut loss =
                    DeviceBuffer::from_slice(&self.allocator, &value, self.stream).unwrap();
                let mut outputs = Tensors::new();
                outputs.push("loss", loss.view_mut()).unwrap();
                self.scaler.scale(outputs).unwrap();
                let scaled = loss.to_vec().unwrap()[0];
                if same(scaled, number(result)) {
                    Ok(())
                } else {
                    Err(format!("{scaled} {result}"))
                }
            }
            Op::Grads { optimizer, grads } => {
                let buffers = grads.iter().map(|grad| {
                    let values: Vec<f32> = grad.as_ref()?.iter().map(|bits| number(bits)).collect();
                    Some(DeviceBuffer::from_slice(&self.allocator, &values, self.stream).unwrap())
                });
                self.optimizers[*optimizer].1.gradients = buffers.collect();
                Ok(())
            }
            Op::Unscale { optimizer, error, grads } => {
                let (id, counter) = &mut self.optimizers[*optimizer];
                let ours = self.scaler.unscale(*id, counter).err();
                check_error(ours.as_ref(), error.as_deref())?;
                self.check_gradients(*optimizer, grads)
            }
            Op::Step { optimizer, error, stepped, grads } => {
                let (id, counter) = &mut self.optimizers[*optimizer];
                let runs = counter.runs;
                let ours = self.scaler.step(*id, counter);
                let ran = counter.runs > runs;
                let says = matches!(ours, Ok(Outcome::Stepped(())));
                if ran != *stepped || says != *stepped {
                    return Err(format!("stepped: {ours:?}, ran {ran}"));
                }
                let ours = ours.err().map(|error| match error {
                    StepError::Scaler(error) => error,
                    StepError::Optimizer(never) => match never {},
                });
                check_error(ours.as_ref(), error.as_deref())?;
                self.check_gradients(*optimizer, grads)
            }
            Op::Update { new_scale, error, scale, growth_tracker } => {
                let ours = match new_scale {
                    Some(scale) => self.scaler.update_to(*scale).err(),
                    None => self.scaler.update().err(),
                };
                check_error(ours.as_ref(), error.as_deref())?;
                let (Some(scale), Some(tracker)) = (scale, growth_tracker) else { return Ok(()) };
                let stats = self.scaler.stats().unwrap();
                if same(stats.scale, number(scale)) && stats.growth_tracker == *tracker {
                    return Ok(());
                }
                Err(format!("{stats:?}, not {} and {tracker}", number(scale)))
            }
        }
    }

    fn check_gradients(&self, optimizer: usize, theirs: &Gradients) -> Result<(), String> {
        for (ours, theirs) in self.optimizers[optimizer].1.gradients.iter().zip(theirs) {
            let ours = ours.as_ref().map(|buffer| buffer.to_vec().unwrap());
            let theirs = theirs.as_ref().map(|bits| bits.iter().map(|bits| number(bits)).collect());
            let (ours, theirs): (Vec<f32>, Vec<f32>) = match (ours, theirs) {
                (None, None) => continue,
                (ours, theirs) => (ours.unwrap_or_default(), theirs.unwrap_or_default()),
            };
            let pairs = ours.iter().zip(&theirs);
            if ours.len() != theirs.len() || !pairs.clone().all(|(&a, &b)| same(a, b)) {
                return Err(format!("gradients {ours:?}, not {theirs:?}"));
            }
        }
        Ok(())
    }
}

fn check_error(ours: Option<&ScalerError>, theirs: Option<&str>) -> Result<(), String> {
    if ours.map(kind) == theirs { Ok(()) } else { Err(format!("error {ours:?}, not {theirs:?}")) }
}

fn vectors() -> Vec<(String, Vectors)> {
    let ours = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/vectors");
    let folder = std::env::var_os("FREEBOARD_VECTORS").map_or(ours, PathBuf::from);
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".json.gz") {
            let file = GzDecoder::new(fs::File::open(&path).unwrap());
            found.push((name, serde_json::from_reader(std::io::BufReader::new(file)).unwrap()));
        }
    }
    assert!(!found.is_empty(), "no *.json.gz in {}", folder.display());
    found
}

/// Runs every program of every file, and says how many went as in `PyTorch`.
fn run_all<D: Compute + Send + Sync + 'static>(device: D) {
    let stream = device.create_stream().unwrap();
    let allocator = Arc::new(CachingAllocator::new(device, Config::pytorch()).unwrap());
    for (name, vectors) in vectors() {
        let mut equal = 0;
        let mut first = None;
        for (number, program) in vectors.programs.iter().enumerate() {
            let mut run = Run::new(&allocator, stream, program);
            let wrong = program.ops.iter().enumerate().find_map(|(line, op)| {
                let error = run.op(op).err()?;
                Some(format!("{name}: program {number}, operation {line}: {error}"))
            });
            match wrong {
                None => equal += 1,
                Some(_) => first = first.or(wrong),
            }
        }
        println!("{name}: {equal} of {} programs equal", vectors.programs.len());
        assert_eq!(first, None);
    }
}

fn gpu_required() -> bool {
    std::env::var_os("REQUIRE_GPU").is_some_and(|value| value == "1")
}

#[test]
fn programs_go_as_in_pytorch_on_the_calling_thread() {
    let config = HostConfig { streams: Streams::Caller, ..HostConfig::new(Bytes::mib(64)) };
    run_all(HostDevice::with_config(config).unwrap());
}

#[test]
fn programs_go_as_in_pytorch_on_streams_that_are_threads() {
    run_all(HostDevice::new(Bytes::mib(64)).unwrap());
}

#[test]
fn programs_go_as_in_pytorch_through_the_kernels_of_a_gpu() {
    // On a machine with a GPU, on it; elsewhere the same source runs on the fake driver.
    match CudaDevice::new(0) {
        Ok(device) => return run_all(device),
        Err(reason) => assert!(!gpu_required(), "REQUIRE_GPU=1, and there is no GPU: {reason}"),
    }
    let fake = Fake::load().unwrap();
    // SAFETY: the fake driver stands in for the driver, and stays loaded.
    let driver = unsafe { Driver::open(fake.path()) }.unwrap();
    let options = CudaOptions { driver: Some(driver), ..CudaOptions::default() };
    run_all(CudaDevice::with_options(0, options).unwrap());
}
