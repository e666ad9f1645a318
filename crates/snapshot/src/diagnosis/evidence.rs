//! What shows the cause: a sentence, and the numbers.

use freeboard_units::Bytes;

use super::{Cause, Evidence, cause, levers};
use crate::facts::{Facts, Growth, Phase, Sums};

/// The answer in a sentence or two.
pub(super) fn summary(facts: &Facts, cause: Cause) -> String {
    let sums = facts.sums();
    let asked = facts.requested.map_or_else(|| "the request".into(), |bytes| bytes.to_string());
    match cause {
        Cause::Exhaustion => exhausted(facts, &sums, &asked),
        Cause::Fragmentation => {
            let more = nonzero(sums.growable);
            let more = more.map(|more| format!(" and {more} more could be taken from the device"));
            format!(
                "Fragmentation: {asked} did not fit, although {} lay free in pieces between live \
                 blocks{}.",
                sums.free_own,
                more.unwrap_or_default()
            )
        }
        Cause::Rounding => format!(
            "Rounding: live blocks take {} more than was asked for, which is what {asked} lacked.",
            sums.rounding
        ),
        Cause::StrandedByStream => format!(
            "Stranded by stream: {} are free, but they belong to other streams than the one that \
             asked for {asked}.",
            sums.free_streams
        ),
        Cause::PrivatePool => format!(
            "Stranded in private pools: {} are free in pools of graphs or MemPools, which serve \
             nobody else, while {asked} did not fit.",
            sums.free_private
        ),
        Cause::PendingFree if sums.pending.is_zero() => format!(
            "Pending frees: {} had been given back, but other streams used them until {asked} was \
             failing; by then new memory had been taken instead, and PyTorch does not search again.",
            facts.late.filter(|late| !late.is_zero()).or(facts.largest_own).unwrap_or_default()
        ),
        Cause::PendingFree => format!(
            "Pending frees: {} were given back, but other streams may still be using them, so \
             {asked} could not have them yet.",
            sums.pending
        ),
        Cause::Limit => match facts.limit {
            Some(limit) => format!(
                "A limit stops it: {limit} are allowed, {} are held, and a segment for {asked} would go beyond, \
                 while the device has {} free.",
                sums.reserved,
                known(facts.free)
            ),
            None => format!(
                "A limit stops it: the device had {} free, which is room for {asked}, and it was not \
                 taken: a memory fraction is set for this process.",
                known(facts.free)
            ),
        },
        Cause::OtherProcess if sums.is_beside() => format!(
            "Others than the allocator hold the memory: this process has {} on the device beside what \
             the allocator holds ({}), more than a context and libraries take; with it {asked} \
             would have fit.",
            sums.beside, sums.reserved
        ),
        Cause::OtherProcess => format!(
            "Other processes hold {}{} of the device; with it {asked} would have fit. This process \
             holds {}.",
            at_least(facts),
            sums.others,
            sums.reserved
        ),
        Cause::Growth => growing(facts),
        Cause::HostMemory => "The host ran out of memory, not the device.".into(),
        Cause::NotMemory => "The failure has nothing to do with device memory.".into(),
        Cause::Unknown => unknown(facts),
    }
}

fn exhausted(facts: &Facts, sums: &Sums, asked: &str) -> String {
    if cause::is_too_large(facts) {
        let whole = known(facts.whole());
        let what =
            if facts.total.is_some() { "the whole device" } else { "all this process can have" };
        return format!("Exhaustion: {asked} in one request is more than {what} ({whole}).");
    }
    let when = match facts.phase {
        Some(Phase::Load) => " while the model was being loaded",
        Some(Phase::FirstStep) => " in the first step",
        _ => "",
    };
    let used = sums.allocated.saturating_add(sums.pending);
    if let Some(needs) = facts.step_needs.filter(|needs| *needs > sums.within_reach) {
        return format!(
            "Exhaustion: the step needs about {needs} in all, going by the one before it, and this \
             process can have {}. {used} were in use when {asked} failed.",
            sums.within_reach
        );
    }
    let missing = levers::missing(facts, sums);
    if missing.is_zero() {
        let free = levers::free(sums);
        return format!(
            "Exhaustion: the program needs more than there is{when}. {used} are in use; the {free} that are \
             free are the slack every allocator has, and do not last for the next few requests."
        );
    }
    format!(
        "Exhaustion: the program needs more than there is{when}. {used} are in use; if every free byte \
         lay in one piece, {asked} would still lack {missing}."
    )
}

fn growing(facts: &Facts) -> String {
    let Some(growth) = &facts.growth else { return String::new() };
    let steps = if growth.steps == 1 { "step" } else { "steps" };
    let first = growth.holders.first();
    let who = first.map_or_else(String::new, |holder| format!(", most of it at {}", holder.name));
    if growth.are_stretches {
        return format!(
            "A leak: memory in use grows all the time (by {} in each of {} equal stretches of the \
             history){who}. By now that is {}.",
            growth.per_step, growth.steps, growth.held
        );
    }
    format!(
        "A leak: {} more are kept in every step (measured over {} {steps}){who}. By now that is {}.",
        growth.per_step, growth.steps, growth.held
    )
}

fn unknown(facts: &Facts) -> String {
    let Some(requested) = facts.requested else {
        if facts.says_all {
            return "No failed request is recorded here: there is nothing to explain.".into();
        }
        return "The error says that device memory ran out, and nothing more: a driver's bare error \
                carries no numbers."
            .into();
    };
    if facts.device_had_room(requested) {
        return format!(
            "The device had {} free and still refused {requested}: somebody else may have freed memory \
             at that moment, or a limit that was not told is set.",
            known(facts.free)
        );
    }
    format!("{requested} did not fit, and the numbers that would tell why are missing.")
}

/// Where nobody lists the other processes, what they hold is what is missing.
fn at_least(facts: &Facts) -> &'static str {
    if facts.others.is_empty() { "at least " } else { "" }
}

fn known(bytes: Option<Bytes>) -> String {
    bytes.map_or_else(|| "an unknown amount".into(), |bytes| bytes.to_string())
}

/// Every number that is known, with what it means here.
pub(super) fn evidence(facts: &Facts) -> Vec<Evidence> {
    let sums = facts.sums();
    let growth = facts.growth.as_ref().filter(|growth| grows_much(facts, growth));
    let lines = [
        ("asked for", facts.requested, "what the request needed in one piece"),
        ("device", facts.total, "all memory of the device"),
        ("free on the device", facts.free, "what no process holds"),
        ("limit", facts.limit, "the most this process may hold"),
        ("allocated", facts.allocated, "in blocks the program holds"),
        ("reserved", facts.reserved, "held from the device, in use or not"),
        ("free in pieces", nonzero(sums.free_own), "held and free for the request's stream"),
        ("largest piece", facts.largest_own, "the largest free block for the request's stream"),
        ("on other streams", nonzero(sums.free_streams), "held and free, but for other streams"),
        ("in private pools", nonzero(sums.free_private), "held and free, but private pools'"),
        ("pending", nonzero(sums.pending), "given back, while other streams may still use it"),
        ("late", facts.late.and_then(nonzero), "free only once the request was failing"),
        ("lost to rounding", nonzero(sums.rounding), "in live blocks beyond what was asked for"),
        (
            "other processes",
            nonzero(sums.others).filter(|_| !sums.is_beside()),
            "held on the device by other processes",
        ),
        (
            "beside the allocator",
            nonzero(sums.beside),
            "this process's: context and other libraries",
        ),
        (
            "since the last step",
            facts.transient.and_then(nonzero),
            "live blocks that a smaller batch makes smaller",
        ),
        ("growth per step", growth.map(|growth| growth.per_step), "what is kept from step to step"),
        ("grown", growth.map(|growth| growth.held), "what those who grow hold now"),
    ];
    let told = lines.into_iter().filter_map(|(what, bytes, text)| {
        let (what, text) = (what.to_owned(), text.to_owned());
        Some(Evidence { what, bytes: Some(bytes?), text })
    });
    told.collect()
}

/// Whether what grew is worth a line: it is more than a hundredth of what is in use.
fn grows_much(facts: &Facts, growth: &Growth) -> bool {
    growth.held > Bytes::new(facts.allocated.unwrap_or_default().get() / 100)
}

fn nonzero(bytes: Bytes) -> Option<Bytes> {
    Some(bytes).filter(|bytes| !bytes.is_zero())
}
