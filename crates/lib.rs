//! Freeboard: a native memory library for training runs.
//!
//! *Freeboard* is the height of a ship's side above the water: the margin before she goes under.
//! Here it is the device memory a training run still has.
//!
//! | module | what for |
//! |---|---|
//! | [`allocator`] | a caching device allocator with `PyTorch`'s policies, exactly, and better ones |
//! | `budget` | a training step within a budget in bytes: measured, planned, run, verified, tightened when memory runs out (feature `checkpointing`, on by default) |
//! | [`buffer`] | typed buffers over it, and pinned host memory for transfers |
//! | `checkpoint` | what a step keeps, recomputes or offloads: planners, and running their plans (feature `checkpointing`) |
//! | [`device`] | what a device must do: four small traits |
//! | [`device_cuda`] | a device made of a GPU; its driver is found at run time |
//! | [`device_host`] | a device made of this machine's memory, with streams that run |
//! | [`device_sim`] | a device made of arithmetic, for tests and for replays without a GPU |
//! | `grad_scaler` | mixed precision: a gradient scaler as `PyTorch`'s and more, casting rules, FP8 (feature `mixed-precision`, on by default) |
//! | `offload` | activations, parameters and optimizer state in host memory, copied beside the computation (feature `checkpointing`) |
//! | [`packing`] | buffers with known lifetimes into the smallest range of addresses |
//! | [`replay`] | allocation traces and workloads, run under any policy (feature `replay`, on by default) |
//! | [`snapshot`] | what memory looked like and what had happened to it, as plain data |
//! | [`units`] | sizes, addresses and streams as types |
//! | `watch` | what a training loop needs around the allocator: a log of memory, growth and headroom checks, a bundle when it runs out (feature `watch`, on by default) |
//!
//! ```
//! use freeboard::{Bytes, CachingAllocator, Config, SimDevice, StreamId};
//!
//! let allocator = CachingAllocator::new(SimDevice::new(Bytes::gib(8)), Config::default())?;
//! let weights = allocator.allocate(Bytes::mib(64), StreamId::DEFAULT)?;
//! let activations = allocator.allocate(Bytes::mib(200), StreamId::DEFAULT)?;
//! drop(activations); // back to the cache: the next step gets it without asking the driver
//!
//! let stats = allocator.stats();
//! assert_eq!(stats.allocated_bytes.all.current, weights.size().as_i64());
//! # Ok::<(), freeboard::Error>(())
//! ```
#![forbid(unsafe_code)]

pub use freeboard_allocator as allocator;
#[cfg(feature = "checkpointing")]
pub use freeboard_budget as budget;
pub use freeboard_buffer as buffer;
#[cfg(feature = "checkpointing")]
pub use freeboard_checkpoint as checkpoint;
pub use freeboard_device as device;
pub use freeboard_device_cuda as device_cuda;
pub use freeboard_device_host as device_host;
pub use freeboard_device_sim as device_sim;
#[cfg(feature = "mixed-precision")]
pub use freeboard_grad_scaler as grad_scaler;
#[cfg(feature = "checkpointing")]
pub use freeboard_offload as offload;
pub use freeboard_packing as packing;
#[cfg(feature = "replay")]
pub use freeboard_replay as replay;
pub use freeboard_snapshot as snapshot;
pub use freeboard_units as units;
#[cfg(feature = "watch")]
pub use freeboard_watch as watch;

pub use freeboard_allocator::{Allocation, CachingAllocator, Config, Error, OutOfMemory, Stats};
pub use freeboard_buffer::{DeviceBuffer, PinnedAllocator};
pub use freeboard_device::Device;
pub use freeboard_device_cuda::CudaDevice;
pub use freeboard_device_host::HostDevice;
pub use freeboard_device_sim::SimDevice;
#[cfg(feature = "mixed-precision")]
pub use freeboard_grad_scaler::{GradScaler, ScalerConfig};
pub use freeboard_units::{Address, Bytes, StreamId};
