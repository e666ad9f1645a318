//! [`pack`]: the parts of time one by one, greedily first, then by search.

use freeboard_units::Bytes;

use crate::greedy::{Placement, place};
use crate::search::{Budget, End, search};
use crate::sections::{Item, alone, cut, live, parts};
use crate::{Buffer, Options, PackError, SEARCHED};

/// How low a part has to be.
#[derive(Clone, Copy, Debug)]
struct Goal {
    height: u64,
    /// Whether only this height counts, and any height above it is as bad as another.
    suffices: bool,
}

/// Where every buffer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packing {
    /// For every buffer its first address, in the order of the buffers.
    pub offsets: Vec<Bytes>,
    /// The end of the highest buffer.
    pub height: Bytes,
    /// No packing is lower than this: the peak of what is live, or more where a search proved it.
    pub at_least: Bytes,
    /// How many steps the search took; none where the greedy part was enough.
    pub steps: u64,
}

impl Packing {
    /// Whether no packing is lower.
    #[must_use]
    pub fn is_optimal(&self) -> bool {
        self.height == self.at_least
    }
}

/// Packs buffers as low as it can, or below a capacity.
///
/// With [`Options::alignment`] a buffer takes up a multiple of it, in `height` and `at_least`, too.
/// Where the capacity is not reached the lowest packing found is returned all the same; it was
/// impossible where [`Packing::at_least`] exceeds the capacity.
///
/// # Errors
/// When a buffer has no size or no lifetime, when all sizes together exceed a `u64`, or when the
/// alignment is zero.
///
/// # Examples
/// ```
/// use freeboard_packing::{Buffer, Options, pack};
/// use freeboard_units::Bytes;
///
/// let weights = Buffer { lifetime: 0..100, size: Bytes::new(1000) };
/// let activations = Buffer { lifetime: 10..20, size: Bytes::new(300) };
/// let options = Options::default().alignment(Bytes::new(512)).capacity(Bytes::kib(2));
/// let packing = pack(&[weights, activations], &options)?;
/// assert_eq!(packing.offsets, [Bytes::ZERO, Bytes::new(1024)]);
/// assert_eq!(packing.height, Bytes::new(1536));
/// # Ok::<(), freeboard_packing::PackError>(())
/// ```
pub fn pack(buffers: &[Buffer], options: &Options) -> Result<Packing, PackError> {
    let deadline = options.deadline();
    validate(buffers, options.alignment)?;
    let items = cut(buffers, options.alignment.get());
    let mut least = live(&items).into_iter().max().unwrap_or(0);
    let capacity = options.capacity.map_or(0, Bytes::get);
    let (mut height, mut steps) = (0, 0);
    let mut offsets = vec![Bytes::ZERO; buffers.len()];
    let all: Vec<u32> = (0..).zip(buffers).map(|(number, _)| number).collect();
    for part in parts(&items, &all) {
        let alone = alone(&items, &part);
        // A part need not be lower than another part is anyway.
        let goal = Goal { height: least.max(capacity).max(height), suffices: capacity >= least };
        let budget = Budget { steps: options.effort, deadline };
        let (placement, proven, taken) = pack_part(&alone, goal, budget);
        steps += taken;
        least = least.max(proven);
        height = height.max(placement.height);
        for (&number, offset) in part.iter().zip(placement.offsets) {
            offsets[number as usize] = Bytes::new(offset);
        }
    }
    let (height, at_least) = (Bytes::new(height), Bytes::new(least));
    Ok(Packing { offsets, height, at_least, steps })
}

fn validate(buffers: &[Buffer], alignment: Bytes) -> Result<(), PackError> {
    if alignment.is_zero() {
        return Err(PackError::Alignment { alignment });
    }
    if buffers.len() > 1 << 31 {
        return Err(PackError::TooMany { buffers: buffers.len() });
    }
    let mut sum = Bytes::ZERO;
    for (number, buffer) in buffers.iter().enumerate() {
        if buffer.lifetime.is_empty() {
            return Err(PackError::EmptyLifetime { buffer: number });
        }
        if buffer.size.is_zero() {
            return Err(PackError::ZeroSize { buffer: number });
        }
        let size = buffer.size.checked_align_up(alignment);
        sum = size
            .and_then(|size| sum.checked_add(size))
            .ok_or(PackError::TooLarge { buffer: number })?;
    }
    Ok(())
}

/// Packs a part, down to the goal if it can; with what no packing of it is below, and the steps.
fn pack_part(items: &[Item], goal: Goal, mut budget: Budget) -> (Placement, u64, u64) {
    let mut best = place(items, goal.height, budget.deadline);
    let (mut proven, mut steps) = (0, 0);
    if items.len() > SEARCHED {
        return (best, proven, 0);
    }
    // Heights are sums of sizes, so only multiples of what divides all sizes matter.
    let unit = items.iter().fold(0, |unit, item| gcd(unit, item.size));
    let mut low = goal.height - goal.height % unit;
    let mut target = low;
    let mut share = if goal.suffices { budget.steps } else { budget.steps / 2 };
    while best.height > low && budget.steps > 0 {
        let mut slice = Budget { steps: share.min(budget.steps), ..budget };
        budget.steps -= slice.steps;
        let given = slice.steps;
        let (end, found) = search(items, target, &mut slice);
        budget.steps += slice.steps;
        steps += given - slice.steps;
        best = found.unwrap_or(best);
        if end == End::Impossible {
            proven = target + unit;
        }
        if goal.suffices || budget.deadline.has_passed() {
            break;
        }
        if end != End::Found {
            low = target + unit;
        }
        target = low + (best.height.saturating_sub(low) / 2) / unit * unit;
        share = (budget.steps / 4).max(1000);
    }
    (best, proven, steps)
}

fn gcd(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { gcd(other, one % other) }
}
