//! One contract, every device: the same checks on the simulated device, on this machine's memory,
//! and on CUDA.
//!
//! A GPU that is not there is reported as ignored, with the reason; with `REQUIRE_GPU=1` in the
//! environment that is a failure, and the fake driver may be missing instead.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unsafe_code, reason = "the contract's transfers take bare addresses; the checks own them")]

mod allocator;
mod check;
mod memory;
mod order;
mod painter;
mod streams;
mod transfer;

use std::process::ExitCode;
use std::sync::Arc;

use freeboard::device_cuda::{CudaOptions, Driver};
use freeboard::device_host::{HostConfig, Streams};
use freeboard::{Bytes, CudaDevice, HostDevice, SimDevice};
use freeboard_fake_cuda::Fake;
use libtest_mimic::{Arguments, Trial};

use check::{Check, trials};

/// What simulated and host devices have to give.
const CAPACITY: Bytes = Bytes::gib(1);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut all: Vec<Trial> = Vec::new();
    all.extend(trials("sim", simulated, [memory::checks(), order::checks()].concat()));
    all.extend(trials("host", host, complete()));
    all.extend(trials("caller", caller, complete()));
    match Fake::load() {
        Ok(_) => all.extend(trials("fake", fake, complete())),
        // The fake stays behind when the tests are carried to a GPU.
        Err(reason) => all.push(missing("fake", reason.to_string(), !gpu_required())),
    }
    match CudaDevice::new(0) {
        Ok(_) => all.extend(trials("cuda", cuda, complete())),
        Err(reason) => all.push(missing("cuda", reason.to_string(), gpu_required())),
    }
    libtest_mimic::run(&arguments, all).exit_code()
}

/// All that a device with bytes and real streams promises.
fn complete<D: check::Full>() -> Vec<Check<D>> {
    let order = [order::checks(), streams::checks()].concat();
    [memory::checks(), order, transfer::checks(), allocator::checks()].concat()
}

fn simulated() -> Arc<SimDevice> {
    Arc::new(SimDevice::new(CAPACITY))
}

/// This machine's memory, with work done by whoever puts it on a stream.
fn caller() -> HostDevice {
    let config = HostConfig { streams: Streams::Caller, ..HostConfig::new(CAPACITY) };
    HostDevice::with_config(config).unwrap()
}

fn host() -> HostDevice {
    HostDevice::new(CAPACITY).unwrap()
}

/// The true CUDA device over a driver that has this machine's memory behind it.
fn fake() -> CudaDevice {
    let fake = Fake::load().unwrap();
    fake.set_capacity(CAPACITY.get());
    // SAFETY: the fake is a driver with the same functions.
    let driver = Some(unsafe { Driver::open(fake.path()) }.unwrap());
    CudaDevice::with_options(0, CudaOptions { driver, ..CudaOptions::default() }).unwrap()
}

fn cuda() -> CudaDevice {
    CudaDevice::new(0).unwrap()
}

fn gpu_required() -> bool {
    std::env::var_os("REQUIRE_GPU").is_some_and(|value| value == "1")
}

/// Stands for the tests of a device that is not there.
fn missing(device: &str, reason: String, required: bool) -> Trial {
    let name = format!("{device}: {reason}");
    Trial::test(name, move || Err(reason.into())).with_ignored_flag(!required)
}
