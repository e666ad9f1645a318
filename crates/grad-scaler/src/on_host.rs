//! [`GradScaler::on_host`]: a scaler for tensors in this process's memory.

use std::sync::Arc;

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_buffer::BufferError;
use freeboard_device_host::{HostConfig, HostDevice, Streams};
use freeboard_units::{Bytes, StreamId};

use crate::{GradScaler, ScalerConfig, ScalerError};

/// Plenty for a scaler's numbers and those of thousands of optimizers.
const CAPACITY: Bytes = Bytes::mib(64);

impl GradScaler<HostDevice> {
    /// A scaler for slices, which works in the calling thread (and helpers, where there is much to
    /// do) and has everything done when a call returns.
    ///
    /// # Errors
    /// When the configuration makes no sense, or the system gives no memory.
    pub fn on_host(config: ScalerConfig) -> Result<Self, ScalerError> {
        let host = HostConfig { streams: Streams::Caller, ..HostConfig::new(CAPACITY) };
        let device = HostDevice::with_config(host)?;
        let allocator = CachingAllocator::new(device, Config::pytorch());
        Self::new(&Arc::new(allocator.map_err(BufferError::from)?), StreamId::DEFAULT, config)
    }
}
