//! [`optimal`]: the least time within a budget in bytes.

use freeboard_units::Bytes;

use super::costs::Costs;
use super::exact;
use super::grid::Grid;
use super::group::Groups;
use super::least::Least;
use super::periodic::{keep_all, planned};
use crate::{Chain, Plan};

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No plan fits.
    #[error(
        "no plan fits in {budget} ({} bytes): the least is {minimum} ({} bytes); raise the budget, or \
         make the batch smaller", budget.get(), minimum.get()
    )]
    BudgetBelowMinimum {
        /// What was given.
        budget: Bytes,
        /// The least budget in which the chain can be processed.
        minimum: Bytes,
    },
    /// Planning takes time and memory that grow with the cube and the square of the layers.
    #[error(
        "{layers} layers are more than the {most} this planner takes; group layers into blocks"
    )]
    TooManyLayers {
        /// How many there are.
        layers: usize,
        /// How many are allowed.
        most: usize,
    },
}

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Memory slots of the first, discretised pass. Default 500. No more than 2^30 over the square of
    /// the layers are used: the tables take up to 2 bytes for each.
    pub slots: usize,
    /// Up to how many layers are planned one by one; more in groups of equally many, unless little is
    /// run again: then one by one is no more work than for so many. Default 500.
    pub single_layers: usize,
    /// Up to how many layers an exact pass follows. Default 100: it takes some tenths of a second.
    pub exact_layers: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { slots: 500, single_layers: 500, exact_layers: 100 }
    }
}

/// What is known about how good a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// No persistent plan within the budget takes less time.
    Exact,
    /// No persistent plan within this smaller budget takes less time.
    NoneBetterWithin(Bytes),
    /// Nothing: layers were planned in groups, or there are too many for so few slots.
    Unknown,
}

/// A plan, and what is known about how good it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimal {
    /// The plan.
    pub plan: Plan,
    /// How good it is.
    pub proof: Proof,
}

/// Corners that the exact pass may look at before it is given up, some seconds at worst.
const EXACT_WORK: u64 = 200_000_000;

/// What may have to be looked at for so many layers, as [`Costs::work`] counts.
const fn work_of(layers: usize) -> u64 {
    (layers as u64).saturating_pow(3) / 2
}

/// Slots times layers times layers, at most: some 2 GiB of tables.
const TABLE: usize = 1 << 30;

/// The most layers: beyond, a plan takes minutes.
const MOST_LAYERS: usize = 2_000;

/// The plan of least time whose peak is within `budget`, among persistent plans: what is stored stays
/// until its backward pass has used it.
///
/// Rotor's dynamic programme (Beaumont, Eyraud-Dubois, Herrmann, Joly and Shilova, RR-9302): of every
/// stretch of layers either the first saves its whole history, or only its input is kept and the
/// stretch is run again later. First over 500 memory slots; the plan found there bounds an exact pass
/// over bytes. Only where that would take too long is the first plan given: [`optimal_with`] tells.
///
/// # Errors
/// [`PlanError::BudgetBelowMinimum`] says the least budget. [`PlanError::TooManyLayers`] over 2,000.
///
/// ```
/// use freeboard_checkpoint::{Chain, Layer, keep_all, optimal};
/// use freeboard_units::Bytes;
///
/// let layer = Layer { output_bytes: Bytes::kib(4), saved_bytes: Bytes::kib(40), ..Layer::new("block", 1.0, 2.0) };
/// let chain = Chain::new(Bytes::kib(4), vec![layer; 24])?;
/// let all = keep_all(&chain);
/// let half = optimal(&chain, Bytes::new(all.peak_bytes.get() / 2))?;
/// assert!(half.peak_bytes <= Bytes::new(all.peak_bytes.get() / 2));
/// assert_eq!(half.extra_time(), 13.0); // 13 of 24 layers run forward twice
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn optimal(chain: &Chain, budget: Bytes) -> Result<Plan, PlanError> {
    optimal_with(chain, budget, Effort::default()).map(|optimal| optimal.plan)
}

/// As [`optimal`], with the effort given and what is proven said.
///
/// # Errors
/// As [`optimal`].
pub fn optimal_with(chain: &Chain, budget: Bytes, effort: Effort) -> Result<Optimal, PlanError> {
    let all = keep_all(chain);
    if all.peak_bytes <= budget {
        return Ok(Optimal { plan: all, proof: Proof::Exact });
    }
    let (costs, least) = tables(chain)?;
    let input = chain.input_bytes();
    let minimum = Bytes::new(least.room(1, costs.layers)) + input;
    if budget < minimum {
        return Err(PlanError::BudgetBelowMinimum { budget, minimum });
    }
    let room = (budget - input).get();
    let mut plan = planned(chain, least.operations());
    // Groups find a plan in no time, and what it costs spares smaller ones most of their work.
    let single = effort.single_layers.max(1);
    let enough = costs.layers.div_ceil(single);
    let mut size = enough.saturating_mul(4);
    let slots = loop {
        let layers = costs.layers.div_ceil(size);
        let slots = effort.slots.clamp(1, TABLE / (layers * layers));
        let found = discretised(chain, size, budget, slots, plan.extra_time());
        let is_found = found.is_some();
        plan = found.map_or(plan.clone(), |found| better(plan, found));
        let is_much = costs.work(plan.extra_time()) > work_of(single);
        if size == 1 || (size <= enough && is_found && is_much) {
            break slots;
        }
        size /= 2;
    };
    let bound = plan.extra_time() * (1.0 + 1e-12);
    let tried = (costs.layers <= effort.exact_layers).then_some(EXACT_WORK);
    let Some(found) = tried.and_then(|work| exact::solve(&costs, room, bound, work)) else {
        let lost = 2 * (costs.layers as u64 + 1) * room.div_ceil(slots as u64);
        let within = budget.saturating_sub(Bytes::new(lost));
        let is_known = size == 1 && !within.is_zero();
        let proof = if is_known { Proof::NoneBetterWithin(within) } else { Proof::Unknown };
        return Ok(Optimal { plan, proof });
    };
    Ok(Optimal { plan: better(plan, planned(chain, found)), proof: Proof::Exact })
}

/// The plan of least time that the slots find within `budget`, and below `bound` extra, for groups of
/// `size` layers.
fn discretised(
    chain: &Chain,
    size: usize,
    budget: Bytes,
    slots: usize,
    bound: f64,
) -> Option<Plan> {
    let groups = Groups::new(chain, size)?;
    let costs = Costs::new(&groups.chain);
    let room = (budget - chain.input_bytes()).get();
    // Rounding may make a plan look larger than it is: some slots more than there are.
    let more = slots / 50 + 1;
    let unit = room.div_ceil(slots as u64).max(1);
    let grid = Grid::new(&costs, room + more as u64 * unit, slots + more, bound);
    let mut slot = grid.slots();
    loop {
        let plan = planned(chain, groups.expanded(&grid.operations(slot)?));
        if plan.peak_bytes <= budget {
            return Some(plan);
        }
        let excess = (plan.peak_bytes - budget).get() / grid.unit() / 2;
        slot = slot.checked_sub(usize::try_from(excess).unwrap_or(usize::MAX).max(1))?;
    }
}

/// The least budget in which the chain can be processed, exactly.
///
/// # Errors
/// [`PlanError::TooManyLayers`] over 2,000 layers.
pub fn least_bytes(chain: &Chain) -> Result<Bytes, PlanError> {
    let (costs, least) = tables(chain)?;
    Ok(Bytes::new(least.room(1, costs.layers)) + chain.input_bytes())
}

fn tables(chain: &Chain) -> Result<(Costs, Least), PlanError> {
    let layers = chain.layers().len();
    if layers > MOST_LAYERS {
        return Err(PlanError::TooManyLayers { layers, most: MOST_LAYERS });
    }
    let costs = Costs::new(chain);
    let least = Least::new(&costs);
    Ok((costs, least))
}

fn better(first: Plan, second: Plan) -> Plan {
    if second.total_time < first.total_time { second } else { first }
}
