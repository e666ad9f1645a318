//! Failures that are no lack of memory, though they often stand where one is looked for.

use serde::Serialize;

use super::{Found, Hit, Kind, Origin};

/// What failed instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Fault {
    /// A kernel touched memory that is not its own, or not aligned.
    IllegalAccess,
    /// A kernel's own check failed, most often an index.
    DeviceAssert,
    /// A kernel ended for a reason the driver does not name.
    LaunchFailure,
    /// A kernel wants more on-chip shared memory or registers than there are.
    KernelResources,
    /// Ranks waited for each other until the watchdog ended them.
    CollectiveTimeout,
    /// NCCL failed.
    Collective,
    /// cuBLAS or cuDNN could not begin or failed in a kernel.
    Library,
    /// The program was not built for this device, or the driver is too old.
    Build,
    /// No device, or not the one asked for.
    NoDevice,
    /// The device itself reports an error.
    Hardware,
    /// The process read or wrote where it may not.
    Segfault,
}

impl Fault {
    /// What it is and what to do, in one sentence.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::IllegalAccess => {
                "A kernel touched memory that is not its own: run with CUDA_LAUNCH_BLOCKING=1, then \
                 under compute-sanitizer, to find which."
            }
            Self::DeviceAssert => {
                "A kernel's check failed, most often an index or a label out of range: run the step \
                 on the CPU or with CUDA_LAUNCH_BLOCKING=1 to see which."
            }
            Self::LaunchFailure => {
                "A kernel ended abnormally: run with CUDA_LAUNCH_BLOCKING=1 to find it, and look for \
                 Xid lines in the kernel log."
            }
            Self::KernelResources => {
                "A kernel wants more on-chip memory than a multiprocessor has: use smaller blocks or \
                 fewer stages; device memory is not the matter."
            }
            Self::CollectiveTimeout => {
                "Ranks waited for one that never came: look for the first rank that failed or \
                 diverged, which may have run out of memory in another log."
            }
            Self::Collective => {
                "NCCL failed: run with NCCL_DEBUG=WARN and read its first warning, and the logs of \
                 the other ranks."
            }
            Self::Library => {
                "A CUDA library failed: where it could not begin, the device may be nearly full, so \
                 leave it some hundred MiB; else check versions and shapes."
            }
            Self::Build => {
                "The program was not built for this device or driver: install a build for its compute \
                 capability, or a newer driver."
            }
            Self::NoDevice => {
                "The device is missing or taken: check CUDA_VISIBLE_DEVICES, the device's number and \
                 its compute mode."
            }
            Self::Hardware => {
                "The device reports a hardware error: read the Xid lines of the kernel log and take \
                 the device out of service."
            }
            Self::Segfault => {
                "The process itself crashed: run with PYTHONFAULTHANDLER=1 to see where."
            }
        }
    }
}

/// The words, without blanks, and what they mean. The anchors in `scan.rs` lead here.
const WORDS: [(&str, Fault); 26] = [
    ("illegalmemoryaccess", Fault::IllegalAccess),
    ("ILLEGAL_ADDRESS", Fault::IllegalAccess),
    ("misalignedaddress", Fault::IllegalAccess),
    ("device-sideassert", Fault::DeviceAssert),
    ("unspecifiedlaunchfailure", Fault::LaunchFailure),
    ("LAUNCH_FAILED", Fault::LaunchFailure),
    ("outofresource:sharedmemory", Fault::KernelResources),
    ("toomanyresourcesrequestedforlaunch", Fault::KernelResources),
    ("LAUNCH_OUT_OF_RESOURCES", Fault::KernelResources),
    ("Watchdogcaughtcollectiveoperationtimeout", Fault::CollectiveTimeout),
    ("unhandledcudaerror", Fault::Collective),
    ("unhandledsystemerror", Fault::Collective),
    ("CUBLAS_STATUS_NOT_INITIALIZED", Fault::Library),
    ("CUBLAS_STATUS_EXECUTION_FAILED", Fault::Library),
    ("CUBLAS_STATUS_INTERNAL_ERROR", Fault::Library),
    ("CUDNN_STATUS_NOT_INITIALIZED", Fault::Library),
    ("CUDNN_STATUS_EXECUTION_FAILED", Fault::Library),
    ("nokernelimageisavailable", Fault::Build),
    ("driverversionisinsufficient", Fault::Build),
    ("invaliddeviceordinal", Fault::NoDevice),
    ("busyorunavailable", Fault::NoDevice),
    ("NoCUDAGPUsareavailable", Fault::NoDevice),
    ("uncorrectableECCerror", Fault::Hardware),
    ("GPUhasfallenoffthebus", Fault::Hardware),
    ("Segmentationfault", Fault::Segfault),
    ("Signal11(SIGSEGV)", Fault::Segfault),
];

pub(super) fn read(hit: &Hit<'_>) -> Option<Found> {
    let (words, what) =
        WORDS.iter().find(|(words, _)| hit.after().starts_with(words.as_bytes()))?;
    let end = hit.before().len() + words.len();
    Some(Found::new(Kind::NotMemory { what: *what }, Origin::Driver, "not memory", end))
}
