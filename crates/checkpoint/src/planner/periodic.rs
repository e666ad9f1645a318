//! The planners everybody has: keep all, every k-th input, Revolve.

use super::unfold::{Choice, unfold};
use crate::{Chain, Link, Operation, Plan};

/// Every layer saves all: no recomputation, the most memory.
#[must_use]
pub fn keep_all(chain: &Chain) -> Plan {
    let layers = chain.layers().len();
    let forward = (1..=layers).map(|layer| Operation::ForwardSave { layer });
    let backward = (1..=layers).rev().map(|layer| Operation::Backward { layer });
    planned(chain, forward.chain(backward).collect())
}

/// Keeps the input of every `every`-th layer and runs the layers between a second time, all but the
/// last stretch: what Chen et al. (arXiv 1604.06174) and `torch`'s `checkpoint_sequential` do.
///
/// `every` of 0 means the square root of the number of layers, rounded up.
#[must_use]
pub fn every_kth(chain: &Chain, every: usize) -> Plan {
    let layers = chain.layers().len();
    let root = (1..=layers).find(|root| root * root >= layers).unwrap_or(1);
    let every = if every == 0 { root } else { every };
    let starts: Vec<usize> = (1..=layers).step_by(every).collect();
    stretches(chain, &starts)
}

/// `torch`'s `checkpoint_sequential`: `segments` stretches of equally many layers, the last of which
/// has what is left over and is not run twice. At least one, at most as many as there are layers.
#[must_use]
pub fn sequential(chain: &Chain, segments: usize) -> Plan {
    let layers = chain.layers().len();
    let segments = segments.clamp(1, layers);
    let size = layers / segments;
    let starts: Vec<usize> = (0..segments).map(|segment| 1 + segment * size).collect();
    stretches(chain, &starts)
}

/// Stretches that begin at these layers: all but the last keep their input only.
fn stretches(chain: &Chain, starts: &[usize]) -> Plan {
    let layers = chain.layers().len();
    let ends = starts.iter().skip(1).map(|start| start - 1).chain([layers]);
    let mut stretches: Vec<(usize, usize)> = starts.iter().copied().zip(ends).collect();
    let mut operations = Vec::with_capacity(3 * layers);
    let last = stretches.pop().unwrap_or((1, layers));
    for &(first, end) in &stretches {
        operations.push(Operation::ForwardKeep { layer: first });
        operations.extend((first + 1..=end).map(|layer| Operation::ForwardDrop { layer }));
    }
    for (first, end) in std::iter::once(last).chain(stretches.into_iter().rev()) {
        operations.extend((first..=end).map(|layer| Operation::ForwardSave { layer }));
        operations.extend((first..=end).rev().map(|layer| Operation::Backward { layer }));
    }
    planned(chain, operations)
}

/// Revolve (Griewank and Walther, ACM TOMS Algorithm 799): the fewest forward runs with at most
/// `snapshots` inputs stored at once, a(0) counted, for layers of equal cost. At least one.
///
/// ```
/// use freeboard_checkpoint::{Chain, Layer, revolve, revolve_runs};
/// use freeboard_units::Bytes;
///
/// let chain = Chain::new(Bytes::ZERO, vec![Layer::new("step", 1.0, 1.0); 35])?;
/// // Three snapshots reach C(3 + 4, 3) = 35 steps with four runs of each at most.
/// assert_eq!(revolve(&chain, 3).extra_time(), revolve_runs(35, 3) as f64);
/// assert_eq!(revolve_runs(35, 3), 4 * 35 - 35);
/// # Ok::<(), freeboard_checkpoint::ChainError>(())
/// ```
#[must_use]
pub fn revolve(chain: &Chain, snapshots: usize) -> Plan {
    let layers = chain.layers().len();
    let operations = unfold(layers, snapshots.max(1), |s, t, snapshots| {
        if snapshots == 1 {
            // Nothing more can be stored: run forward to the last layer, and again for every one before.
            return (Choice::KeepInputOf(t), 1, 1);
        }
        let length = t - s + 1;
        let runs = |first: usize| {
            first as u64
                + revolve_runs(length - first, snapshots - 1)
                + revolve_runs(first, snapshots)
        };
        let first = (1..length).min_by_key(|&first| runs(first)).unwrap_or(1);
        (Choice::KeepInputOf(s + first), snapshots - 1, snapshots)
    });
    planned(chain, operations)
}

/// How many forward runs [`revolve`] adds to the one of each layer: r·l - C(s + r, r - 1) for l layers
/// and s snapshots, where r is the least with C(s + r, s) ≥ l. Saturates.
#[must_use]
pub fn revolve_runs(layers: usize, snapshots: usize) -> u64 {
    let (layers, snapshots) = (layers as u64, snapshots.max(1) as u64);
    // C(s + r, s) and C(s + r, r - 1), by what they are for r = 0.
    let (mut repeats, mut reach, mut less) = (0_u64, 1_u64, 0_u64);
    while reach < layers {
        repeats += 1;
        less = less.saturating_add(reach);
        reach = choose(snapshots + repeats, snapshots.min(repeats));
    }
    (repeats.saturating_mul(layers)).saturating_sub(less)
}

/// C(n, k), saturating.
fn choose(n: u64, k: u64) -> u64 {
    let mut result = 1_u128;
    for i in 1..=k {
        result = result * u128::from(n - k + i) / u128::from(i);
        if result > u128::from(u64::MAX) {
            return u64::MAX;
        }
    }
    u64::try_from(result).unwrap_or(u64::MAX)
}

/// The plan that these operations are.
///
/// # Panics
/// When they break the rules: that would be a fault of a planner.
pub(super) fn planned(chain: &Chain, operations: Vec<Operation>) -> Plan {
    Plan::new(chain, operations, Link::NONE).expect("planners follow the rules")
}
