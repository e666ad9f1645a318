//! The driver calls of stitching, counted and timed.
//!
//! The only place of this crate that reads a clock: each of these calls takes a thousand times longer
//! than that.

use std::time::Instant;

use freeboard_device::{Device, Handle, Result};
use freeboard_units::{AddressRange, Bytes};

use super::Stitching;
use crate::state::State;

impl<D: Device> State<D> {
    fn timed<T>(
        &mut self,
        call: impl FnOnce(&D) -> Result<T>,
        count: impl FnOnce(&mut Stitching) -> &mut u64,
    ) -> Result<T> {
        let begun = Instant::now();
        let outcome = call(&self.device);
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let counts = &mut self.stitch.counts;
        counts.driver_time_ns = counts.driver_time_ns.saturating_add(took);
        if outcome.is_ok() {
            *count(counts) += 1;
        }
        outcome
    }

    pub(super) fn create_handle(&mut self, size: Bytes) -> Result<Handle> {
        self.timed(|device| device.create(size), |counts| &mut counts.created)
    }

    pub(super) fn map(&mut self, range: AddressRange, handle: Handle) -> Result<()> {
        self.timed(|device| device.map(range, handle), |counts| &mut counts.map_calls)
    }

    pub(super) fn unmap(&mut self, range: AddressRange) -> Result<()> {
        self.timed(|device| device.unmap(range), |counts| &mut counts.unmap_calls)
    }

    pub(super) fn set_access(&mut self, range: AddressRange) -> Result<()> {
        self.timed(|device| device.set_access(range), |counts| &mut counts.access_calls)
    }

    /// Releases handles that are mapped nowhere; what cannot be is tried again later.
    pub(super) fn release_handles(&mut self, handles: impl IntoIterator<Item = Handle>) {
        for handle in handles {
            let released =
                self.timed(|device| device.release(handle), |counts| &mut counts.released);
            if let Err(error) = released {
                tracing::warn!(%error, "memory could not be given back; tried again later");
                self.stitch.counts.released += 1; // the books have given it up
                self.orphans.push(handle);
            }
        }
    }
}
