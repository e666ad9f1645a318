//! A libnvidia-ml of made-up devices, for the tests of `freeboard devices`.
//!
//! `FREEBOARD_FAKE_NVML` names the scenario (`scenario.rs` lists them); `FREEBOARD_FAKE_NVML_PID` is
//! the process that holds memory in it. Only what the command asks for is there; the list of
//! processes under MPS is left out, as an old driver would.
#![deny(unsafe_code)]

mod device;
mod exports;
mod scenario;
