//! The watchers on a simulated device, and once on real memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "watch/dump.rs"]
mod dump;
#[path = "watch/headroom.rs"]
mod headroom;
#[path = "watch/log.rs"]
mod log;
#[path = "watch/stable.rs"]
mod stable;

use std::fs;
use std::path::PathBuf;

use freeboard_allocator::{Borrowed, CachingAllocator, Config};
use freeboard_device::Device;
use freeboard_device_sim::SimDevice;
use freeboard_units::{Bytes, StreamId};

/// A folder of its own for a test, gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let name = format!("freeboard-watch-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn allocator(config: Config) -> CachingAllocator<SimDevice> {
    CachingAllocator::new(SimDevice::new(Bytes::gib(1)), config).unwrap()
}

fn take<D: Device>(allocator: &CachingAllocator<D>, mib: u64) -> Borrowed<'_, D> {
    allocator.allocate(Bytes::mib(mib), StreamId::DEFAULT).unwrap()
}
