//! [`Fake`]: loads the driver into a test, and steers it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, io};

use libloading::Library;

use crate::control::Name;

const FILE: &str = "libfreeboard_fake_cuda.so";

/// How many things the driver holds for its callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Live {
    /// Whole allocations on devices.
    pub allocations: usize,
    /// Allocations of pinned host memory.
    pub pinned: usize,
    /// Reserved ranges of addresses.
    pub reservations: usize,
    /// Mappings in them.
    pub mappings: usize,
    /// Handles of physical memory that are not released.
    pub handles: usize,
    /// Events.
    pub events: usize,
    /// Streams, without the default ones.
    pub streams: usize,
    /// Modules of kernels.
    pub modules: usize,
    /// How often primary contexts are held.
    pub contexts: u64,
    /// Bytes of device memory in use.
    pub used: u64,
}

/// A loaded copy of the fake driver. It stays loaded: dropping this deletes the copy's file, no more.
///
/// A shared library must have been built beside the test, as Cargo does for a dev-dependency.
#[derive(Debug)]
pub struct Fake {
    library: &'static Library,
    path: PathBuf,
    copy: bool,
}

fn text(name: &str) -> Name {
    Name { start: name.as_ptr(), length: name.len() }
}

/// The shared library, beside this executable or in the `deps` folder near it.
fn built() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let folders = program.ancestors().skip(1).take(3);
    let mut places = folders.flat_map(|folder| [folder.join(FILE), folder.join("deps").join(FILE)]);
    places.find(|place| place.exists()).ok_or_else(|| {
        let words = format!("no {FILE} near {}: build the package first", program.display());
        io::Error::new(io::ErrorKind::NotFound, words)
    })
}

/// Changes the last letter of a name wherever it stands as a whole C string.
fn rename(image: &mut [u8], name: &str) -> io::Result<()> {
    let wanted = [b"\0", name.as_bytes(), b"\0"].concat();
    let mut found = false;
    for at in 0..image.len().saturating_sub(wanted.len()) {
        if image[at..].starts_with(&wanted) {
            image[at + name.len()] = b'-';
            found = true;
        }
    }
    if found { Ok(()) } else { Err(io::Error::new(io::ErrorKind::NotFound, name.to_owned())) }
}

impl Fake {
    /// A copy of the driver with a state of its own.
    ///
    /// # Errors
    /// When the shared library was not built, or cannot be copied or loaded.
    pub fn load() -> io::Result<Self> {
        Self::without(&[])
    }

    /// A copy that lacks some of the driver's functions, as an older driver does.
    ///
    /// # Errors
    /// As [`load`](Self::load), and when there is no such function.
    pub fn without(functions: &[&str]) -> io::Result<Self> {
        static COPIES: AtomicU32 = AtomicU32::new(0);
        let built = built()?;
        let mut image = fs::read(&built)?;
        // Only the shared one answers to the driver's name.
        rename(&mut image, "libcuda.so")?;
        for function in functions {
            rename(&mut image, function)?;
        }
        let number = COPIES.fetch_add(1, Ordering::Relaxed);
        let name = format!("freeboard-fake-cuda-{}-{number}.so", std::process::id());
        let path = built.with_file_name(name); // where libraries may be loaded from
        fs::write(&path, image)?;
        Self::open(path, true)
    }

    /// The one driver of this process that answers to the name `libcuda.so`, so that other
    /// libraries find it, too. Tests that use it take turns.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn shared() -> io::Result<&'static Self> {
        static SHARED: OnceLock<Fake> = OnceLock::new();
        if let Some(shared) = SHARED.get() {
            return Ok(shared);
        }
        let loaded = Self::open(built()?, false)?;
        Ok(SHARED.get_or_init(|| loaded))
    }

    fn open(path: PathBuf, copy: bool) -> io::Result<Self> {
        // SAFETY: loading the library runs nothing but the standard library's own start.
        let library = unsafe { Library::new(&path) }.map_err(io::Error::other)?;
        Ok(Self { library: Box::leak(Box::new(library)), path, copy })
    }

    /// Where the library lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if self.copy {
            drop(fs::remove_file(&self.path)); // a leftover beside the tests harms nobody
        }
    }
}

macro_rules! control {
    ($($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty as $raw:ty = $convert:expr),*)
        -> $result:ty = $symbol:literal;)*) => {
        impl Fake {
            $(
                $(#[$meta])*
                ///
                /// # Panics
                /// When the library is not this package's.
                $visibility fn $name(&self, $($argument: $type),*) -> $result {
                    // SAFETY: `control.rs`, compiled with this file, gives the symbol this type.
                    let call = unsafe {
                        self.library.get::<extern "C" fn($($raw),*) -> $result>($symbol)
                    };
                    call.expect("the fake driver is built with its client")($($convert),*)
                }
            )*
        }
    };
}

control! {
    /// How often a driver function was called.
    pub fn calls(name: &str as Name = text(name)) -> u64 = b"freeboard_fake_calls\0";
    /// Starts counting calls anew.
    pub fn reset_counters() -> () = b"freeboard_fake_reset_counters\0";
    /// Makes the `nth` call from now on of a driver function (1: the next) and the `times - 1` calls
    /// after it fail with `code`, without doing anything.
    pub fn fail(
        name: &str as Name = text(name), nth: u64 as u64 = nth, code: u32 as u32 = code, times: u64 as u64 = times
    ) -> () = b"freeboard_fake_fail\0";
    /// Drops all plans to fail.
    pub fn clear_failures() -> () = b"freeboard_fake_clear_failures\0";
    /// How many calls failed by plan since the plans were last dropped.
    pub fn failures_hit() -> u64 = b"freeboard_fake_failures_hit\0";
    /// How many bytes each device has; 16 GiB, or `FREEBOARD_FAKE_CUDA_MIB`.
    pub fn set_capacity(bytes: u64 as u64 = bytes) -> () = b"freeboard_fake_set_capacity\0";
    /// How many devices there are, up to 64; one, or `FREEBOARD_FAKE_CUDA_DEVICES`.
    pub fn set_devices(count: usize as usize = count) -> () = b"freeboard_fake_set_devices\0";
    /// Whether devices can reach each other's memory; they can.
    pub fn set_peers(can: bool as bool = can) -> () = b"freeboard_fake_set_peers\0";
    /// Changes an attribute of a device.
    pub fn set_attribute(
        device: i32 as i32 = device, attribute: i32 as i32 = attribute, value: i32 as i32 = value
    ) -> () = b"freeboard_fake_set_attribute\0";
    /// Holds a stream back (`true`): events recorded on it are not done until somebody waits for
    /// them, or it is let go (`false`). Tells whether there is such a stream.
    pub fn hold(stream: usize as usize = stream, held: bool as bool = held) -> bool = b"freeboard_fake_hold\0";
    /// Begins (`true`) or ends the capture of a stream into a graph. Tells whether there is such a
    /// stream.
    pub fn capture(stream: usize as usize = stream, on: bool as bool = on) -> bool = b"freeboard_fake_capture\0";
    /// What the driver holds for its callers.
    pub fn live() -> Live = b"freeboard_fake_live\0";
    fn ask(name: Name as Name = name) -> u64 = b"freeboard_fake_calls\0";
    fn plan(
        name: Name as Name = name, nth: u64 as u64 = nth, code: u32 as u32 = code, times: u64 as u64 = times
    ) -> () = b"freeboard_fake_fail\0";
}

const ANY: Name = Name { start: std::ptr::null(), length: 0 };

impl Fake {
    /// How many driver calls there were.
    #[must_use]
    pub fn total_calls(&self) -> u64 {
        self.ask(ANY)
    }

    /// As [`fail`](Self::fail), counting calls of every function.
    pub fn fail_any(&self, nth: u64, code: u32, times: u64) {
        self.plan(ANY, nth, code, times);
    }
}
