//! Kernels: plain functions that get what a GPU's kernel would.

use freeboard_device::{Compute, Grid, Kernel, Module, Result};
use freeboard_units::StreamId;

use crate::work::Work;
use crate::{HostDevice, Streams};

const CALL: &str = "cuLaunchKernel";

impl Compute for HostDevice {
    fn sees_process_memory(&self) -> bool {
        true
    }

    /// Does nothing: the host's kernels are part of the program.
    fn load(&self, _module: &'static Module) -> Result<()> {
        Ok(())
    }

    unsafe fn launch(
        &self,
        kernel: &'static Kernel,
        _grid: Grid,
        parameter: &[u64],
        stream: StreamId,
    ) -> Result<()> {
        match self.0.kind {
            Streams::Threads => {
                self.0.put(CALL, stream, Work::Kernel { kernel, parameter: parameter.into() })
            }
            // The parameter stays where it is: nothing is copied, nothing allocated.
            Streams::Caller => {
                self.0.ground.failure.check()?;
                let stream = self.0.stream(CALL, stream)?;
                stream.run(|| self.0.ground.kernel(kernel, parameter));
                Ok(())
            }
        }
    }
}
