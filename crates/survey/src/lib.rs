//! What the GPUs of this machine say of themselves: memory and who holds it, health, the driver.
//!
//! [`Source::open`] finds who can be asked: NVML, which comes with NVIDIA's driver, or else the CUDA
//! driver, or else nobody. [`Source::survey`] asks. The answer is plain data ([`Survey`]): what a driver
//! does not tell is `None`, and where there is no device there is a reason and what to do about it.
//! Both libraries are loaded at run time; none is needed to build.
//!
//! The variable `FREEBOARD_NVML_LIBRARY` names another file than `libnvidia-ml.so.1`; empty, NVML is
//! not asked. `FREEBOARD_CUDA_LIBRARY` names another driver than `libcuda.so.1`.
//!
//! ```
//! use freeboard_survey::Source;
//!
//! let survey = Source::open(false)?.survey()?;
//! for device in &survey.devices {
//!     println!("{:?}: {:?}, usable: {}", device.name, device.memory, device.usable);
//! }
//! if let (Some(reason), Some(advice)) = (&survey.reason, &survey.advice) {
//!     println!("no devices: {reason}; {advice}");
//! }
//! # Ok::<(), freeboard_survey::SurveyError>(())
//! ```
#![forbid(unsafe_code)]

mod driver;
mod error;
mod nvml;
mod process;
mod report;
mod source;
mod verdict;

pub use error::SurveyError;
pub use report::{
    ComputeMode, DeviceReport, Ecc, ErrorCounts, Fault, Health, MemoryUse, Mig, MigInstance,
    ProcessUse, Recovery, RemappedRows, RetiredPages, Survey, Utilisation,
};
pub use source::Source;
pub use verdict::Problem;
