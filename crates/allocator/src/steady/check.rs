//! The invariants of planning: places lie in their region, and no two that are in use share a byte.

use freeboard_device::Device;
use freeboard_units::AddressRange;

use crate::block::{Block, BlockState, PLANNED};
use crate::check::{Broken, ensure};
use crate::state::State;

impl<D: Device> State<D> {
    pub(crate) fn check_plan(&self) -> Result<(), Broken> {
        let region = self.steady.region.as_ref();
        let engaged =
            self.steady.server.as_ref().is_some_and(freeboard_planning::Server::is_engaged);
        ensure!(region.is_some() == engaged, "a region without a plan, or the reverse");
        let places = || self.blocks.iter().filter(|(_, block)| block.expandable == PLANNED);
        let Some(region) = region else {
            ensure!(places().next().is_none(), "places without a plan");
            return Ok(());
        };
        let whole = &self.blocks[region.block];
        ensure!(whole.state == BlockState::Plan, "the region serves other requests");
        let in_use = |block: &Block| block.state != BlockState::Plan;
        let mut used: Vec<AddressRange> = Vec::new();
        for (id, block) in places() {
            ensure!(whole.range().covers(block.range()), "{id:?} lies outside its region");
            let entry = usize::try_from(block.place).unwrap_or(usize::MAX);
            ensure!(region.places.get(entry) == Some(&id), "{id:?} is another entry's place");
            if in_use(block) {
                used.push(block.range());
            }
        }
        used.sort_unstable_by_key(|range| range.start());
        for pair in used.windows(2) {
            ensure!(
                pair[0].end() <= pair[1].start(),
                "two planned blocks share {}",
                pair[1].start()
            );
        }
        Ok(())
    }
}
