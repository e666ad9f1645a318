//! [`Compute`] of a GPU: modules are loaded once, kernels found by name and launched.

use std::ffi::CString;
use std::ptr;

use freeboard_device::{Compute, DeviceError, Grid, Kernel, Module, Result};
use freeboard_units::StreamId;

use crate::CudaDevice;
use crate::device::Inner;

const LOAD: &str = "cuModuleLoadData";
const FIND: &str = "cuModuleGetFunction";
const LAUNCH: &str = "cuLaunchKernel";

/// What of our modules the driver has loaded. Few, so that searching is a comparison or two.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    /// Each with the driver's handle.
    loaded: Vec<(&'static Module, usize)>,
    /// Each with the driver's handle.
    functions: Vec<(&'static Kernel, usize)>,
}

impl Inner {
    /// The driver's handle of a kernel, whose module is loaded if need be.
    fn function(&self, kernel: &'static Kernel) -> Result<usize> {
        let known = |modules: &Modules| {
            let found = modules.functions.iter().find(|(known, _)| ptr::eq(*known, kernel));
            found.map(|&(_, handle)| handle)
        };
        if let Some(handle) = known(&self.modules.read()) {
            return Ok(handle);
        }
        let module = self.module(kernel.module)?;
        let name = text(FIND, kernel.name)?;
        let mut handle = 0;
        // SAFETY: the module is loaded until the device goes, the name ends with a zero, and
        // `handle` may be written.
        let code =
            unsafe { (self.driver().module_function)(&raw mut handle, module, name.as_ptr()) };
        self.driver().check(FIND, code)?;
        self.modules.write().functions.push((kernel, handle));
        Ok(handle)
    }

    fn module(&self, module: &'static Module) -> Result<usize> {
        // Held while the driver compiles, so that it does so once.
        let mut modules = self.modules.write();
        if let Some((_, handle)) = modules.loaded.iter().find(|(known, _)| ptr::eq(*known, module))
        {
            return Ok(*handle);
        }
        let image = text(LOAD, module.ptx)?;
        let mut handle = 0;
        // SAFETY: the text ends with a zero, and `handle` may be written.
        let code =
            unsafe { (self.driver().module_load)(&raw mut handle, image.as_ptr().cast::<u8>()) };
        self.driver().check(LOAD, code)?;
        modules.loaded.push((module, handle));
        Ok(handle)
    }

    /// Gives the modules back; the context is current.
    pub(crate) fn unload_modules(&self) {
        for (module, handle) in self.modules.write().loaded.drain(..) {
            // SAFETY: it was loaded in this context, and nobody can launch its kernels any more.
            let code = unsafe { (self.driver().module_unload)(handle) };
            if let Err(error) = self.driver().check("cuModuleUnload", code) {
                tracing::warn!(%error, module = module.name, "kernels stay loaded");
            }
        }
    }
}

fn text(call: &'static str, text: &str) -> Result<CString> {
    let reason = |_| "a name or text of a kernel holds a zero byte".to_owned();
    let text = CString::new(text).map_err(reason);
    text.map_err(|reason| DeviceError::InvalidCall { call, reason })
}

impl Compute for CudaDevice {
    fn sees_process_memory(&self) -> bool {
        false
    }

    fn load(&self, module: &'static Module) -> Result<()> {
        let _context = self.inner.context.enter_relaxed()?;
        self.inner.module(module).map(drop)
    }

    unsafe fn launch(
        &self,
        kernel: &'static Kernel,
        grid: Grid,
        parameter: &[u64],
        stream: StreamId,
    ) -> Result<()> {
        let stream = self.inner.stream(LAUNCH, stream)?;
        let _context = self.inner.context.enter()?;
        let function = self.inner.function(kernel)?;
        let parameters = [parameter.as_ptr()];
        let (blocks, threads) = (grid.blocks, grid.threads);
        // SAFETY: the function and the stream are alive; the driver copies the one parameter, which
        // the caller promises to be the kernel's.
        let code = unsafe {
            (self.driver().launch)(
                function,
                blocks,
                1,
                1,
                threads,
                1,
                1,
                0,
                stream.handle,
                parameters.as_ptr().cast(),
                ptr::null(),
            )
        };
        self.driver().check_given(LAUNCH, code)
    }
}
