//! [`Compute`]: kernels, on whatever a device computes with.
#![expect(
    unsafe_code,
    reason = "what a kernel touches is up to its parameter, so only the caller can promise that it \
              is its own; nothing here is dereferenced"
)]

use std::sync::Arc;

use freeboard_units::StreamId;

use crate::{Result, Transfer};

/// Code for GPUs, as text that a driver compiles when it is loaded. Kernels of one module are
/// loaded together.
#[derive(Debug, PartialEq, Eq)]
pub struct Module {
    /// What errors call it.
    pub name: &'static str,
    /// PTX, as old as the oldest driver it is for.
    pub ptx: &'static str,
}

/// A function that devices run: the same one for GPUs and for the host, under one name.
///
/// It has one parameter, a plain structure of whole 8-byte words.
#[derive(Debug)]
pub struct Kernel {
    /// Its name in the module.
    pub name: &'static str,
    /// Where it is for GPUs.
    pub module: &'static Module,
    /// What it is for the host, which runs it once for the whole grid.
    ///
    /// # Safety
    /// As for [`Compute::launch`].
    pub host: unsafe fn(parameter: &[u64]),
}

/// How many threads run a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Blocks of threads, at least one.
    pub blocks: u32,
    /// Threads of a block: 1 to 1,024.
    pub threads: u32,
}

/// A device that computes on what its memory holds.
pub trait Compute: Transfer {
    /// Whether kernels can touch all memory of this process by its addresses, not only the
    /// device's own.
    fn sees_process_memory(&self) -> bool;

    /// Loads a module now, so that the first launch of its kernels need not (a GPU's driver
    /// compiles it, which takes a tenth of a second).
    ///
    /// # Errors
    /// When the driver refuses it.
    fn load(&self, module: &'static Module) -> Result<()>;

    /// Puts a kernel on a stream (`cuLaunchKernel`). The parameter is copied before this returns.
    ///
    /// # Safety
    /// The parameter is what the kernel takes; until `stream` is past this work, the memory that it
    /// names is there and the caller's to read and write as the kernel does.
    ///
    /// # Errors
    /// When there is no such stream or kernel, or the driver fails.
    unsafe fn launch(
        &self,
        kernel: &'static Kernel,
        grid: Grid,
        parameter: &[u64],
        stream: StreamId,
    ) -> Result<()>;
}

macro_rules! forward {
    ($($pointer:tt)*) => {
        impl<D: Compute + ?Sized> Compute for $($pointer)* {
            fn sees_process_memory(&self) -> bool {
                (**self).sees_process_memory()
            }
            fn load(&self, module: &'static Module) -> Result<()> {
                (**self).load(module)
            }
            unsafe fn launch(
                &self,
                kernel: &'static Kernel,
                grid: Grid,
                parameter: &[u64],
                stream: StreamId,
            ) -> Result<()> {
                // SAFETY: the caller promises to this method what the same method wants.
                unsafe { (**self).launch(kernel, grid, parameter, stream) }
            }
        }
    };
}

forward!(&D);
forward!(Arc<D>);
