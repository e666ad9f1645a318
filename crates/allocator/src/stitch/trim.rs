//! Mappings are kept for reuse, within a budget; the longest asleep go first.

use freeboard_device::{Device, DeviceError};
use freeboard_units::{Address, AddressRange};

use super::mappings::Number;
use crate::state::State;

impl<D: Device> State<D> {
    /// Unmaps slots that have slept longest while there are more than the budget allows. Only such
    /// as no stream can still touch: beyond twice the budget, streams are waited for. Errors leave the
    /// mapping for another time.
    pub(super) fn trim(&mut self) {
        let budget = self.stitch.policy.budget(self.stitch.mappings.handles());
        if self.stitch.mappings.mapped() <= budget || self.is_capturing() {
            return;
        }
        let keep = budget / 10 * 9;
        // Streams that fall far behind must not let mappings grow without end.
        if self.stitch.mappings.mapped() > 2 * budget {
            self.stitch.counts.host_waits += 1;
            if let Err(error) = self.wait_until_quiet() {
                tracing::warn!(%error, "streams could not be waited for");
            }
        }
        if let Err(error) = self.trim_to(keep.max(self.stitch.mappings.handles())) {
            tracing::warn!(%error, "mappings beyond the budget stay for now");
        }
    }

    fn trim_to(&mut self, keep: usize) -> Result<(), DeviceError> {
        let excess = |state: &Self| state.stitch.mappings.mapped().saturating_sub(keep);
        let mut asleep = self.stitch.mappings.asleep(self.stitch.orders.quiet);
        if asleep.len() < excess(self) && self.is_quiet(self.stitch.orders.tick)? {
            asleep = self.stitch.mappings.asleep(self.stitch.orders.quiet);
        }
        asleep.sort_unstable();
        for (_, at, number) in asleep.into_iter().take(excess(self)) {
            self.unmap_slot(number, at)?;
        }
        Ok(())
    }

    /// Unmaps one slot.
    pub(super) fn unmap_slot(&mut self, number: Number, at: Address) -> Result<(), DeviceError> {
        let size = self.stitch.mappings.get(number).size;
        self.unmap(AddressRange::new(at, size))?;
        self.stitch.mappings.remove_slot(at);
        Ok(())
    }

    /// Unmaps a handle from all its slots, last from where it is awake.
    pub(super) fn unmap_everywhere(&mut self, number: Number) -> Result<(), DeviceError> {
        let physical = self.stitch.mappings.get(number);
        let awake = physical.awake;
        let asleep: Vec<Address> =
            physical.slots.iter().copied().filter(|&at| at != awake).collect();
        for at in asleep.into_iter().chain([awake]) {
            self.unmap_slot(number, at)?;
        }
        Ok(())
    }
}
