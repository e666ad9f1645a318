//! One context for this crate and for cudarc.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cudarc::driver::CudaContext;
use libloading::Library;

use crate::{CudaDevice, CudaOptions, Unavailable};

/// Where cudarc looks first, and where it finds the driver on systems without the development
/// link.
const NAMES: [&str; 2] = ["libcuda.so", "libcuda.so.1"];
/// What cudarc calls to make and drop a context; it panics where one of them is missing.
const NEEDED: [&str; 7] = [
    "cuInit",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
];

impl CudaDevice {
    /// The device of a cudarc context: both use the same primary context, so that addresses,
    /// streams and events work in both.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when the context is not the primary one of the same driver.
    pub fn from_cudarc(context: &Arc<CudaContext>) -> Result<Self, Unavailable> {
        Self::from_cudarc_with(context, CudaOptions::default())
    }

    /// The same, used as `options` say.
    ///
    /// # Errors
    /// As [`from_cudarc`](Self::from_cudarc), and when the device cannot do what they ask.
    pub fn from_cudarc_with(
        context: &Arc<CudaContext>,
        options: CudaOptions,
    ) -> Result<Self, Unavailable> {
        let ordinal = u32::try_from(context.ordinal()).unwrap_or(u32::MAX);
        let device = Self::with_options(ordinal, options)?;
        device.same(context)?;
        Ok(device.keep(context))
    }

    /// The device as cudarc has it: with the same primary context.
    ///
    /// # Errors
    /// When cudarc would not find the driver, or would find another one.
    pub fn cudarc(&self) -> Result<Arc<CudaContext>, Unavailable> {
        if let Some(context) = self.inner.cudarc.get() {
            return Ok(Arc::clone(context));
        }
        let library = self.driver().path().to_owned();
        let lacks = |reason| Unavailable::NoCudarc { reason, library: library.clone() };
        // Held until cudarc has opened it, too.
        let _found = find().map_err(lacks)?;
        let ordinal = usize::try_from(self.inner.ordinal).unwrap_or(usize::MAX);
        let made = catch_unwind(AssertUnwindSafe(|| CudaContext::new(ordinal)));
        let context = match made {
            Ok(Ok(context)) => context,
            Ok(Err(error)) => return Err(lacks(error.to_string())),
            Err(_) => return Err(lacks("it panicked".to_owned())),
        };
        self.same(&context)?;
        Ok(Arc::clone(self.inner.cudarc.get_or_init(|| context)))
    }

    fn keep(self, context: &Arc<CudaContext>) -> Self {
        let _ = self.inner.cudarc.set(Arc::clone(context)); // a new device has none yet
        self
    }

    fn same(&self, context: &Arc<CudaContext>) -> Result<(), Unavailable> {
        if context.cu_ctx().addr() == self.inner.context.handle {
            return Ok(());
        }
        Err(Unavailable::OtherContext {
            ordinal: self.inner.ordinal,
            library: self.driver().path().to_owned(),
        })
    }
}

/// The library that cudarc is going to find, with all that it needs.
fn find() -> Result<Library, String> {
    // SAFETY: the driver's library may be loaded by anyone; its start-up code is its own.
    let open = |name: &&str| unsafe { Library::new(*name) }.ok();
    let library = NAMES.iter().find_map(open).ok_or("it finds no library")?;
    for symbol in NEEDED {
        // SAFETY: the address is only looked at, not called.
        let found = unsafe { library.get::<*const ()>(symbol.as_bytes()) };
        found.map_err(|_| format!("its library has no function {symbol}"))?;
    }
    Ok(library)
}
