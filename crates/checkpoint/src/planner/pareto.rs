//! [`pareto`]: what time a budget buys.

use freeboard_units::Bytes;

use super::optimal::{Effort, PlanError, least_bytes, optimal_with};
use super::periodic::keep_all;
use crate::{Chain, Plan};

/// The optimal plans for `points` budgets from the least that any plan needs to what keeping all needs,
/// evenly spaced; plans that are no faster than one in a smaller budget are left out.
///
/// # Errors
/// [`PlanError::TooManyLayers`], as [`optimal_with`].
pub fn pareto(chain: &Chain, points: usize, effort: Effort) -> Result<Vec<Plan>, PlanError> {
    let least = least_bytes(chain)?.get();
    let most = keep_all(chain).peak_bytes.get();
    let steps = points.saturating_sub(1).max(1) as u64;
    let mut plans: Vec<Plan> = Vec::with_capacity(points);
    for step in 0..=steps {
        let more = u128::from(most - least) * u128::from(step) / u128::from(steps);
        let budget = Bytes::new(least + u64::try_from(more).unwrap_or(0));
        let plan = optimal_with(chain, budget, effort)?.plan;
        if plans.last().is_none_or(|last| plan.total_time < last.total_time) {
            plans.push(plan);
        }
    }
    Ok(plans)
}
