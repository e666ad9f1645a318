//! Memory in one piece for a plan.

use freeboard_device::Device;
use freeboard_units::{AddressRange, Bytes};

use super::Found;
use super::survey::{Thoroughness, Usable};
use crate::block::BlockId;
use crate::error::Error;
use crate::free_list::Key;
use crate::policy::placement::PAGE;
use crate::policy::stitching::Means;
use crate::request::Request;
use crate::state::State;

impl<D: Device> State<D> {
    /// How large a region for a plan may be now.
    pub(crate) fn room_for_region(&mut self) -> Bytes {
        let room = self.means_for_region().capacity.saturating_sub(self.held).align_down(PAGE);
        // The size decides on the pool: what is out of reach of either is out of the question.
        [1, 2].map(|pool| self.reach(pool, Usable::All)).into_iter().min().unwrap_or_default()
            + room
    }

    /// A block in no list. What is held grows at most a little beyond the reserve target for it.
    pub(crate) fn find_region(&mut self, request: &Request) -> Result<Option<BlockId>, Error> {
        let list = self.pools[usize::from(request.pool)].list(request.stream);
        let fit = list.and_then(|list| list.at_least(Key::from_size(request.size)));
        let found = if let Some(fit) = fit {
            let at = self.blocks[fit.entry.block].address;
            self.take(fit.entry.block, AddressRange::new(at, request.size))
        } else {
            let whole = self.whole_handles(Thoroughness::Quick, self.usable(request));
            match self.open_window(request, &whole)? {
                Found::Nothing => {
                    let means = self.means_for_region();
                    self.extend_within(request, &whole, means, false)?
                }
                found => found,
            }
        };
        Ok(if let Found::Block(block) = found { Some(block) } else { None })
    }

    fn means_for_region(&mut self) -> Means {
        let means = self.means(Bytes::ZERO);
        let most = self.stitch.policy.room_for_plans(means).max(self.held);
        Means { capacity: means.capacity.min(most), ..means }
    }
}
