//! [`Link`]: how fast values move between the device and the host.

use serde::{Deserialize, Serialize};

/// The link between the device and the host, as measured: bytes per unit of the chain's time.
///
/// Copies each way go one after the other, and beside the computation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Bytes per unit of time from the device to the host.
    pub to_host: f64,
    /// Bytes per unit of time from the host to the device.
    pub to_device: f64,
}

impl Link {
    /// No link: a copy never ends. For plans that do not offload.
    pub const NONE: Self = Self { to_host: 0.0, to_device: 0.0 };

    /// A link of this speed both ways.
    #[must_use]
    pub const fn new(bytes_per_time: f64) -> Self {
        Self { to_host: bytes_per_time, to_device: bytes_per_time }
    }

    /// Whether copies end both ways.
    #[must_use]
    pub fn is_usable(self) -> bool {
        let fine = |speed: f64| speed.is_finite() && speed > 0.0;
        fine(self.to_host) && fine(self.to_device)
    }
}

/// The two directions in use: when each is free again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    link: Link,
    out_free: f64,
    in_free: f64,
}

impl Links {
    pub(crate) const fn new(link: Link) -> Self {
        Self { link, out_free: 0.0, in_free: 0.0 }
    }

    /// When a copy of `bytes` to the host that is asked for at `now` is done.
    pub(crate) fn copy_out(&mut self, now: f64, bytes: u64) -> f64 {
        self.out_free = self.out_free.max(now) + duration(bytes, self.link.to_host);
        self.out_free
    }

    /// When a copy of `bytes` to the device that is asked for at `now` is done.
    pub(crate) fn copy_in(&mut self, now: f64, bytes: u64) -> f64 {
        self.in_free = self.in_free.max(now) + duration(bytes, self.link.to_device);
        self.in_free
    }
}

#[expect(clippy::cast_precision_loss, reason = "a duration needs no more than 53 bits")]
fn duration(bytes: u64, speed: f64) -> f64 {
    if bytes == 0 { 0.0 } else { bytes as f64 / speed }
}
