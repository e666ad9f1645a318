//! [`Unavailable`]: why there is no device to be had, and what to do about it.

use std::fmt::Write as _;
use std::path::PathBuf;

use freeboard_device::DeviceError;

use crate::code::Reason;

/// Why a driver or a device cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// No driver library was found.
    #[error(
        "no CUDA driver: none of {} can be loaded ({reason}). Install NVIDIA's driver (in a \
         container: start it with --gpus all), or name its library in FREEBOARD_CUDA_LIBRARY",
        list(tried)
    )]
    NoLibrary {
        /// The libraries asked for, in order.
        tried: Vec<PathBuf>,
        /// What the loader said.
        reason: String,
    },
    /// The library lacks a function that is needed.
    #[error(
        "{} has no function {symbol}: it is no CUDA driver, or an old one. Use driver 525 \
         (CUDA 12.0) or later",
        library.display()
    )]
    MissingSymbol {
        /// The driver's name of the function.
        symbol: &'static str,
        /// Where it was looked for.
        library: PathBuf,
    },
    /// The driver is there and does not start.
    #[error("the CUDA driver does not start: {call} answers {reason}")]
    Start {
        /// The driver's name of the call.
        call: &'static str,
        /// Its answer.
        reason: Reason,
    },
    /// There are fewer devices.
    #[error(
        "there is no device {ordinal}: the driver shows {count}. Ordinals begin at 0; \
         CUDA_VISIBLE_DEVICES may hide devices"
    )]
    NoSuchDevice {
        /// The device asked for.
        ordinal: u32,
        /// How many there are.
        count: u32,
    },
    /// The device cannot map pages where one wants them.
    #[error(
        "device {ordinal} ({name}) has no virtual memory management. Use another GPU; in a virtual \
         machine, one that is passed through whole"
    )]
    NoVirtualMemory {
        /// The device.
        ordinal: u32,
        /// What it is called.
        name: String,
    },
    /// The device cannot share memory with other processes.
    #[error(
        "device {ordinal} cannot export memory as file descriptors. Leave CudaOptions::exportable off"
    )]
    NoSharing {
        /// The device.
        ordinal: u32,
    },
    /// Another device cannot reach this one's memory.
    #[error(
        "device {peer} cannot reach the memory of device {ordinal}. Take it out of \
         CudaOptions::peers, or check `nvidia-smi topo -p2p r`"
    )]
    NoPeer {
        /// The device.
        ordinal: u32,
        /// The one that was to reach it.
        peer: u32,
    },
    /// Two parts of the program use different contexts, so that neither's memory works in the other.
    #[error(
        "cudarc's context of device {ordinal} is not the primary one of {}. Make it with \
         CudaContext::new, and let both use one driver library: check FREEBOARD_CUDA_LIBRARY and \
         LD_LIBRARY_PATH",
        library.display()
    )]
    OtherContext {
        /// The device.
        ordinal: u32,
        /// The driver library that this crate uses.
        library: PathBuf,
    },
    /// cudarc would not find a driver, or not all of it.
    #[error(
        "cudarc cannot use the CUDA driver: {reason}. It looks for libcuda.so and libcuda.so.1; \
         put the folder of {} into LD_LIBRARY_PATH",
        library.display()
    )]
    NoCudarc {
        /// What it lacks.
        reason: String,
        /// The driver library that this crate uses.
        library: PathBuf,
    },
    /// A call failed while the device was being set up.
    #[error("the device cannot be set up: {0}")]
    Device(#[from] DeviceError),
}

fn list(places: &[PathBuf]) -> String {
    let mut text = String::new();
    for (index, place) in places.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}{}", place.display());
    }
    text
}
