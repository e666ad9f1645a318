//! [`CudaDevice`]: how it comes to be, and what it holds.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;

use cudarc::driver::CudaContext;
use freeboard_units::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::abi::{Access, AllocationProperties, MINIMUM, attribute};
use crate::books::Books;
use crate::compute::Modules;
use crate::context::Context;
use crate::driver::Driver;
use crate::order::Events;
use crate::streams::Streams;
use crate::survey::{ask_attribute, ask_count, ask_name};
use crate::unavailable::Unavailable;

/// How a device is to be used. The default: by itself, memory not shared, the system's driver.
#[derive(Clone, Debug, Default)]
pub struct CudaOptions {
    /// Other devices, by ordinal, that may read and write the memory mapped here; none.
    pub peers: Vec<u32>,
    /// Whether physical memory can be given to other processes
    /// ([`CudaDevice::export`]); no.
    pub exportable: bool,
    /// The driver library; [`Driver::get`] where there is none.
    pub driver: Option<&'static Driver>,
}

/// A GPU, through its primary context, which it shares with everything else in the process.
///
/// Clones are the same device. It may be used from any thread, and leaves the thread's current
/// context as it was. What is left of its events and streams is given back when the last clone
/// goes.
///
/// ```
/// use freeboard_device::Memory;
/// use freeboard_device_cuda::CudaDevice;
///
/// match CudaDevice::new(0) {
///     Ok(device) => println!("{:?}", device.info()?),
///     Err(reason) => println!("no GPU: {reason}"), // says what to do about it
/// }
/// # Ok::<(), freeboard_device::DeviceError>(())
/// ```
#[derive(Clone)]
pub struct CudaDevice {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) ordinal: u32,
    pub(crate) granularity: Bytes,
    pub(crate) properties: AllocationProperties,
    /// This device first.
    pub(crate) access: Vec<Access>,
    pub(crate) exportable: bool,
    pub(crate) books: Mutex<Books>,
    pub(crate) streams: RwLock<Streams>,
    pub(crate) events: RwLock<Events>,
    pub(crate) modules: RwLock<Modules>,
    pub(crate) cudarc: OnceLock<Arc<CudaContext>>,
    /// Last, so that it is released after everything else is gone.
    pub(crate) context: Context,
}

impl CudaDevice {
    /// The device with this ordinal, counted from 0 as the driver does.
    ///
    /// # Errors
    /// When there is no driver or no such device, with advice.
    pub fn new(ordinal: u32) -> Result<Self, Unavailable> {
        Self::with_options(ordinal, CudaOptions::default())
    }

    /// The same, used as `options` say.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when the device cannot do what they ask.
    pub fn with_options(ordinal: u32, options: CudaOptions) -> Result<Self, Unavailable> {
        let driver = match options.driver {
            Some(driver) => driver,
            None => Driver::get()?,
        };
        let device = find(driver, ordinal)?;
        if ask_attribute(driver, device, attribute::VIRTUAL_MEMORY)? == 0 {
            let name = ask_name(driver, device)?;
            return Err(Unavailable::NoVirtualMemory { ordinal, name });
        }
        if options.exportable && ask_attribute(driver, device, attribute::FILE_DESCRIPTORS)? == 0 {
            return Err(Unavailable::NoSharing { ordinal });
        }
        let mut access = vec![Access::full(device)];
        for peer in BTreeSet::from_iter(options.peers) {
            if peer != ordinal {
                access.push(Access::full(find_peer(driver, (ordinal, device), peer)?));
            }
        }
        let properties = AllocationProperties::new(device, options.exportable);
        let mut granularity = 0;
        // SAFETY: both pointers are to locals of the right types.
        let code =
            unsafe { (driver.granularity)(&raw mut granularity, &raw const properties, MINIMUM) };
        driver.start_up("cuMemGetAllocationGranularity", code)?;
        let granularity = Bytes::new(granularity.max(1) as u64);
        let inner = Inner {
            ordinal,
            granularity,
            properties,
            access,
            exportable: options.exportable,
            books: Mutex::new(Books::new(granularity)),
            streams: RwLock::default(),
            events: RwLock::default(),
            modules: RwLock::default(),
            cudarc: OnceLock::new(),
            context: Context::retain(driver, device)?,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The driver it is used through.
    #[must_use]
    pub fn driver(&self) -> &'static Driver {
        self.inner.context.driver
    }
}

impl Inner {
    pub(crate) fn driver(&self) -> &'static Driver {
        self.context.driver
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let entered = self.context.enter_relaxed();
        if let Err(error) = &entered {
            tracing::warn!(%error, "a CUDA device goes without its context");
        }
        self.unload_modules();
        self.destroy_events();
        self.destroy_streams();
    }
}

impl fmt::Debug for CudaDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CudaDevice")
            .field("ordinal", &self.inner.ordinal)
            .field("driver", &self.driver().path())
            .finish_non_exhaustive()
    }
}

/// The driver's number of a device.
fn find(driver: &Driver, ordinal: u32) -> Result<i32, Unavailable> {
    let count = ask_count(driver)?;
    let asked = i32::try_from(ordinal).ok().filter(|_| ordinal < count);
    let asked = asked.ok_or(Unavailable::NoSuchDevice { ordinal, count })?;
    let mut device = 0;
    // SAFETY: `device` may be written.
    let code = unsafe { (driver.device_get)(&raw mut device, asked) };
    driver.start_up("cuDeviceGet", code)?;
    Ok(device)
}

/// The driver's number of a device that can reach this one.
fn find_peer(
    driver: &Driver,
    (ordinal, device): (u32, i32),
    peer: u32,
) -> Result<i32, Unavailable> {
    let other = find(driver, peer)?;
    let mut can = 0;
    // SAFETY: `can` may be written.
    let code = unsafe { (driver.can_access_peer)(&raw mut can, other, device) };
    driver.start_up("cuDeviceCanAccessPeer", code)?;
    if can == 0 { Err(Unavailable::NoPeer { ordinal, peer }) } else { Ok(other) }
}
