//! One contract, every device: the same checks on the simulated device, on this machine's memory,
//! and on CUDA.
//!
//! A device that is not there is reported as ignored, with the reason; with `REQUIRE_GPU=1` in the
//! environment it is a failure.

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

use freeboard::device_host::HostDevice;
use freeboard::{Bytes, SimDevice};
use libtest_mimic::{Arguments, Trial};

use check::{Check, trials};

/// What simulated and host devices have to give.
const CAPACITY: Bytes = Bytes::gib(1);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut all: Vec<Trial> = Vec::new();
    all.extend(trials("sim", simulated, [memory::checks(), order::checks()].concat()));
    all.extend(trials("host", host, complete()));
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

fn host() -> HostDevice {
    HostDevice::new(CAPACITY).unwrap()
}
