//! [`Cause`]: which of the things that look alike it was. All the thresholds are here.

use freeboard_units::Bytes;
use serde::{Deserialize, Serialize};

use crate::diagnosis::Verdict;
use crate::facts::{Facts, Phase, Sums, segment_for};

/// Free memory in pieces counts as fragmentation from this part of the process's memory on; below,
/// it is the slack that every allocator has, and the program is simply full.
const FRAGMENTED_PART: f64 = 0.02;
/// It takes more of it where the request was small beside what lay in pieces: there, the pieces are
/// small change, and the next request would have failed all the same.
const SMALL_CHANGE_PART: f64 = 0.06;
/// Below this part of what lay in pieces a request is small.
const SMALL_REQUEST_PART: f64 = 0.25;
/// And more while a model is being loaded, for the first step is still to come.
const LOADING_PART: f64 = 0.2;
/// As the first, where the request that failed is not known.
const SILENT_PART: f64 = 0.03;
/// Rounding counts as a cause from this part of the process's memory on.
const ROUNDED_PART: f64 = 0.03;
/// What grew over steps counts as a leak from this part of the allocated bytes on.
const GROWN_PART: f64 = 0.05;
/// As before, where memory is in pieces, or others', as well.
const GROWN_PART_BESIDE_OTHERS: f64 = 0.2;

/// What memory was missing for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// The program needs more than there is.
    Exhaustion,
    /// Enough is free, but in pieces.
    Fragmentation,
    /// Enough would be free if sizes were not rounded up.
    Rounding,
    /// Enough is free, but it belongs to other streams.
    StrandedByStream,
    /// Enough is free, but it belongs to private pools.
    PrivatePool,
    /// Enough was given back, but other streams still use it.
    PendingFree,
    /// The limit on this process stops it.
    Limit,
    /// Other processes hold what is missing.
    OtherProcess,
    /// The program keeps more from step to step.
    Growth,
    /// Not the device's memory: the host's.
    HostMemory,
    /// Nothing to do with memory.
    NotMemory,
    /// What is known does not tell.
    Unknown,
}

impl Cause {
    /// The verdict that goes with it.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Exhaustion => Verdict::Exhaustion,
            Self::Fragmentation | Self::Rounding => Verdict::Fragmentation,
            Self::StrandedByStream | Self::PrivatePool => Verdict::Stranded,
            Self::PendingFree => Verdict::PendingFree,
            Self::Limit => Verdict::Limit,
            Self::OtherProcess => Verdict::OtherProcess,
            Self::Growth => Verdict::Leak,
            Self::HostMemory | Self::NotMemory => Verdict::NotMemory,
            Self::Unknown => Verdict::Unknown,
        }
    }
}

/// The causes, weightiest first; none where nothing can be told.
pub(super) fn causes(facts: &Facts) -> Vec<Cause> {
    if let Some(elsewhere) = facts.elsewhere {
        return vec![elsewhere];
    }
    let Some(requested) = facts.requested else { return without_request(facts) };
    let mut found = if facts.refused_early && (facts.limit.is_some() || facts.total.is_none()) {
        vec![Cause::Limit]
    } else {
        match (facts.reserved, facts.allocated) {
            (Some(_), Some(_)) => weigh(facts, requested),
            _ => with_little(facts, requested),
        }
    };
    if leaks(facts, &found) {
        found.retain(|&cause| cause != Cause::Unknown);
        found.insert(0, Cause::Growth);
    }
    found
}

/// What can be said where no request is known to have failed: taken that one did, whether it
/// failed for pieces or for want of memory.
fn without_request(facts: &Facts) -> Vec<Cause> {
    if !facts.assumes_failure || facts.reserved.is_none_or(Bytes::is_zero) {
        return Vec::new();
    }
    let sums = facts.sums();
    let stranded = plus(sums.free_streams, sums.free_private);
    let large = |bytes: Bytes| bytes.as_f64() >= SILENT_PART * sums.reserved.as_f64();
    match (sums.free_streams >= sums.free_private, large(stranded)) {
        (true, true) if stranded > sums.free_own => vec![Cause::StrandedByStream],
        (false, true) if stranded > sums.free_own => vec![Cause::PrivatePool],
        _ if large(sums.free_own) => vec![Cause::Fragmentation],
        _ => vec![Cause::Exhaustion],
    }
}

/// What a few numbers tell, when what the process holds is not among them.
fn with_little(facts: &Facts, requested: Bytes) -> Vec<Cause> {
    match (facts.total, facts.free) {
        (Some(total), _) if requested > total => vec![Cause::Exhaustion],
        _ => Vec::new(),
    }
}

/// Bytes by what would have to happen for the request to have them.
fn weigh(facts: &Facts, requested: Bytes) -> Vec<Cause> {
    let sums = facts.sums();
    let [mut causes, mut minor] = [Vec::new(), Vec::new()];
    if is_too_large(facts) {
        return vec![Cause::Exhaustion];
    }
    // Free memory in pieces: it would do if it lay together.
    if came_late(facts, &sums, requested) {
        return vec![Cause::PendingFree];
    }
    let compact = plus(sums.growable, sums.free_own);
    let stranded = plus(sums.free_streams, sums.free_private);
    let all = plus(compact, stranded);
    let large_part = |bytes: Bytes| bytes.as_f64() >= FRAGMENTED_PART * sums.within_reach.as_f64();
    if compact >= requested && is_fragmented(facts, &sums, requested) {
        // What lies in pieces would have done for this request, and not for those to come.
        if facts.step_needs.is_some_and(|needs| needs > sums.within_reach) {
            causes.push(Cause::Exhaustion);
        }
        causes.push(Cause::Fragmentation);
    } else if all >= requested && large_part(stranded) {
        let streams = sums.free_streams >= sums.free_private;
        let which = if streams { Cause::StrandedByStream } else { Cause::PrivatePool };
        causes.push(which);
    } else if plus(all, sums.pending) >= requested && large_part(sums.pending) {
        causes.push(Cause::PendingFree);
    }
    let rounding =
        rounds_up(facts) && sums.rounding.as_f64() >= ROUNDED_PART * sums.within_reach.as_f64();
    if rounding && plus(all, sums.rounding) >= requested {
        minor.push(Cause::Rounding);
    }
    if limit_binds(facts, requested) {
        minor.push(Cause::Limit);
    }
    if sums.others > Bytes::ZERO && plus(all, sums.others) >= requested {
        // Who holds most of the device is at fault, even where our own pieces would have done.
        let theirs = sums.others > sums.allocated;
        if theirs { causes.insert(0, Cause::OtherProcess) } else { minor.push(Cause::OtherProcess) }
    }
    causes.append(&mut minor);
    // Where the device has more than the request itself, a segment may still need more.
    let full = sums.growable < segment_for(requested) && !facts.device_had_room(requested);
    if causes.is_empty() && full {
        causes.push(Cause::Exhaustion);
    }
    causes
}

/// Whether free memory that would have served was other streams' until the request was failing.
fn came_late(facts: &Facts, sums: &Sums, requested: Bytes) -> bool {
    // Only a history tells what was free at the failure; later, the failed step's memory is, too.
    let Some(late) = facts.late else { return false };
    let fits = facts.largest_own.is_some_and(|largest| largest >= requested);
    (fits && !facts.keeps_blocks_whole())
        || (late >= requested && plus(late, late) >= sums.free_own)
}

/// Whether the free memory in pieces, and what rounding takes, is more than slack.
fn is_fragmented(facts: &Facts, sums: &Sums, requested: Bytes) -> bool {
    let rounding = if rounds_up(facts) { sums.rounding } else { Bytes::ZERO };
    let part = plus(sums.free_own, rounding).as_f64() / sums.within_reach.as_f64().max(1.0);
    let small = requested.as_f64() < SMALL_REQUEST_PART * sums.free_own.as_f64();
    // While a model is loaded, most of what is needed is still to come.
    let least = match (facts.phase, small) {
        (Some(Phase::Load), _) => LOADING_PART,
        (_, true) => SMALL_CHANGE_PART,
        (_, false) => FRAGMENTED_PART,
    };
    part >= least
}

/// Whether the settings make sizes round up by more than every allocator does.
fn rounds_up(facts: &Facts) -> bool {
    facts.settings.as_deref().is_some_and(|settings| settings.contains("roundup"))
}

/// Whether the request alone is more than there is.
pub(super) fn is_too_large(facts: &Facts) -> bool {
    let requested = facts.requested.unwrap_or_default();
    !facts.is_limited_untold(requested) && facts.whole().is_some_and(|whole| requested > whole)
}

/// Whether a limit, and not the device, is what stops the request.
fn limit_binds(facts: &Facts, requested: Bytes) -> bool {
    match facts.limit {
        Some(limit) => {
            let sums = facts.sums();
            let below_device = facts.total.is_none_or(|total| limit < total);
            // What was measured then is exact; the numbers of a message have two decimals.
            let beyond = facts.says_all || plus(sums.reserved, segment_for(requested)) > limit;
            below_device && beyond && facts.device_had_room(requested)
        }
        None => facts.is_limited_untold(requested),
    }
}

/// Whether what grew over steps is what is missing: more of it where something else is amiss too.
fn leaks(facts: &Facts, others: &[Cause]) -> bool {
    let Some(growth) = &facts.growth else { return false };
    let full = matches!(others, [] | [Cause::Exhaustion | Cause::Unknown | Cause::Limit]);
    let part = if full { GROWN_PART } else { GROWN_PART_BESIDE_OTHERS };
    growth.held.as_f64() >= part * facts.allocated.unwrap_or_default().as_f64()
}

/// Sums of what files say, which may be anything.
fn plus(one: Bytes, other: Bytes) -> Bytes {
    one.saturating_add(other)
}
