//! [`Planning`]: how plans are made.

use std::fmt;

use freeboard_checkpoint::{Chain, Effort, Link, Plan, PlanError, Stay, optimal, three_way};
use freeboard_units::Bytes;

type Planner = dyn FnMut(&Chain, Bytes) -> Result<Plan, PlanError> + Send;

/// How plans are made, and what moves values to the host for them.
pub struct Planning<O = Stay> {
    pub(super) offload: O,
    pub(super) planner: Box<Planner>,
}

impl Planning {
    /// [`optimal`] plans, which keep and recompute. The default.
    #[must_use]
    pub fn optimal() -> Self {
        Self::new(Stay, optimal)
    }
}

impl<O> Planning<O> {
    /// Plans of [`three_way`], which keep, recompute and move values with `offload`, such as
    /// `&mover`. The link is in bytes per second, as
    /// [`measure_link`](freeboard_offload::measure_link) tells it.
    pub fn three_way(offload: O, link: Link) -> Self {
        Self::new(offload, move |chain, budget| three_way(chain, budget, link, Effort::default()))
    }

    /// Plans of any planner for a chain and a budget.
    pub fn new(
        offload: O,
        planner: impl FnMut(&Chain, Bytes) -> Result<Plan, PlanError> + Send + 'static,
    ) -> Self {
        Self { offload, planner: Box::new(planner) }
    }
}

impl<O> fmt::Debug for Planning<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planning").finish_non_exhaustive()
    }
}
