//! What would help, by cause, with the bytes it would gain.

use freeboard_units::Bytes;

use super::words::Words;
use super::{Cause, Lever, LeverKind, cause};
use crate::facts::{Facts, Phase, Sums};

/// The part of a step's activations that checkpointing every block of a deep network saves, put
/// carefully: what is kept and the one block that is recomputed are the rest.
const CHECKPOINTED_PART: f64 = 0.6;
/// Below this part of the allocated bytes a smaller batch is no help worth naming.
const BATCH_PART: f64 = 0.05;

/// The levers, best first: those of the weightiest cause lead.
pub(super) fn levers(facts: &Facts, causes: &[Cause]) -> Vec<Lever> {
    let sums = facts.sums();
    let mut found: Vec<Lever> = Vec::new();
    // What is kept from step to step fills any device: nothing else would help for long.
    let causes = if causes.first() == Some(&Cause::Growth) { &causes[..1] } else { causes };
    for cause in causes {
        for lever in of_cause(*cause, facts, &sums) {
            if !found.iter().any(|known| known.action == lever.action) {
                found.push(lever);
            }
        }
    }
    found
}

fn lever(action: impl Into<String>, gain: Option<Bytes>) -> Lever {
    of_kind(LeverKind::Program, action, gain)
}

fn of_kind(kind: LeverKind, action: impl Into<String>, gain_bytes: Option<Bytes>) -> Lever {
    Lever { action: action.into(), setting: None, gain_bytes, verified: false, kind }
}

fn setting(action: &str, setting: impl Into<String>, gain: Bytes) -> Lever {
    let gain_bytes = Some(gain).filter(|gain| !gain.is_zero());
    Lever { setting: Some(setting.into()), ..of_kind(LeverKind::Setting, action, gain_bytes) }
}

fn of_cause(cause: Cause, facts: &Facts, sums: &Sums) -> Vec<Lever> {
    let words = Words::of(facts);
    let waiting = sums.pending.max(facts.late.unwrap_or_default());
    match cause {
        Cause::Exhaustion => smaller(facts, sums),
        Cause::Fragmentation => in_pieces(facts, sums),
        Cause::Rounding => vec![lever(
            "round sizes up by less: remove roundup_power2_divisions from the settings, or make \
             tensors of fewer different sizes",
            Some(sums.rounding),
        )],
        Cause::StrandedByStream => stranded(facts, sums),
        Cause::PrivatePool => vec![
            lever(
                "release graphs or MemPools that are no longer used, or share one pool between \
                 them: what is free in a private pool serves nobody else",
                Some(sums.free_private),
            ),
            lever(format!("make the pool lend when memory runs out: {}", words.lend), None),
        ],
        Cause::PendingFree => vec![
            lever(
                format!(
                    "wait for the other streams before the large request: {}",
                    words.synchronize
                ),
                Some(waiting),
            ),
            lever(
                format!(
                    "free earlier, or {}: order the streams with events instead and keep the memory \
                     until then",
                    words.record_use
                ),
                Some(waiting),
            ),
        ],
        Cause::Limit => limited(facts, sums),
        Cause::OtherProcess => other_processes(facts, sums),
        Cause::Growth => leaking(facts),
        Cause::HostMemory => vec![lever(
            "give the host more memory, or use less of it: fewer data loader workers, less \
             prefetching and pinning, a larger /dev/shm",
            None,
        )],
        Cause::NotMemory | Cause::Unknown => Vec::new(),
    }
}

fn stranded(facts: &Facts, sums: &Sums) -> Vec<Lever> {
    let gain = Some(sums.free_streams);
    let again = "use fewer streams, or the same ones again: free memory serves only the stream it was \
                 allocated on";
    let empty = Words::of(facts).empty_cache;
    let mut found = vec![
        lever(again, gain),
        lever(format!("{empty} after the work on the other streams is done"), gain),
    ];
    found.extend(moved(facts, "Freeboard's allocator lets every stream use what any stream freed"));
    found
}

fn smaller(facts: &Facts, sums: &Sums) -> Vec<Lever> {
    let words = Words::of(facts);
    let mut found = Vec::new();
    if cause::is_too_large(facts) {
        return vec![
            lever(
                "look at the shapes of the failing operation: this one request is larger than all the \
                 memory there is, which is more often a wrong dimension than a large model",
                facts.requested,
            ),
            lever(
                "if the shapes are right: do the operation in pieces, a few rows at a time",
                None,
            ),
        ];
    }
    if facts.phase == Some(Phase::Load) {
        found.push(lever(
            "load less onto this device: weights in bf16, 8 or 4 bits, spread over several devices, \
             or partly kept on the host",
            None,
        ));
        found.push(lever(
            "load onto the host first, and move what is needed: a checkpoint read straight to the \
             device lies there beside the model",
            None,
        ));
    } else {
        if let Some(batch) = smaller_batch(facts) {
            found.push(batch);
            found.push(lever(
                format!("recompute activations instead of keeping them: {}", words.checkpoint),
                facts.transient.map(|bytes| scaled(bytes, CHECKPOINTED_PART)),
            ));
        }
        found.push(lever(
            "keep less per parameter: bf16 weights and gradients, an 8-bit or sharded optimizer \
             (FSDP, ZeRO), or offload its state to the host",
            None,
        ));
    }
    let missing = missing(facts, sums);
    let lacked = format!(": the failed request alone lacked {missing}");
    let lacked = if missing.is_zero() { "" } else { &lacked };
    found.push(of_kind(
        LeverKind::Capacity,
        format!("use a device with more memory{lacked}"),
        None,
    ));
    found
}

/// A smaller batch, unless next to nothing depends on it.
fn smaller_batch(facts: &Facts) -> Option<Lever> {
    let least = BATCH_PART * facts.allocated.unwrap_or_default().as_f64();
    let is_little = facts.transient.is_some_and(|bytes| bytes.as_f64() < least);
    let action = "halve the batch and accumulate gradients over two of them: the same gradients, half \
                  the activations";
    let gain = facts.transient.map(|bytes| scaled(bytes, 0.5));
    (!is_little && facts.phase != Some(Phase::Load))
        .then(|| of_kind(LeverKind::Batch, action, gain))
}

fn in_pieces(facts: &Facts, sums: &Sums) -> Vec<Lever> {
    let words = Words::of(facts);
    let mut found = Vec::new();
    let settings = facts.settings.as_deref().unwrap_or_default();
    let expandable =
        facts.expandable.unwrap_or_else(|| settings.contains("expandable_segments:True"));
    if facts.by_freeboard && !settings.contains("stitching:True") {
        found.push(setting(
            "let free pages be joined wherever they lie",
            format!("{}{}", words.setting, with_setting(settings, "stitching:True")),
            sums.free_own,
        ));
    } else if expandable {
        found.extend(moved(
            facts,
            "expandable segments are on already and live blocks hold the pages between: Freeboard's \
             allocator joins free pages wherever they lie",
        ));
    } else {
        found.push(setting(
            "let segments grow instead of making new ones",
            format!("{}{}", words.setting, with_setting(settings, "expandable_segments:True")),
            sums.free_own,
        ));
        if !settings.contains("max_split_size_mb") {
            found.push(setting(
                "where expandable segments cannot be used: keep large blocks whole",
                format!("{}{}", words.setting, with_setting(settings, "max_split_size_mb:256")),
                Bytes::ZERO,
            ));
        }
    }
    if facts.phase != Some(Phase::Load) {
        found.push(lever(
            "make sizes vary less from step to step: pad or bucket sequence lengths and image sizes",
            None,
        ));
    }
    found.extend(smaller_batch(facts));
    found
}

/// The settings there are with one more: writing the variable anew must not lose the others.
fn with_setting(settings: &str, one: &str) -> String {
    if settings.is_empty() {
        return one.to_owned();
    }
    // Blocks are not kept whole where segments grow: PyTorch refuses or ignores the two together.
    let key = |setting: &str| setting.split(':').next().map(|key| key.trim().to_owned());
    let grows = one.starts_with("expandable_segments");
    let excluded = |old: &str| {
        old.starts_with("expandable_segments") || (grows && old.starts_with("max_split_size_mb"))
    };
    let kept =
        settings.split(',').filter(|old| key(old) != key(one) && !excluded(old.trim_start()));
    let kept: Vec<&str> = kept.chain([one]).collect();
    kept.join(",")
}

fn limited(facts: &Facts, sums: &Sums) -> Vec<Lever> {
    let words = Words::of(facts);
    let beyond = facts.free.unwrap_or_default().saturating_sub(sums.growable);
    let gain = Some(beyond).filter(|gain| !gain.is_zero()).or(facts.free);
    let mut found = vec![of_kind(
        LeverKind::Capacity,
        format!(
            "raise or remove the limit: {}, or per_process_memory_fraction in the settings",
            words.raise_limit
        ),
        gain,
    )];
    found.extend(smaller_batch(facts));
    found
}

fn other_processes(facts: &Facts, sums: &Sums) -> Vec<Lever> {
    if sums.is_beside() {
        return vec![
            lever(
                "find what else in this program holds device memory (another framework, a library's \
                 workspaces, communication buffers) and limit it: it is not this allocator's",
                Some(sums.beside),
            ),
            lever("if the device is shared with a container, stop what runs in there", None),
        ];
    }
    let pids: Vec<String> =
        facts.other_processes().filter_map(|other| other.pid).map(|pid| pid.to_string()).collect();
    let whose =
        if pids.is_empty() { String::new() } else { format!(" (process {})", pids.join(", ")) };
    vec![
        lever(
            format!(
                "stop the other processes on the device{whose}, or wait for them: nvidia-smi lists them"
            ),
            Some(sums.others),
        ),
        lever(
            "use another device: CUDA_VISIBLE_DEVICES; freeboard devices shows which is free",
            None,
        ),
    ]
}

fn leaking(facts: &Facts) -> Vec<Lever> {
    let words = Words::of(facts);
    let Some(growth) = &facts.growth else { return Vec::new() };
    let who = growth.holders.first().map(|holder| format!(", above all at {}", holder.name));
    vec![
        lever(
            format!(
                "drop what is kept from step to step{}: lists of losses ({}), caches, \
                 graphs that are kept",
                who.unwrap_or_default(),
                words.drop_losses
            ),
            Some(growth.held),
        ),
        lever("a smaller batch only puts it off", None),
    ]
}

/// What our allocator does by itself: advice for those who use another.
fn moved(facts: &Facts, action: &str) -> Option<Lever> {
    (!facts.by_freeboard).then(|| of_kind(LeverKind::Freeboard, action, None))
}

/// Bytes that the request lacked, if all that is free could be used.
pub(super) fn missing(facts: &Facts, sums: &Sums) -> Bytes {
    facts.requested.unwrap_or_default().saturating_sub(free(sums))
}

/// All that is free, wherever it is.
pub(super) fn free(sums: &Sums) -> Bytes {
    let all = [sums.growable, sums.free_own, sums.free_streams, sums.free_private];
    all.into_iter().fold(Bytes::ZERO, Bytes::saturating_add)
}

fn scaled(bytes: Bytes, part: f64) -> Bytes {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of it")]
    Bytes::new((bytes.as_f64() * part) as u64)
}
