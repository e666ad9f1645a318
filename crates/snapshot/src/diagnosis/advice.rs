//! How to see that a lever worked, and how to keep it from happening again.

use super::Cause;
use super::words::Words;
use crate::facts::{Facts, Phase};

/// How to see that a lever worked.
pub(super) fn verify(facts: &Facts, cause: Cause) -> Vec<String> {
    let words = Words::of(facts);
    let Words { allocated_now, peak_allocated, peak_reserved, record_history, .. } = words;
    let first = match cause {
        Cause::Fragmentation | Cause::Rounding => {
            format!("after the run {peak_reserved} should be close to {peak_allocated}")
        }
        Cause::Exhaustion => format!(
            "look at {peak_allocated} after one step of the smaller run: it must lie below the device's \
             memory less 1 GiB for context and libraries"
        ),
        Cause::StrandedByStream | Cause::PrivatePool | Cause::PendingFree => {
            "freeboard summary SNAPSHOT shows free memory by stream and pool: the idle ones should be \
             gone"
                .to_owned()
        }
        Cause::Limit => format!("{peak_reserved} may now go beyond the old limit"),
        Cause::OtherProcess => "freeboard devices, or nvidia-smi, before the start".to_owned(),
        Cause::Growth => format!(
            "log {allocated_now} at the end of every step: it must stay the same after the third"
        ),
        Cause::HostMemory => "watch the host's free memory during the run (free -h)".to_owned(),
        Cause::NotMemory => "run again with CUDA_LAUNCH_BLOCKING=1 for the true place".to_owned(),
        Cause::Unknown => {
            format!("record a history ({record_history}), and give that to freeboard diagnose")
        }
    };
    let replayed = "the same recorded run can be replayed under any setting: freeboard diagnose \
                    SNAPSHOT, freeboard compare TRACE";
    let more = (cause == Cause::Fragmentation && facts.says_all).then(|| replayed.to_owned());
    std::iter::once(first).chain(more).collect()
}

/// How to keep it from happening again.
pub(super) fn prevent(facts: &Facts, cause: Cause) -> Vec<String> {
    let words = Words::of(facts);
    let mut advice: Vec<&str> = match cause {
        Cause::Exhaustion => vec![
            "run the largest batch and the longest sequence first, so that what does not fit fails in \
             the first minute",
            "watch the headroom: peak reserved against the device, with 5 % to spare",
        ],
        Cause::Fragmentation | Cause::Rounding => vec![
            words.keep_whole,
            "watch reserved minus allocated: when it grows over steps, memory is breaking up",
        ],
        Cause::StrandedByStream | Cause::PrivatePool | Cause::PendingFree => {
            vec!["keep a fixed set of streams and pools, made once at the start"]
        }
        Cause::Limit => {
            vec!["write the limit down where the job is configured, and log it at the start"]
        }
        Cause::OtherProcess => vec![
            "give each job a device of its own (CUDA_VISIBLE_DEVICES, exclusive compute mode)",
            "check the free memory before loading, and wait or stop when it is short",
        ],
        Cause::Growth => vec![words.catch_growth],
        Cause::HostMemory | Cause::NotMemory => Vec::new(),
        Cause::Unknown => vec!["record a history in every run that may fail: it costs little"],
    };
    if matches!(facts.phase, Some(Phase::MidRun { .. })) && cause == Cause::Exhaustion {
        advice.push(
            "it failed mid-run: a larger input came; bound the sizes, or test with the largest",
        );
    }
    advice.into_iter().map(str::to_owned).collect()
}
