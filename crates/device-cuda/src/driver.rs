//! [`Driver`]: the functions of `libcuda`, loaded at run time; absence is an answer.

use std::error::Error as _;
use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::{env, fmt, ptr};

use freeboard_device::{DeviceError, Result};
use freeboard_units::Bytes;
use libloading::Library;
use parking_lot::Mutex;

use crate::abi::{Access, AllocationProperties};
use crate::code::{INVALID_HANDLE, INVALID_VALUE, OUT_OF_MEMORY, Reason};
use crate::unavailable::Unavailable;

/// The environment variable that names another driver library than the system's.
pub const ENVIRONMENT: &str = "FREEBOARD_CUDA_LIBRARY";

/// Where the driver is, by the names that the loader knows.
const NAMES: [&str; 2] = ["libcuda.so.1", "libcuda.so"];

macro_rules! table {
    (
        required { $($name:ident: $symbol:literal fn($($argument:ty),*);)* }
        optional { $($extra:ident: $extra_symbol:literal fn($($extra_argument:ty),*);)* }
    ) => {
        /// The driver's functions. Contexts, streams and events are bare words: only the driver
        /// looks behind them.
        pub struct Driver {
            path: PathBuf,
            version: i32,
            $(pub(crate) $name: unsafe extern "C" fn($($argument),*) -> u32,)*
            $(pub(crate) $extra: Option<unsafe extern "C" fn($($extra_argument),*) -> u32>,)*
        }

        impl Driver {
            /// Finds every function of the table, without calling any.
            fn find(library: &Library, path: PathBuf) -> std::result::Result<Self, Unavailable> {
                Ok(Self {
                    $($name: {
                        // SAFETY: the driver documents this type for this name, and the library
                        // stays loaded wherever the table does.
                        let found = unsafe { library.get(concat!($symbol, "\0").as_bytes()) };
                        *found.map_err(|_| Unavailable::MissingSymbol {
                            symbol: $symbol,
                            library: path.clone(),
                        })?
                    },)*
                    $($extra: {
                        // SAFETY: as above.
                        let found = unsafe { library.get(concat!($extra_symbol, "\0").as_bytes()) };
                        found.ok().map(|found| *found)
                    },)*
                    path,
                    version: 0,
                })
            }
        }
    };
}

table! {
    required {
        init: "cuInit" fn(u32);
        driver_version: "cuDriverGetVersion" fn(*mut i32);
        device_count: "cuDeviceGetCount" fn(*mut i32);
        device_get: "cuDeviceGet" fn(*mut i32, i32);
        device_name: "cuDeviceGetName" fn(*mut c_char, i32, i32);
        device_bus_id: "cuDeviceGetPCIBusId" fn(*mut c_char, i32, i32);
        device_attribute: "cuDeviceGetAttribute" fn(*mut i32, i32, i32);
        device_total: "cuDeviceTotalMem_v2" fn(*mut usize, i32);
        can_access_peer: "cuDeviceCanAccessPeer" fn(*mut i32, i32, i32);
        primary_retain: "cuDevicePrimaryCtxRetain" fn(*mut usize, i32);
        primary_release: "cuDevicePrimaryCtxRelease_v2" fn(i32);
        context_current: "cuCtxGetCurrent" fn(*mut usize);
        context_push: "cuCtxPushCurrent_v2" fn(usize);
        context_pop: "cuCtxPopCurrent_v2" fn(*mut usize);
        capture_mode: "cuThreadExchangeStreamCaptureMode" fn(*mut i32);
        mem_info: "cuMemGetInfo_v2" fn(*mut usize, *mut usize);
        mem_alloc: "cuMemAlloc_v2" fn(*mut u64, usize);
        mem_free: "cuMemFree_v2" fn(u64);
        host_alloc: "cuMemHostAlloc" fn(*mut *mut u8, usize, u32);
        host_free: "cuMemFreeHost" fn(*mut u8);
        granularity: "cuMemGetAllocationGranularity" fn(*mut usize, *const AllocationProperties, i32);
        address_reserve: "cuMemAddressReserve" fn(*mut u64, usize, usize, u64, u64);
        address_free: "cuMemAddressFree" fn(u64, usize);
        mem_create: "cuMemCreate" fn(*mut u64, usize, *const AllocationProperties, u64);
        mem_release: "cuMemRelease" fn(u64);
        mem_map: "cuMemMap" fn(u64, usize, usize, u64, u64);
        mem_unmap: "cuMemUnmap" fn(u64, usize);
        set_access: "cuMemSetAccess" fn(u64, usize, *const Access, usize);
        mem_export: "cuMemExportToShareableHandle" fn(*mut i32, u64, i32, u64);
        mem_import: "cuMemImportFromShareableHandle" fn(*mut u64, usize, i32);
        stream_create: "cuStreamCreate" fn(*mut usize, u32);
        stream_destroy: "cuStreamDestroy_v2" fn(usize);
        stream_synchronize: "cuStreamSynchronize" fn(usize);
        stream_wait: "cuStreamWaitEvent" fn(usize, usize, u32);
        stream_capturing: "cuStreamIsCapturing" fn(usize, *mut i32);
        event_create: "cuEventCreate" fn(*mut usize, u32);
        event_destroy: "cuEventDestroy_v2" fn(usize);
        event_record: "cuEventRecord" fn(usize, usize);
        event_query: "cuEventQuery" fn(usize);
        event_synchronize: "cuEventSynchronize" fn(usize);
        upload: "cuMemcpyHtoDAsync_v2" fn(u64, *const u8, usize, usize);
        download: "cuMemcpyDtoHAsync_v2" fn(*mut u8, u64, usize, usize);
        copy: "cuMemcpyDtoDAsync_v2" fn(u64, u64, usize, usize);
        module_load: "cuModuleLoadData" fn(*mut usize, *const u8);
        module_unload: "cuModuleUnload" fn(usize);
        module_function: "cuModuleGetFunction" fn(*mut usize, usize, *const c_char);
        launch: "cuLaunchKernel" fn(usize, u32, u32, u32, u32, u32, u32, u32, usize, *const *const u8, *const *const u8);
        fill_u8: "cuMemsetD8Async" fn(u64, u8, usize, usize);
        fill_u16: "cuMemsetD16Async" fn(u64, u16, usize, usize);
        fill_u32: "cuMemsetD32Async" fn(u64, u32, usize, usize);
    }
    optional {
        device_uuid: "cuDeviceGetUuid_v2" fn(*mut [u8; 16], i32);
        device_uuid_v1: "cuDeviceGetUuid" fn(*mut [u8; 16], i32);
        stream_id: "cuStreamGetId" fn(usize, *mut u64);
        event_elapsed: "cuEventElapsedTime" fn(*mut f32, usize, usize);
        error_name: "cuGetErrorName" fn(u32, *mut *const c_char);
        error_text: "cuGetErrorString" fn(u32, *mut *const c_char);
    }
}

impl Driver {
    /// The system's driver, started; the one that [`ENVIRONMENT`] names, if it does.
    ///
    /// It is loaded once. A failure is not remembered: it may be mended while the program runs.
    ///
    /// # Errors
    /// When there is no driver, or it is too old, or does not start.
    pub fn get() -> std::result::Result<&'static Self, Unavailable> {
        static FOUND: Mutex<Option<&'static Driver>> = Mutex::new(None);
        let mut found = FOUND.lock();
        if let Some(driver) = *found {
            return Ok(driver);
        }
        let named = env::var_os(ENVIRONMENT).filter(|name| !name.is_empty());
        let driver = match named {
            Some(name) => Self::load(&[PathBuf::from(name)])?,
            None => Self::load(&NAMES.map(PathBuf::from))?,
        };
        *found = Some(driver);
        Ok(driver)
    }

    /// The driver in this library, started. It stays loaded until the process ends.
    ///
    /// # Safety
    /// The library is NVIDIA's, or a stand-in with the same functions and meanings; or it is none of
    /// that, and lacks a function.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub unsafe fn open(
        library: impl AsRef<Path>,
    ) -> std::result::Result<&'static Self, Unavailable> {
        Self::load(&[library.as_ref().to_owned()])
    }

    fn load(places: &[PathBuf]) -> std::result::Result<&'static Self, Unavailable> {
        let mut reasons = Vec::new();
        for place in places {
            // SAFETY: the driver's library may be loaded by anyone; its start-up code is its own.
            match unsafe { Library::new(place) } {
                Ok(library) => return Self::start(library, place.clone()),
                // What the system said is behind what the library calls it.
                Err(error) => reasons.push(match error.source() {
                    Some(source) => source.to_string(),
                    None => error.to_string(),
                }),
            }
        }
        Err(Unavailable::NoLibrary { tried: places.to_vec(), reason: reasons.join("; ") })
    }

    fn start(library: Library, path: PathBuf) -> std::result::Result<&'static Self, Unavailable> {
        let mut driver = Self::find(&library, path)?;
        // From here on the driver may have threads of its own: it must stay.
        Box::leak(Box::new(library));
        // SAFETY: a function without requirements; zero is the only flag there is.
        let code = unsafe { (driver.init)(0) };
        driver.start_up("cuInit", code)?;
        let mut version = 0;
        // SAFETY: `version` may be written.
        let code = unsafe { (driver.driver_version)(&raw mut version) };
        driver.start_up("cuDriverGetVersion", code)?;
        driver.version = version;
        tracing::debug!(library = %driver.path.display(), version, "the CUDA driver is loaded");
        Ok(Box::leak(Box::new(driver)))
    }

    /// Which library it is, as it was asked for.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The CUDA version it supports: 12040 is 12.4.
    #[must_use]
    pub const fn version(&self) -> i32 {
        self.version
    }

    /// What a code means: in the driver's words, else in ours.
    #[must_use]
    pub fn reason(&self, code: u32) -> Reason {
        let ask = |function: Option<unsafe extern "C" fn(u32, *mut *const c_char) -> u32>| {
            let mut words = ptr::null();
            // SAFETY: `words` may be written.
            let answer = unsafe { function?(code, &raw mut words) };
            if answer != 0 || words.is_null() {
                return None;
            }
            // SAFETY: the driver said that it gave a string, and its strings last as long as it does.
            let words = unsafe { CStr::from_ptr(words) };
            Some(words.to_string_lossy().into_owned())
        };
        Reason::new(code, ask(self.error_name), ask(self.error_text))
    }

    pub(crate) fn start_up(
        &self,
        call: &'static str,
        code: u32,
    ) -> std::result::Result<(), Unavailable> {
        match code {
            0 => Ok(()),
            _ => Err(Unavailable::Start { call, reason: self.reason(code) }),
        }
    }

    /// The outcome of a call whose arguments are all ours.
    pub(crate) fn check(&self, call: &'static str, code: u32) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        Err(DeviceError::Driver { call, code, message: self.reason(code).words() })
    }

    /// The outcome of a call that may be refused because of what our caller passed.
    pub(crate) fn check_given(&self, call: &'static str, code: u32) -> Result<()> {
        match code {
            INVALID_VALUE | INVALID_HANDLE => {
                let reason = self.reason(code).to_string();
                Err(DeviceError::InvalidCall { call, reason })
            }
            _ => self.check(call, code),
        }
    }

    /// The outcome of a call that takes memory.
    pub(crate) fn check_memory(&self, call: &'static str, code: u32, size: Bytes) -> Result<()> {
        match code {
            OUT_OF_MEMORY => Err(DeviceError::OutOfMemory { call, size }),
            _ => self.check_given(call, code),
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("path", &self.path)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
