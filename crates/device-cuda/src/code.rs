//! The driver's codes, as plain data: name, meaning, advice.

use std::fmt;

pub(crate) const INVALID_VALUE: u32 = 1;
pub(crate) const OUT_OF_MEMORY: u32 = 2;
pub(crate) const INVALID_HANDLE: u32 = 400;
pub(crate) const NOT_READY: u32 = 600;

/// A code that the driver documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownCode {
    /// The number (`CUresult`).
    pub code: u32,
    /// The driver's name for it.
    pub name: &'static str,
    /// What it means.
    pub text: &'static str,
    /// What to do about it; empty where there is nothing to say.
    pub advice: &'static str,
}

/// What a code means, as far as anybody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The number. Newer drivers have numbers that are not in [`CODES`].
    pub code: u32,
    /// Its name.
    pub name: String,
    /// What it means.
    pub text: String,
    /// What to do about it, or nothing.
    pub advice: &'static str,
}

impl Reason {
    /// The driver's words where it has some, ours otherwise.
    pub(crate) fn new(code: u32, name: Option<String>, text: Option<String>) -> Self {
        let known = CODES.iter().find(|known| known.code == code);
        let ours = |word: fn(&KnownCode) -> &'static str, otherwise: &str| {
            known.map_or(otherwise, word).to_owned()
        };
        Self {
            code,
            name: name.unwrap_or_else(|| ours(|known| known.name, "an unknown code")),
            text: text.unwrap_or_else(|| ours(|known| known.text, "this crate does not know it")),
            advice: known.map_or("look it up in NVIDIA's list of CUresult", |known| known.advice),
        }
    }

    /// All but the number.
    pub(crate) fn words(&self) -> String {
        let Self { name, text, advice, .. } = self;
        if advice.is_empty() {
            format!("{name}: {text}")
        } else {
            format!("{name}: {text}; {advice}")
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.words(), self.code)
    }
}

const fn known(
    code: u32,
    name: &'static str,
    text: &'static str,
    advice: &'static str,
) -> KnownCode {
    KnownCode { code, name, text, advice }
}

/// The codes that calls of this crate may meet, in order.
#[rustfmt::skip] // one line per code
pub const CODES: &[KnownCode] = &[
    known(1, "CUDA_ERROR_INVALID_VALUE", "an argument is out of range", ""),
    known(2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory", "free memory, or use a smaller batch"),
    known(3, "CUDA_ERROR_NOT_INITIALIZED", "the driver has not been started", ""),
    known(4, "CUDA_ERROR_DEINITIALIZED", "the driver is shutting down", "use no device from destructors that run at exit"),
    known(34, "CUDA_ERROR_STUB_LIBRARY", "a stub library was loaded instead of the driver", "take the toolkit's stubs folder out of LD_LIBRARY_PATH"),
    known(36, "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER", "the call needs a newer driver", "update the NVIDIA driver"),
    known(46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "the device is busy or unavailable", "look with nvidia-smi who uses it, and for compute mode Exclusive"),
    known(47, "CUDA_ERROR_MULTICAST_RESOURCE_FULL", "no multicast resources are left", ""),
    known(100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected", "check that nvidia-smi shows one, and that CUDA_VISIBLE_DEVICES hides none"),
    known(101, "CUDA_ERROR_INVALID_DEVICE", "no such device", ""),
    known(102, "CUDA_ERROR_DEVICE_NOT_LICENSED", "the vGPU has no licence", "check the licence server"),
    known(200, "CUDA_ERROR_INVALID_IMAGE", "the kernel image is invalid", ""),
    known(201, "CUDA_ERROR_INVALID_CONTEXT", "the context is not valid", "it was destroyed or reset by another part of the program (cudaDeviceReset?)"),
    known(202, "CUDA_ERROR_CONTEXT_ALREADY_CURRENT", "the context is current already", ""),
    known(205, "CUDA_ERROR_MAP_FAILED", "mapping failed", ""),
    known(206, "CUDA_ERROR_UNMAP_FAILED", "unmapping failed", ""),
    known(208, "CUDA_ERROR_ALREADY_MAPPED", "the resource is mapped already", ""),
    known(209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image suits this GPU", "build it for this compute capability"),
    known(210, "CUDA_ERROR_ALREADY_ACQUIRED", "the resource is in use already", ""),
    known(211, "CUDA_ERROR_NOT_MAPPED", "the resource is not mapped", ""),
    known(214, "CUDA_ERROR_ECC_UNCORRECTABLE", "an uncorrectable memory error", "restart the process; if it stays, reset or replace the GPU (nvidia-smi -q -d ECC)"),
    known(216, "CUDA_ERROR_CONTEXT_ALREADY_IN_USE", "the context is in use by another thread", ""),
    known(217, "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED", "the devices cannot reach each other", "check nvidia-smi topo -p2p r"),
    known(218, "CUDA_ERROR_INVALID_PTX", "the PTX does not compile", ""),
    known(220, "CUDA_ERROR_NVLINK_UNCORRECTABLE", "an uncorrectable NVLink error", "restart the process; if it stays, check nvidia-smi nvlink -e"),
    known(221, "CUDA_ERROR_JIT_COMPILER_NOT_FOUND", "the PTX compiler library is missing", "install all of the NVIDIA driver"),
    known(222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the PTX is newer than the driver", "update the NVIDIA driver"),
    known(226, "CUDA_ERROR_CONTAINED", "a memory error that was contained", "restart the process: its memory is suspect"),
    known(227, "CUDA_ERROR_INSUFFICIENT_LOADER_VERSION", "the loader is too old", "update the NVIDIA driver"),
    known(302, "CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND", "a library lacks a symbol", "reinstall the NVIDIA driver"),
    known(303, "CUDA_ERROR_SHARED_OBJECT_INIT_FAILED", "a library does not start", "reinstall the NVIDIA driver"),
    known(304, "CUDA_ERROR_OPERATING_SYSTEM", "a call to the operating system failed", "check limits (ulimit -n, -l) and dmesg"),
    known(400, "CUDA_ERROR_INVALID_HANDLE", "a handle is not valid", "it was destroyed, or belongs to another context"),
    known(401, "CUDA_ERROR_ILLEGAL_STATE", "the resource is not in the right state", ""),
    known(500, "CUDA_ERROR_NOT_FOUND", "not found", ""),
    known(600, "CUDA_ERROR_NOT_READY", "not ready yet", ""),
    known(700, "CUDA_ERROR_ILLEGAL_ADDRESS", "a kernel accessed memory that is not its own", "run under compute-sanitizer; restart the process"),
    known(701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "a launch needs too many resources", "use fewer threads per block"),
    known(702, "CUDA_ERROR_LAUNCH_TIMEOUT", "a kernel ran too long", "the GPU also drives a display"),
    known(704, "CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED", "peer access is on already", ""),
    known(705, "CUDA_ERROR_PEER_ACCESS_NOT_ENABLED", "peer access is off", ""),
    known(708, "CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", "the primary context is in use", ""),
    known(709, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "the context was destroyed", "another part of the program reset the device"),
    known(710, "CUDA_ERROR_ASSERT", "a device-side assert failed", "restart the process"),
    known(711, "CUDA_ERROR_TOO_MANY_PEERS", "too many peers", "give fewer CudaOptions::peers"),
    known(712, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", "the host memory is pinned already", ""),
    known(713, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "the host memory is not pinned", ""),
    known(714, "CUDA_ERROR_HARDWARE_STACK_ERROR", "a kernel's stack is broken", "run under compute-sanitizer; restart the process"),
    known(715, "CUDA_ERROR_ILLEGAL_INSTRUCTION", "a kernel met an illegal instruction", "restart the process"),
    known(716, "CUDA_ERROR_MISALIGNED_ADDRESS", "a kernel accessed a misaligned address", "run under compute-sanitizer; restart the process"),
    known(717, "CUDA_ERROR_INVALID_ADDRESS_SPACE", "a kernel accessed the wrong address space", "restart the process"),
    known(718, "CUDA_ERROR_INVALID_PC", "a kernel jumped out of its code", "restart the process"),
    known(719, "CUDA_ERROR_LAUNCH_FAILED", "a kernel failed", "run under compute-sanitizer; restart the process"),
    known(720, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE", "a cooperative launch is too large", ""),
    known(721, "CUDA_ERROR_TENSOR_MEMORY_LEAK", "a kernel left tensor memory allocated", "restart the process"),
    known(800, "CUDA_ERROR_NOT_PERMITTED", "not permitted", ""),
    known(801, "CUDA_ERROR_NOT_SUPPORTED", "not supported on this system", ""),
    known(802, "CUDA_ERROR_SYSTEM_NOT_READY", "the system is not ready", "start nvidia-fabricmanager (NVSwitch machines), or wait until the driver's services run"),
    known(803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "the kernel module and the library are of different versions", "reboot after a driver update; in a container, remove its own libcuda"),
    known(804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "the compatibility library does not support this GPU", "remove cuda-compat from LD_LIBRARY_PATH, or update the NVIDIA driver"),
    known(805, "CUDA_ERROR_MPS_CONNECTION_FAILED", "no connection to the MPS server", "start nvidia-cuda-mps-control -d, or unset CUDA_MPS_PIPE_DIRECTORY"),
    known(806, "CUDA_ERROR_MPS_RPC_FAILURE", "the MPS server failed", "restart it"),
    known(807, "CUDA_ERROR_MPS_SERVER_NOT_READY", "the MPS server is not ready", "try again"),
    known(808, "CUDA_ERROR_MPS_MAX_CLIENTS_REACHED", "the MPS server has too many clients", "stop some"),
    known(809, "CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED", "the MPS server has too many connections", "stop some clients"),
    known(810, "CUDA_ERROR_MPS_CLIENT_TERMINATED", "the MPS server ended this client", "restart the process"),
    known(900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "not allowed while a stream is being captured", "do it before the capture"),
    known(901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "the capture was spoilt by an earlier call", "end it and capture again"),
    known(902, "CUDA_ERROR_STREAM_CAPTURE_MERGE", "two captures would merge", ""),
    known(903, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "the capture did not begin on this stream", ""),
    known(904, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "a forked stream was not joined", ""),
    known(905, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "a captured stream would depend on work outside of the capture", ""),
    known(906, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", "the default stream would wait for a stream being captured", "use a stream of your own"),
    known(907, "CUDA_ERROR_CAPTURED_EVENT", "the event was recorded in a capture", "use another event"),
    known(908, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", "the capture began in another thread", ""),
    known(909, "CUDA_ERROR_TIMEOUT", "the wait took too long", ""),
    known(911, "CUDA_ERROR_EXTERNAL_DEVICE", "another device or its link failed", "restart the process"),
    known(914, "CUDA_ERROR_INVALID_RESOURCE_TYPE", "the resource is of the wrong type", ""),
    known(916, "CUDA_ERROR_KEY_ROTATION", "the device's memory key must be rotated", "restart the process"),
    known(917, "CUDA_ERROR_STREAM_DETACHED", "the stream is detached", ""),
    known(919, "CUDA_ERROR_FABRIC_NOT_READY", "the NVLink fabric is not ready", "start nvidia-fabricmanager"),
    known(999, "CUDA_ERROR_UNKNOWN", "unknown", "run nvidia-smi as root once (it creates the device files), look into dmesg, reload nvidia_uvm"),
];
