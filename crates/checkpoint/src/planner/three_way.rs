//! [`three_way`]: keep, recompute or offload.
//!
//! What is idle longest is worth offloading first: what is stored early in the forward pass. So the
//! optimal plans without a link for larger budgets than the one given are taken, and of each the
//! earliest stored values go to the host until the plan fits: copied out beside the computation as soon
//! as they are stored, forgotten as late as the budget allows, fetched as early as it allows. What
//! waiting that costs is found by running the plan ([`check`](crate::check)); the fastest is taken. So
//! the result is a plan that runs, never slower than without a link; it is not proven to be the best.

use freeboard_units::Bytes;

use super::optimal::{Effort, PlanError, optimal_with};
use super::periodic::keep_all;
use super::schedule::offloaded;
use crate::{Chain, Link, Plan};

/// How many larger budgets are tried.
const BUDGETS: u64 = 12;

/// The fastest plan found within `budget` when values may also move to the host and back over `link`.
///
/// Where `link` is not usable, this is [`optimal_with`].
///
/// # Errors
/// As [`optimal_with`]; a budget below what plans without offloading need is no error where offloading
/// helps.
///
/// ```
/// use freeboard_checkpoint::{Chain, Effort, Layer, Link, optimal, three_way};
/// use freeboard_units::Bytes;
///
/// let layer = Layer { output_bytes: Bytes::mib(8), saved_bytes: Bytes::mib(100), ..Layer::new("block", 4e-3, 8e-3) };
/// let chain = Chain::new(Bytes::mib(8), vec![layer; 24])?;
/// let budget = Bytes::mib(1200);
/// let without = optimal(&chain, budget)?;
/// let with = three_way(&chain, budget, Link::new(24e9), Effort::default())?;
/// assert!(with.extra_time() < without.extra_time() / 4.0 && with.peak_bytes <= budget);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn three_way(
    chain: &Chain,
    budget: Bytes,
    link: Link,
    effort: Effort,
) -> Result<Plan, PlanError> {
    let without = optimal_with(chain, budget, effort).map(|optimal| optimal.plan);
    if let Err(PlanError::TooManyLayers { .. }) = &without {
        return without;
    }
    if !link.is_usable() || without.as_ref().is_ok_and(|plan| plan.extra_time() <= 0.0) {
        return without;
    }
    let most = keep_all(chain).peak_bytes;
    let mut best = without;
    for step in 1..=BUDGETS {
        let more = u128::from((most.saturating_sub(budget)).get()) * u128::from(step);
        let larger = u64::try_from(more / u128::from(BUDGETS)).unwrap_or(0);
        let Ok(base) = optimal_with(chain, budget.saturating_add(Bytes::new(larger)), effort)
        else {
            continue;
        };
        let slower = |plan: &Plan| base.plan.total_time >= plan.total_time;
        if best.as_ref().is_ok_and(slower) {
            continue;
        }
        if let Some(plan) = offloaded(chain, &base.plan.operations, budget, link)
            && best.as_ref().map_or(true, |best| plan.total_time < best.total_time)
        {
            best = Ok(plan);
        }
    }
    best
}
